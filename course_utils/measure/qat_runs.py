"""Which ways to round two blocks the measurement `qat` compares."""

from dataclasses import dataclass
from functools import partial

from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor
from course_utils.methods import clipping, gptq, rtn
from course_utils.models import blockwise_training as training

GROUP = 64
STEPS = 32  # of the optimizer, two windows each
RATES = {3: (5e-4, 5e-3), 2: (1e-3, 1e-2)}  # of weights and grid steps
TEXTS = ("own2", "own8", "own32", "prose8", "random8", "leak8")


@dataclass(frozen=True)
class Run:
    """One way to round the two blocks."""

    method: str
    bits: int
    text: str = "own32"

    @property
    def key(self) -> str:
        """Its name in the record."""
        tail = "" if self.text == "own32" else f"_{self.text}"
        return f"{self.method}_{self.bits}{tail}"


RUNS = (
    *(Run(m, bits) for bits in (3, 2) for m in ("rtn", "clip", "gptq", "qat")),
    Run("steps", 2),
    *(Run(m, 2, text) for text in TEXTS if text != "own32" for m in ("gptq", "qat")),
)


def rounded(run: Run, tail: training.Tail, losses: list[float]) -> dict[str, QTensor]:
    """Return the matrices of the tail by one way of rounding."""
    spec = QuantSpec(run.bits, group_size=GROUP)
    if run.method == "gptq":
        return training.quantize_tail(tail, partial(gptq.quantize, spec=spec))
    quantize = rtn.quantize if run.method == "rtn" else clipping.quantize
    start = {name: quantize(w, spec=spec) for name, w in tail.weights().items()}
    if run.method in ("rtn", "clip"):
        return start
    rate, step_rate = RATES[run.bits]
    return training.train(
        tail,
        start,
        steps=STEPS,
        rate=rate if run.method == "qat" else 0.0,
        step_rate=step_rate,
        report=lambda _, loss: losses.append(loss),
    )
