"""The measurement `scales`: what the choice of scale and zero point costs a model.

Every linear layer of the decoder is rounded under one setting, the whole model reads
the evaluation text, and its log-likelihoods are compared token by token with those of
the float32 model. Settings differ in which weights share a scale, in symmetry, and in
how the range is chosen: the data's own, clipped for the least error of the weights, or
clipped for the least error of the outputs (`methods.clipping`).

Left out: other texts and other models. The mean squares of the inputs are those of the
float32 model, for every layer.
"""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from course_utils.measure import comparison, records
from course_utils.measure.error import rmse
from course_utils.measure.perplexity import perplexity_of, protocol
from course_utils.measure.scale_settings import (
    SETTINGS,
    SIZES,
    UNCLIPPED,
    Setting,
    mean_squares,
    quantize,
)
from course_utils.measure.task import Json, Results, Step
from course_utils.measure.whole_model import BLOCK, WholeModel, ratio
from course_utils.models import texts

SLICE_MATRICES = 7  # one decoder layer


class Measurement(WholeModel):
    """The task of this module; `task.Task` says what its parts are for."""

    title = "The embedded model in 4 bits: groups, symmetry, clipping"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the record must know."""
        return (
            f"Perplexity: {protocol(self.N_EVAL, context=self.CONTEXT)}. A ratio is "
            f"perplexity over that of float32; intervals: paired, over blocks "
            f"of {BLOCK} tokens.",
            "Keys: tensor, row and gN say which weights share a scale, asym and sym "
            "the grid, 4 bits. weights, outputs: the range clipped "
            "for the least error of the weights, or of the outputs by the mean square "
            "of the inputs on the calibration tokens; asymmetric grids.",
            "Bits per weight count 16 bits a scale and a zero point as wide as a code, "
            "none where the grid is symmetric, over the linear layers of the decoder.",
        )

    @cached_property
    def h(self) -> dict[str, Tensor]:
        """The mean squares of the inputs by layer."""
        return mean_squares(self.loaded.model, texts.calibration_tokens())

    def steps(self) -> Iterator[Step]:
        """Yield one step per setting: quantize, read the text, compare."""
        yield Step("float32", lambda: _result(comparison.itself(self.baseline), 32.0))
        for setting in SETTINGS:
            yield Step(setting.key, lambda setting=setting: self._setting(setting))

    def _setting(self, setting: Setting) -> Json:
        rebuilt, bits, n = {}, 0.0, 0
        for name, w in self.weights.items():
            h = self.h[name] if setting.clip == "outputs" else None
            tensor = quantize(w, h, setting)
            rebuilt[name] = tensor.dequantize()
            bits, n = bits + tensor.bits_per_weight() * w.numel(), n + w.numel()
        return _result(self.compare(rebuilt), bits / n)

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        before = torch.tensor(results["float32"]["log_likelihoods"])
        values = {"float32_ppl": _perplexity(before)}
        for setting in SETTINGS:
            found = results[setting.key]
            after = torch.tensor(found["log_likelihoods"])
            values |= {
                f"{setting.key}_bits": records.exact(found["bits"], "bits"),
                f"{setting.key}_ppl": _perplexity(after),
                f"{setting.key}_ratio": ratio(before, after),
                f"{setting.key}_kl": records.exact(found["kl"], "nats", n=found["n"]),
            }
        pairs = UNCLIPPED | {f"{name}_sym": f"{name}_asym" for name in SIZES}
        for key, other in pairs.items():
            two = (torch.tensor(results[k]["log_likelihoods"]) for k in (other, key))
            values[f"{key}_over_{other}"] = ratio(*two)
        return values

    def slice(self) -> records.Slice:
        """Round the first layer under every setting that needs no inputs."""
        first = list(self.weights.values())[:SLICE_MATRICES]
        together = torch.cat([w.flatten() for w in first])
        values = {}
        for setting in SETTINGS:
            if setting.clip == "outputs":
                continue
            rebuilt = [quantize(w, None, setting).dequantize().flatten() for w in first]
            values[f"{setting.key}_rmse"] = rmse(together, torch.cat(rebuilt))
        return records.Slice(
            description=(
                "The matrices of the first layer: root of the mean squared error of "
                "their weights under every setting that looks at no inputs"
            ),
            values=values,
            # Two ratios whose float32 losses differ in the last bits may change places,
            # which moves the error by some 2**-20 of itself.
            tolerance=1e-5,
        )


def _result(found: comparison.Comparison, bits: float) -> Json:
    return {
        "log_likelihoods": [round(x, 6) for x in found.log_likelihoods.tolist()],
        "kl": float(f"{found.kl:.5g}"),
        "n": found.n,
        "bits": round(bits, 6),
    }


def _perplexity(log_likelihoods: Tensor) -> records.Value:
    value = float(f"{perplexity_of(log_likelihoods):.6g}")
    return records.exact(value, "", n=len(log_likelihoods))
