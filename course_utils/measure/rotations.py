"""The measurement `rotations`: 4-bit weights and inputs before and after a rotation.

    none         the model as it is
    gains        gains of the norms in the weights behind them, nothing rotated
    orthogonal   a random rotation of the residual stream
    hadamard     a randomized Hadamard matrix there
    full         and one inside the value heads, and a transform of down_proj's input

Each is read three times: inputs in 4 bits (`a4`), weights in 4 bits (`w4`), both
(`w4a4`). Inputs have one symmetric scale for each token, taken as it comes; weights are
rounded to nearest in groups of 64, and by GPTQ in `none` and `full`. All linear layers
of the decoder are rounded; embedding, output matrix, cache and products of attention
stay in float32.

Left out: other texts and models, clipped ranges of the inputs, learned rotations.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor

from course_utils.formats.affine import QuantSpec
from course_utils.measure import comparison, perplexity, records
from course_utils.measure.task import Json, Results, Step
from course_utils.measure.whole_model import BLOCK, WholeModel, ratio
from course_utils.methods import gptq, rotation, rtn
from course_utils.models import activations, layers, texts
from course_utils.models.quantize_model import quantize_model
from course_utils.models.rotating import rotated

BITS, GROUP, SEEDS = 4, 64, (0, 1, 2)
N_WINDOWS = 16  # of calibration text
LABELS = ("none", "gains", "orthogonal", "hadamard", "full")
BY_GPTQ = ("none", "full")
SITES = ("attention", "output", "mlp", "down")
SLICE_TOKENS = 64
# As in `smoothquant_sweep`: about 300 operations in a row, each rounding sums of up to
# 1,536 terms, move the mean of 63 tokens by 5.1e-6. Rotating makes each weight a sum of
# 576 rounded products, which is as much again. Five times that.
SLICE_TOLERANCE = 5e-5


class Measurement(WholeModel):
    """The task of this module; `task.Task` says what its parts are for."""

    title = "Rotations: the embedded model in W4A4 and W4A16, before and after"
    N_EVAL, CONTEXT = 2 * 512, 512
    notes = (
        f"Perplexity: {perplexity.protocol(N_EVAL, context=CONTEXT)}. A ratio is over "
        f"that of float32; intervals: paired, over blocks of {BLOCK} tokens.",
        f"w4: 4-bit weights in groups of {GROUP}, asymmetric, round to nearest, or "
        f"GPTQ with act-order on {N_WINDOWS} x 256 calibration tokens. a4: 4-bit "
        "inputs of the linear layers, one symmetric scale a token. Names end in what "
        "was rotated.",
        f"draws: ratio with 4-bit inputs for seeds {SEEDS}, as median, lowest and "
        "highest.",
        "peak: largest |x| of a token over its root mean square, the median over "
        f"tokens and layers of {CONTEXT} tokens; kurtosis over all values of a layer, "
        "the median over layers.",
    )

    def context(self, label: str, seed: int = 0) -> AbstractContextManager:
        """Return the rotation of a label."""
        config, model = self.loaded.model.config, self.loaded.model
        n = config.hidden_size
        if label == "none":
            return nullcontext(model)
        if label == "gains":
            return rotated(model, None)
        if label == "orthogonal":
            return rotated(model, rotation.random_orthogonal(n, seed))
        Q = rotation.randomized_hadamard(n, seed)
        if label == "hadamard":
            return rotated(model, Q)
        R = rotation.randomized_hadamard(config.head_dim, seed)
        return rotated(model, Q, head_rotation=R, online=True)

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        own = {"labels": str(LABELS), "group_size": GROUP, "n_windows": N_WINDOWS}
        return super().inputs() | own

    def steps(self) -> Iterator[Step]:
        """Yield the baseline, then a step for each rotation and each way to round."""
        yield Step("float32", lambda: _result(comparison.itself(self.baseline)))
        for label in LABELS:
            yield Step(f"peaks_{label}", lambda label=label: self._peaks(label))
            yield Step(f"rtn_{label}", lambda label=label: self._rtn(label))
        for label in BY_GPTQ:
            yield Step(f"gptq_{label}", lambda label=label: self._gptq(label))
        for label in ("orthogonal", "hadamard"):
            yield Step(f"draws_{label}", lambda label=label: self._draws(label))

    def _rtn(self, label: str) -> Json:
        self._ready()
        with self.context(label):
            spec = QuantSpec(BITS, group_size=GROUP)
            new = {n: rtn.quantize(w, spec=spec) for n, w in self._now().items()}
            rebuilt = {n: t.dequantize() for n, t in new.items()}
            return {"a4": self._with_inputs({}), **self._both(rebuilt)}

    def _gptq(self, label: str) -> Json:
        self._ready()
        model, tokens = self.loaded.model, texts.calibration_tokens()[:N_WINDOWS]
        spec = QuantSpec(BITS, group_size=GROUP)
        quantize = partial(gptq.quantize, spec=spec, act_order=True)
        with self.context(label):
            found = quantize_model(
                model, tokens, quantize, stacked=True, one_pass=True, progress=str
            )
            return self._both({name: t.dequantize() for name, t in found.items()})

    def _draws(self, label: str) -> Json:
        self._ready()
        found = []
        for seed in SEEDS:
            with self.context(label, seed):
                found.append(self._with_inputs({})["log_likelihoods"])
        return found

    def _ready(self) -> None:
        """Read the baseline while the model is as it was."""
        assert self.baseline.windows

    def _now(self) -> dict[str, Tensor]:
        """Return the matrices as they are at the moment, rotated or not."""
        found = layers.linear_layers(self.loaded.model)
        return {name: layers.weight_of(x).detach() for name, x in found.items()}

    def _both(self, weights: dict[str, Tensor]) -> Json:
        plain = _result(self.compare(weights))
        return {"w4": plain, "w4a4": self._with_inputs(weights)}

    def _with_inputs(self, weights: dict[str, Tensor]) -> Json:
        rounded = partial(rotation.per_token, bits=BITS)
        with activations.changed_inputs(self.loaded.model, rounded):
            return _result(self.compare(weights))

    def _peaks(self, label: str) -> Json:
        """Return median peak and kurtosis of what the linear layers read."""
        peaks = {site: [] for site in SITES}
        tails = {site: [] for site in SITES}

        def see(site: str, _layer: int, x: Tensor) -> None:
            if site in SITES:
                peaks[site].append(rotation.peak(x[0]))
                tails[site].append(rotation.kurtosis(x))

        model = self.loaded.model
        with self.context(label), activations.watched(model, see), torch.no_grad():
            model(self.tokens[None, : self.CONTEXT], logits_to_keep=1)
        return {
            site: {
                "peak": torch.cat(peaks[site]).median().item(),
                "kurtosis": torch.tensor(tails[site]).median().item(),
            }
            for site in SITES
        }

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        before = torch.tensor(results["float32"]["log_likelihoods"])
        base = perplexity.perplexity_of(before)
        values = {"float32_ppl": records.exact(base, "", n=len(before))}
        for label in LABELS:
            for site, found in results[f"peaks_{label}"].items():
                for kind, x in found.items():
                    values[f"{kind}_{site}_{label}"] = records.exact(_short(x), "")
        ways = [("rtn", x) for x in LABELS] + [("gptq", x) for x in BY_GPTQ]
        for way, label in ways:
            for kind, found in results[f"{way}_{label}"].items():
                name = kind if kind == "a4" else f"{way}_{kind}"
                values |= _values(f"{name}_{label}", before, found)
        for label in ("orthogonal", "hadamard"):
            found = [torch.tensor(x) for x in results[f"draws_{label}"]]
            ratios = [(before.double().mean() - x.double().mean()).exp() for x in found]
            observed = records.repeated([x.item() for x in ratios], "")
            values[f"draws_{label}"] = observed
        return values

    def slice(self) -> records.Slice:
        """Read 64 tokens before and after the whole rotation; nothing is rounded.

        Rounding is left out: where two processors differ in the last bit of an input,
        its code may be another one, and no tolerance could be derived for the sum.
        """
        values = {}
        for label in ("none", "full"):
            with self.context(label) as model:
                scores = perplexity.log_likelihoods(model, self.tokens[:SLICE_TOKENS])
            values[f"mean_log_likelihood_{label}"] = scores.double().mean().item()
        return records.Slice(
            description=(
                f"Mean log-likelihood of the first {SLICE_TOKENS} tokens of the "
                "evaluation text in nats, as it is and with everything rotated"
            ),
            values=values,
            tolerance=SLICE_TOLERANCE,
        )


def _result(found: comparison.Comparison) -> Json:
    return {
        "log_likelihoods": found.log_likelihoods.tolist(),
        "perplexity": found.perplexity,
        "kl": found.kl,
        "top1": found.top1,
        "n": found.n,
    }


def _values(name: str, before: Tensor, found: Json) -> dict[str, records.Value]:
    """Return the values of one setting."""
    after = torch.tensor(found["log_likelihoods"])
    n = found["n"]
    return {
        f"{name}_ppl": records.exact(_short(found["perplexity"]), "", n=len(after)),
        f"{name}_ratio": ratio(before, after),
        f"{name}_kl": records.exact(_short(found["kl"]), "nats", n=n),
        f"{name}_top1": records.exact(_short(found["top1"]), "", n=n),
    }


def _short(x: float) -> float:
    """Return x to 6 significant digits; JSON has no infinity, so 1e300 at most."""
    return float(f"{min(x, 1e300):.6g}")
