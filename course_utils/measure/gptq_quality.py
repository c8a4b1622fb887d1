"""The measurement `gptq`: round-to-nearest and GPTQ on the whole model, and a library.

Every linear layer of the decoder gets so many bits in groups of 64, and the model is
compared with itself on the evaluation text. Calibration is the frozen text, which the
model wrote itself. Three draws of half of it show what another calibration changes;
each is also given to GPT-QModel's GPTQ, in the same walk, and compared token by token.

A layer that is quantized stays on disk until the record is written, so that an
interrupted run goes on in the middle of a model.

Left out: other group sizes, and the library's own walk through the model.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from course_utils import paths
from course_utils.formats.affine import QuantSpec
from course_utils.measure import comparison, gptq_library, intervals, records
from course_utils.measure.perplexity import perplexity_of
from course_utils.measure.task import Json, Results, Step
from course_utils.measure.whole_model import BLOCK, WholeModel
from course_utils.methods import gptq, rtn
from course_utils.methods.statistics import output_error
from course_utils.models import layers, texts
from course_utils.models.quantize_model import Quantize, quantize_model
from course_utils.models.walk import walk

GROUP = 64
DRAWS = {1: slice(0, 16), 2: slice(16, 32), 3: slice(8, 24)}  # windows of the text
METHODS = {
    "rtn": rtn.quantize,
    "gptq": gptq.quantize,
    "actorder": partial(gptq.quantize, act_order=True),
    "library": gptq_library.gptqmodel,
}
SLICE_LAYER = "self_attn.q_proj"
SLICE_WINDOWS = 4
# Codes differ between processors where float32 sums are rounded in another order; the
# objective moves with them by up to 0.1 %, ten times less than what is asked here.
SLICE_TOLERANCE = 0.01


@dataclass(frozen=True)
class Run:
    """One whole model: which method, how many bits, which draw of calibration."""

    method: str
    bits: int
    draw: int | None = None

    @property
    def key(self) -> str:
        """Its name in the record."""
        return f"{self.method}{self.bits}" + (f"_draw{self.draw}" if self.draw else "")

    @property
    def quantize(self) -> Quantize:
        """The method with its options."""
        spec = QuantSpec(self.bits, group_size=GROUP)
        return partial(METHODS[self.method], spec=spec)


RUNS = (
    *(Run("rtn", bits) for bits in (4, 3, 2)),
    *(Run("gptq", bits) for bits in (4, 3, 2)),
    Run("actorder", 4),
    *(Run(method, 4, draw) for draw in DRAWS for method in ("gptq", "library")),
)


class Measurement(WholeModel):
    """The task of this module; `task.Task` says what its parts are for."""

    title = "GPTQ and round-to-nearest on the whole embedded model, and GPT-QModel"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the record must know."""
        return (
            f"Groups of {GROUP}, asymmetric; scales and zero points not rounded. "
            "percdamp 0.01, lazy block 128, columns in order except `actorder`; each "
            "matrix is quantized when the tokens reach it.",
            f"Evaluation: {self.N_EVAL} tokens in windows of 512; intervals over "
            f"blocks of {BLOCK} tokens. Calibration: 32 x 256 tokens; a draw is 16 of "
            "these windows, draws 1 and 2 share none, draw 3 takes half of each.",
            f"`library` is GPT-QModel {self.inputs()['gptqmodel']} with the same "
            "options in our walk; its scales of every second group come from weights "
            "without the updates of the block.",
            "A difference is log perplexity of the first minus the second, paired.",
        )

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        return super().inputs() | {
            "runs": ", ".join(run.key for run in RUNS),
            "gptqmodel": gptq_library.version("gptqmodel"),
        }

    def steps(self) -> Iterator[Step]:
        """Yield the baseline, then one step a model."""
        yield Step("baseline", lambda: _scores(comparison.itself(self.baseline)))
        for run in RUNS:
            yield Step(run.key, lambda run=run: self._compare(run))

    def _compare(self, run: Run) -> Json:
        return _scores(self.compare(self._rebuilt(run)))

    def _rebuilt(self, run: Run) -> dict[str, Tensor]:
        """Return the weights of a run's model."""
        if run.method == "rtn":  # needs no walk through the model
            found = self.weights.items()
            return {name: run.quantize(w).dequantize() for name, w in found}
        tokens = texts.calibration_tokens()
        found = quantize_model(
            self.loaded.model,
            tokens[DRAWS[run.draw]] if run.draw else tokens,
            run.quantize,
            folder=_kept() / run.key,
            stacked=True,
            one_pass=True,
            progress=str,
        )
        return {name: t.dequantize() for name, t in found.items()}

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        values, base = {}, _tensor(results["baseline"])
        for key, found in results.items():
            if "log_likelihoods" not in found:
                continue
            scores = _tensor(found)
            n = len(scores)
            perplexity = perplexity_of(scores)
            values[f"{key}_ppl"] = records.exact(float(f"{perplexity:.6g}"), "", n=n)
            if key == "baseline":
                continue
            values[f"{key}_kl"] = records.exact(found["kl"], "nats", n=found["n"])
            values[f"{key}_top1"] = records.exact(found["top1"], "", n=found["n"])
            values[f"{key}_log_ratio"] = difference(scores, base)
        pairs = [(f"gptq{bits}", f"rtn{bits}") for bits in (4, 3, 2)]
        pairs += [("actorder4", "gptq4")]
        pairs += [(f"gptq4_draw{k}", f"library4_draw{k}") for k in DRAWS]
        for ours, other in pairs:
            values[f"{ours}_vs_{other}"] = difference(
                _tensor(results[ours]), _tensor(results[other])
            )
        shutil.rmtree(_kept(), ignore_errors=True)
        return values

    def slice(self) -> records.Slice:
        """Quantize one matrix of the first layer on a few windows."""
        tokens = texts.calibration_tokens()[:SLICE_WINDOWS]
        block = next(walk(self.loaded.model, tokens))
        stats = block.statistics([SLICE_LAYER])[SLICE_LAYER]
        w = layers.weight_of(block.linear[SLICE_LAYER]).detach()
        spec = QuantSpec(4, group_size=GROUP)
        errors = {
            f"{name}_error": output_error(
                w, method(w, stats, spec=spec).dequantize(), stats
            )
            for name, method in METHODS.items()
            if name != "library"
        }
        return records.Slice(
            description=(
                f"Mean squared output error of {SLICE_LAYER} of layer 0 at 4 bits on "
                f"the first {SLICE_WINDOWS} calibration windows"
            ),
            values=errors,
            tolerance=SLICE_TOLERANCE,
        )


def _kept() -> Path:
    """Return where finished layers wait for the rest."""
    return paths.ROOT / "_build" / "measure" / "gptq-layers"


def _scores(found: comparison.Comparison) -> Json:
    return {
        "log_likelihoods": found.log_likelihoods.tolist(),
        "kl": found.kl,
        "top1": found.top1,
        "n": found.n,
    }


def _tensor(result: Json) -> Tensor:
    return torch.tensor(result["log_likelihoods"], dtype=torch.float64)


def difference(ours: Tensor, other: Tensor) -> records.Value:
    """Return mean log perplexity of `ours` minus that of `other`, paired.

    Shapes: log-likelihoods of the same tokens, (n,).
    """
    found = intervals.paired_interval(other, ours, block=BLOCK)
    low, mean, high = (float(f"{x:.5g}") for x in (found.low, found.mean, found.high))
    spread = records.Spread(low=low, high=high, kind="95% interval")
    return records.Value(value=mean, unit="nats", n=found.n, spread=spread)
