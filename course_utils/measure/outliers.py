"""The measurement `outliers`: where the large activations are, and what they do.

    sweep        the largest values of each site and layer, with and without the
                 first token of a window
    treatments   the whole model with its large activations rounded, kept in 16 bits,
                 clipped or removed: perplexity over the baseline's, and KL

The keys of the sweep are those of `outlier_sweep`.

Left out: other texts, and models trained to live without outliers.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cached_property

from torch import Tensor

from course_utils.measure import comparison, perplexity, records
from course_utils.measure import outlier_treatments as treat
from course_utils.measure.inference import truncated
from course_utils.measure.outlier_sweep import Peaks, sweep, sweep_values
from course_utils.measure.task import Json, Results, Step
from course_utils.measure.whole_model import BLOCK, WholeModel, ratio
from course_utils.methods.llm_int8 import Int8Linear, matmul, outlier_columns
from course_utils.models import layers
from course_utils.models.activations import (
    STREAM,
    changed_inputs,
    changed_stream,
)

THRESHOLD, THRESHOLDS = 6.0, (3, 6, 20)
SLICE_LAYERS, SLICE_TOKENS = 12, 64
# Twelve layers are about 120 operations in a row, each rounding sums of up to 1,536
# float32 terms, which moves a value by about sqrt(120 * 1536) * 2**-24 = 2.6e-5 of the
# sizes it was made from. The largest values are of that size. Five times that.
SLICE_TOLERANCE = 1.3e-4


class Measurement(WholeModel):
    """The task of this module; `task.Task` says what its parts are for."""

    title = "Large activations of the embedded model: where they are, what they do"
    N_EVAL, CONTEXT = 2 * 512, 512
    notes = (
        f"Perplexity: {perplexity.protocol(N_EVAL, context=CONTEXT)}. A ratio is over "
        f"the baseline, its interval paired over blocks of {BLOCK} tokens. KL is the "
        "mean over all positions, in nats.",
        "Sites: stream is the residual stream behind a layer; the others are inputs of "
        "linear layers. rest leaves out the first token of each window.",
        "int8 treatments round the weights as well, one step a row; a step of the "
        "inputs covers a window (tensor) or a token. apart, clipped and removed act on "
        "channels or values that reach 6. llm_int8 is our LLM.int8() at a threshold.",
        "stream treatments act behind every layer: the largest channel set to zero, "
        "values cut to the largest of the other tokens, the middle channel set to zero "
        "for comparison, 8 or 16 bits.",
    )

    @cached_property
    def before(self) -> Tensor:
        """Log-likelihoods of the model in float32."""
        return comparison.itself(self.baseline).log_likelihoods

    @cached_property
    def peaks(self) -> dict[tuple[str, int], Peaks]:
        """The sweep."""
        return sweep(self.loaded.model, self.tokens, context=self.CONTEXT)

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        return super().inputs() | {"thresholds": str(THRESHOLDS)}

    def steps(self) -> Iterator[Step]:
        """Yield the sweep, then one step for each treatment."""
        yield Step("sweep", lambda: sweep_values(self.peaks, THRESHOLD))
        yield Step("stream", self._stream)
        yield Step(
            "weights", lambda: self._compared(treat.weights_in_int8(self.loaded.model))
        )
        for name, change in treat.input_treatments(THRESHOLD).items():
            rounds = not name.startswith("float")
            yield Step(name, lambda c=change, r=rounds: self._inputs(c, weights=r))
        for threshold in THRESHOLDS:
            name = f"llm_int8_{threshold}"
            yield Step(name, lambda t=threshold: self._llm_int8(t))
        for name in treat.STREAM_TREATMENTS:
            yield Step(name, lambda name=name: self._stream_treatment(name))

    def _stream(self) -> Json:
        """Return the largest channel of the stream, and what other tokens reach."""
        stream = [p for (site, _), p in sorted(self.peaks.items()) if site == STREAM]
        largest = max(stream, key=lambda peaks: peaks.amax.max().item())
        order = largest.amax.argsort()
        return {
            "channel": int(order[-1]),
            "middle": int(order[len(order) // 2]),
            "limit": max(peaks.rest.max().item() for peaks in stream),
        }

    def _inputs(self, change: treat.Change, *, weights: bool) -> Json:
        model = self.loaded.model
        rounded = [treat.weights_in_int8(model)] if weights else []
        return self._compared(*rounded, changed_inputs(model, change))

    def _llm_int8(self, threshold: float) -> Json:
        """Compare the model with every linear layer in LLM.int8()."""
        model, apart, seen = self.loaded.model, 0, 0
        found = layers.linear_layers(model)

        def product(X: Tensor, *weights: Tensor, threshold: float) -> Tensor:
            nonlocal apart, seen
            apart += len(outlier_columns(X, threshold=threshold))
            seen += X.shape[1]
            return matmul(X, *weights, threshold=threshold)

        new = {
            n: Int8Linear(layers.weight_of(x), threshold=threshold, product=product)
            for n, x in found.items()
        }
        result = self._compared(treat.with_modules(model, new))
        return result | {"apart": _short(apart / seen), "columns": seen}

    def _stream_treatment(self, name: str) -> Json:
        change = treat.STREAM_TREATMENTS[name](self._stream())
        return self._compared(changed_stream(self.loaded.model, change))

    def _compared(self, *changes: AbstractContextManager) -> Json:
        """Return how far the changed model lies from the baseline."""
        found = self.under(*changes)
        return {
            "baseline": perplexity.perplexity_of(self.before),
            "perplexity": found.perplexity,
            "ratio": ratio(self.before, found.log_likelihoods),
            "kl": found.kl,
            "n": len(self.before),
        }

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        values = {
            name: records.exact(value, "", n=self.N_EVAL)
            for name, value in results["sweep"].items()
        }
        single = {f"stream_{name}": x for name, x in results["stream"].items()}
        single["baseline"] = results["weights"]["baseline"]
        values |= {
            name: records.exact(_short(x), "", n=self.N_EVAL)
            for name, x in single.items()
        }
        for name, found in results.items():
            if isinstance(found, dict) and "ratio" in found:
                values |= _treatment(name, found)
        return values

    def slice(self) -> records.Slice:
        """Sweep the first layers, and read a text with their inputs clipped.

        Nothing is rounded: where two processors differ in the last bit of an input, its
        code may be another one, and no tolerance could be derived for the sum.
        """
        model, tokens = self.loaded.model, self.tokens[:SLICE_TOKENS]
        with truncated(model, SLICE_LAYERS):
            found = sweep(model, tokens)
            with changed_inputs(model, treat.clipped(treat.untouched, THRESHOLD)):
                scores = perplexity.log_likelihoods(model, tokens)
        values = {}
        for site in (STREAM, "attention", "down"):
            amax, channel = found[site, SLICE_LAYERS - 1].amax.max(dim=0)
            values |= {f"{site}_channel": channel.item(), f"{site}_amax": amax.item()}
        values["clipped_mean_log_likelihood"] = scores.double().mean().item()
        return records.Slice(
            description=(
                f"Layers 0 to {SLICE_LAYERS - 1} alone on the first {SLICE_TOKENS} "
                "tokens of the evaluation text: largest channel of the last of them "
                "and its value at three sites, and the mean log-likelihood with all "
                f"inputs clipped to {THRESHOLD:g}, in nats"
            ),
            values=values,
            tolerance=SLICE_TOLERANCE,
        )


def _treatment(name: str, found: Results) -> dict[str, records.Value]:
    """Return the values of one treatment."""
    n = found["n"]
    values = {
        f"{name}_ratio": found["ratio"],
        f"{name}_ppl": records.exact(_short(found["perplexity"]), "", n=n),
        f"{name}_kl": records.exact(_short(found["kl"]), "nats", n=n),
    }
    if "apart" in found:
        values[f"{name}_apart"] = records.exact(found["apart"], "", n=found["columns"])
    return values


def _short(x: float) -> float:
    """Return x to 6 significant digits, whole numbers in full; 1e300 at most."""
    return x if isinstance(x, int) else float(f"{min(x, 1e300):.6g}")
