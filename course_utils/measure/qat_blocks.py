"""The measurement `qat`: training two blocks through their rounding, beside GPTQ.

The last two decoder layers get 3 or 2 bits in groups of 64; everything else stays in
float32. All methods store the same: codes, a step of 16 bits and an integer zero point
for each group.

    rtn     round to nearest
    clip    round to nearest on grids of least squared error: where training starts
    gptq    GPTQ
    qat     LSQ: weights and steps trained against the float model's own predictions
    steps   the same, steps only

At 2 bits GPTQ and training see six texts: 2, 8 and 32 windows that the model wrote
itself, 8 of prose, 8 of random tokens, and 8 that are the evaluation text itself,
which is leakage. Each result is read on the evaluation text and on another one that no
method has seen.

Static ranges for the inputs of all layers, from four observers, are compared with a
range for each token, in W8A8 on the whole model.

Left out: training more than two blocks, other seeds, and more than one training rate.
"""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from course_utils.formats.affine import QuantSpec
from course_utils.measure import comparison, records
from course_utils.measure.qat_runs import GROUP, RATES, RUNS, STEPS, Run, rounded
from course_utils.measure.task import Json, Results, Step
from course_utils.measure.whole_model import WholeModel, ratio
from course_utils.methods import observers, rtn
from course_utils.models import blockwise_training as training
from course_utils.models import layers, texts
from course_utils.models.observing import histograms
from course_utils.models.smoothing import in_int8
from course_utils.models.walk import walk

SEQ_LEN = 256
OTHER = slice(2048, 3072)  # of the evaluation file; not part of the evaluation text
PROSE = slice(4096, 4096 + 8 * SEQ_LEN)
OBSERVED = 8  # windows that the observers see
OBSERVERS = {
    "minmax": observers.minmax,
    "percentile": observers.percentile,
    "mse": observers.mse,
    "entropy": observers.entropy,
}
# Adam's first steps have the size of the rate in the direction of a sign; where a
# gradient is nearly 0, another processor may find the other sign.
SLICE_TOLERANCE = 0.02


