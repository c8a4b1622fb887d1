"""The measurement `smoothquant`: the whole model in W8A8 over the migration strength.

    plain     no smoothing; scale of the inputs: one a token, one for all tokens of a
              window ("tensor"), or one number from calibration ("static")
    norms     smoothed behind norms as in the paper, alpha 0 to 1; one scale a token

Weights have one scale a row. Every linear layer of the decoder is in W8A8; the output
matrix stays in float32. Baseline is the model in float32.

Left out: other calibration texts, weights with one scale a matrix, and smoothing
behind projections, which chapter 08 measures as it runs.
"""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from course_utils.formats.affine import fake_quantize
from course_utils.measure import comparison, perplexity, records
from course_utils.measure.task import Json, Results, Step
from course_utils.measure.whole_model import BLOCK, WholeModel, ratio
from course_utils.methods.w8a8 import INT8
from course_utils.models import smoothing, texts
from course_utils.models.folds import folded

N_WINDOWS = 8  # of calibration text
ALPHAS = tuple(k / 10 for k in range(11))
PERS = ("token", "tensor", smoothing.STATIC)
SLICE_TOKENS = 64
# As in `embedded_model`, for all 30 layers: about 300 operations in a row, each
# rounding sums of up to 1,536 terms, move a token's value by sqrt(300 * 1536) * 2**-24
# = 4.0e-5 of itself and the mean of 63 by 5.1e-6. Five times that. The logarithms of
# the factors are means over more values, each from one such maximum.
SLICE_TOLERANCE = 2.5e-5


def settings() -> dict[str, tuple[str, float | None]]:
    """Return every W8A8 setting by its name in the record: scale, alpha."""
    found: dict[str, tuple[str, float | None]] = {f"{p}_plain": (p, None) for p in PERS}
    return found | {f"token_norms_{round(100 * a)}": ("token", a) for a in ALPHAS}


class Measurement(WholeModel):
    """The task of this module; `task.Task` says what its parts are for."""

    title = "SmoothQuant: the embedded model in W8A8 over the migration strength"
    N_EVAL, CONTEXT = 2 * 512, 512
    notes = (
        f"Perplexity: {perplexity.protocol(N_EVAL, context=CONTEXT)}. A ratio is over "
        f"the baseline, its interval paired over blocks of {BLOCK} tokens. KL is the "
        "mean over all positions, in nats.",
        "Names end in alpha in hundredths; norms means smoothed behind norms, plain is "
        "W8A8 without smoothing, weights is 8-bit weights alone.",
        f"Maxima of the inputs are those of {N_WINDOWS} x 256 calibration tokens. A "
        "scale per tensor covers one window of tokens; a static one is set by the "
        "maxima.",
        "Products of 8-bit integers are summed exactly in 32 bits.",
    )

    @cached_property
    def maxima(self) -> dict[str, Tensor]:
        """The largest inputs of every layer on the calibration text."""
        tokens = texts.calibration_tokens()[:N_WINDOWS]
        return smoothing.input_maxima(self.loaded.model, tokens)

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        more = {"n_windows": N_WINDOWS, "settings": str(list(settings()))}
        return super().inputs() | more

    def steps(self) -> Iterator[Step]:
        """Yield one step for each setting, a few seconds each."""
        yield Step("weights", self._weights_only)
        for name, setting in settings().items():
            yield Step(name, lambda setting=setting: self._w8a8(*setting))

    def _weights_only(self) -> Json:
        new = {name: fake_quantize(w, spec=INT8) for name, w in self.weights.items()}
        return self._result(self.compare(new))

    def _w8a8(self, per: str, alpha: float | None) -> Json:
        model, maxima, s = self.loaded.model, self.maxima, {}
        if alpha is not None:
            s = smoothing.factors(model, maxima, alpha=alpha)
        maxima = smoothing.divided(maxima, smoothing.reader_factors(model, s))
        in_int8 = smoothing.in_int8(model, per=per, maxima=maxima)
        return self._result(self.under(folded(model, s), in_int8))

    def _result(self, found: comparison.Comparison) -> Json:
        """Return how far a model lies from the baseline."""
        before = comparison.itself(self.baseline).log_likelihoods
        return {
            "perplexity": found.perplexity,
            "ratio": ratio(before, found.log_likelihoods),
            "kl": found.kl,
            "top1": found.top1,
            "n": len(found.log_likelihoods),
        }

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        before = comparison.itself(self.baseline).log_likelihoods
        base = perplexity.perplexity_of(before)
        values = {"baseline": records.exact(_rounded(base), "", n=len(before))}
        for name in ("weights", *settings()):
            found, n = results[name], results[name]["n"]
            values |= {
                f"ppl_{name}": records.exact(_rounded(found["perplexity"]), "", n=n),
                f"ratio_{name}": found["ratio"],
                f"kl_{name}": records.exact(
                    _rounded(found["kl"]), "nats", n=self.N_EVAL
                ),
            }
        return values

    def slice(self) -> records.Slice:
        """Smooth the model and read 64 tokens; nothing is rounded to 8 bits here.

        Rounding is left out: where two processors differ in the last bit of an input,
        its code may be another one, and no tolerance could be derived for the sum.
        """
        model = self.loaded.model
        maxima = smoothing.input_maxima(model, texts.calibration_tokens()[:1])
        s = smoothing.factors(model, maxima, alpha=0.5, norms_only=False)
        with folded(model, s):
            scores = perplexity.log_likelihoods(model, self.tokens[:SLICE_TOKENS])
        logs = torch.cat([x.double().log() for x in s.values()])
        return records.Slice(
            description=(
                "Mean absolute logarithm of the smoothing factors at alpha 0.5, all "
                "places, from one window of calibration text, and the mean "
                f"log-likelihood of the first {SLICE_TOKENS} tokens of the evaluation "
                "text with the model smoothed, in nats"
            ),
            values={
                "mean_log_factor": logs.abs().mean().item(),
                "mean_log_likelihood": scores.double().mean().item(),
            },
            tolerance=SLICE_TOLERANCE,
        )


def _rounded(x: float) -> float:
    """Return x to 6 significant digits; JSON has no infinity, so 1e300 at most."""
    return float(f"{min(x, 1e300):.6g}")