class Measurement(WholeModel):
    """The task of this module; `task.Task` says what its parts are for."""

    title = "QAT of two blocks beside GPTQ, calibration texts, and observers"
    notes = (
        f"The last two of 30 decoder layers, groups of {GROUP}, asymmetric. {STEPS} "
        "steps of Adam, two windows of 256 tokens each, a loss on 64 positions of a "
        "window; rates (weights, grid steps in parts of their mean): 5e-4, 5e-3 at 3 "
        "bits and 1e-3, 1e-2 at 2, picked from two or three values on four windows of "
        "the model's own text.",
        "Evaluation: 2048 tokens in windows of 512; `other`: the 1024 after them. "
        "Ratios to float32, intervals over blocks of 64 tokens.",
        "leak8 is the evaluation text itself. Steps and zero points are not rounded "
        "to 16 bits.",
        f"Observers saw {OBSERVED} x 256 tokens; W8A8 has 8-bit weights too, a step "
        "for each row. `token` is dynamic; percentile is 99.99 %.",
    )

    @cached_property
    def all_tokens(self) -> Tensor:
        """The whole evaluation file."""
        return texts.evaluation_tokens(self.loaded.tokenizer, None)

    @cached_property
    def tails(self) -> dict[str, training.Tail]:
        """What the two blocks read on the evaluation text and on the other."""
        parts = {"": self.tokens, "other": self.all_tokens[OTHER]}
        return {
            key: training.Tail(self.loaded.model, part.reshape(-1, self.CONTEXT))
            for key, part in parts.items()
        }

    @cached_property
    def bases(self) -> dict[str, comparison.Baseline]:
        """The float model's predictions on both."""
        return {
            key: comparison.read(
                tail.logits, tail.tokens.flatten(), context=self.CONTEXT
            )
            for key, tail in self.tails.items()
        }

    def text(self, name: str) -> Tensor:
        """Return a text to calibrate or to train on, in windows."""
        own = texts.calibration_tokens()
        if name.startswith("own"):
            return own[: int(name.removeprefix("own"))]
        if name == "random8":
            random = torch.Generator().manual_seed(0)
            vocab = self.loaded.model.config.vocab_size
            return torch.randint(vocab, (8, SEQ_LEN), generator=random)
        found = self.tokens if name == "leak8" else self.all_tokens[PROSE]
        return found.reshape(-1, SEQ_LEN)

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        return super().inputs() | {"steps": STEPS}

    def steps(self) -> Iterator[Step]:
        """Yield the float model, each run, then the observers."""
        yield Step("float", self._float)
        last: dict[str, training.Tail] = {}

        def tail(name: str) -> training.Tail:
            if name not in last:
                last.clear()  # one text's hidden states at a time
                last[name] = training.Tail(self.loaded.model, self.text(name))
            return last[name]

        for run in RUNS:
            yield Step(run.key, lambda run=run: self._run(run, tail(run.text)))
        for key in (*OBSERVERS, "token"):
            yield Step(f"w8a8_{key}", lambda key=key: self._w8a8(key))

    def _float(self) -> Json:
        return {
            key: _scores(comparison.itself(base)) for key, base in self.bases.items()
        }

    def _run(self, run: Run, tail: training.Tail) -> Json:
        """Return what one way of rounding makes of the texts."""
        losses: list[float] = []
        found = rounded(run, tail, losses)
        bits = next(iter(found.values())).bits_per_weight()
        result: dict[str, Json] = {"bits": bits, "losses": losses}
        rebuilt = {name: t.dequantize() for name, t in found.items()}
        bases = self.bases  # before the weights change
        with layers.swapped(self.loaded.model, rebuilt):
            for key, base in bases.items():
                result[key] = _scores(comparison.compare(base, self.tails[key].logits))
        return result

    @cached_property
    def _ranges(self) -> dict[str, dict[str, float]]:
        """The range of each layer's inputs, by each observer."""
        found = histograms(self.loaded.model, texts.calibration_tokens()[:OBSERVED])
        return {
            key: {name: choose(h) for name, h in found.items()}
            for key, choose in OBSERVERS.items()
        }

    def _w8a8(self, key: str) -> Json:
        base, per = self.bases[""], {"per": "token"}
        if key != "token":
            ranges = self._ranges[key]
            maxima = {name: torch.tensor([T]) for name, T in ranges.items()}
            per = {"per": "static", "maxima": maxima}
        with in_int8(self.loaded.model, **per) as changed:
            return {"": _scores(comparison.compare(base, changed))}

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        base, values = results["float"], {}
        for key, found in results.items():
            if key in ("float", "slice for the tests"):
                continue
            for text in ("", "other"):
                if text in found:
                    name = f"{key}_{text}" if text else key
                    values |= _values(name, base[text], found[text])
            if "bits" in found:
                values[f"{key}_bits"] = records.exact(found["bits"], "bits")
            if found.get("losses"):
                values[f"{key}_loss"] = _mean_loss(found["losses"])
        for bits in RATES:
            ours, rival = (
                torch.tensor(results[f"{m}_{bits}"][""]["log_likelihoods"])
                for m in ("qat", "gptq")
            )
            values[f"qat_over_gptq_{bits}"] = ratio(rival, ours)
        return values

    def slice(self) -> records.Slice:
        """Train on two short windows for three steps; observe one layer."""
        tokens = texts.calibration_tokens()[:2, :64]
        losses: list[float] = []
        tail = training.Tail(self.loaded.model, tokens)
        spec = QuantSpec(2, group_size=GROUP)
        start = {n: rtn.quantize(w, spec=spec) for n, w in tail.weights().items()}
        training.train(tail, start, steps=3, report=lambda _, x: losses.append(x))
        observer = observers.Observer()
        observer.add(next(walk(self.loaded.model, tokens)).inputs[0])
        found = {k: choose(observer.result()) for k, choose in OBSERVERS.items()}
        return records.Slice(
            description="Losses of three steps on 2 x 64 tokens; ranges of layer 0",
            values={f"loss_{i}": x for i, x in enumerate(losses, 1)} | found,
            tolerance=SLICE_TOLERANCE,
        )


def _mean_loss(losses: list[float]) -> records.Value:
    """Return the mean loss of the last quarter of the steps."""
    last = losses[-len(losses) // 4 :]
    return records.exact(sum(last) / len(last), "nats", n=len(last))


def _scores(found: comparison.Comparison) -> Json:
    return {
        "log_likelihoods": found.log_likelihoods.tolist(),
        "kl": found.kl,
        "top1": found.top1,
        "n": found.n,
    }


def _values(name: str, base: Json, found: Json) -> dict[str, records.Value]:
    """Return the values of one result on one text."""
    before, after = (torch.tensor(x["log_likelihoods"]) for x in (base, found))
    return {
        f"{name}_ratio": ratio(before, after),
        f"{name}_kl": records.exact(found["kl"], "nats", n=found["n"]),
        f"{name}_top1": records.exact(found["top1"], "", n=found["n"]),
    }
