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

from course_utils import paths
from course_utils.formats.affine import fake_quantize
from course_utils.measure import comparison, perplexity, records
from course_utils.measure.intervals import paired_interval
from course_utils.measure.task import Json, Results, Step
from course_utils.methods.w8a8 import INT8
from course_utils.models import cache, embedded, layers, loading, smoothing, texts
from course_utils.models.folds import folded

N_EVAL, CONTEXT, BLOCK = 2 * 512, 512, 64
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


class Measurement:
    """The task of this module; `task.Task` says what its parts are for."""

    title = "SmoothQuant: the embedded model in W8A8 over the migration strength"
    device = "cpu"
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
    def loaded(self) -> loading.Loaded:
        """The model, on the processor."""
        loaded = loading.load("embedded")
        loaded.model.to(self.device)
        return loaded

    @cached_property
    def tokens(self) -> Tensor:
        """The tokens everything is measured on."""
        return texts.evaluation_tokens(self.loaded.tokenizer, N_EVAL)

    @cached_property
    def baseline(self) -> comparison.Baseline:
        """Predictions of the model in float32."""
        return comparison.read(self.loaded.model, self.tokens, context=CONTEXT)

    @cached_property
    def maxima(self) -> dict[str, Tensor]:
        """The largest inputs of every layer on the calibration text."""
        tokens = texts.calibration_tokens()[:N_WINDOWS]
        return smoothing.input_maxima(self.loaded.model, tokens)

    def model(self) -> records.ModelRef:
        """Return which model is measured, by the hash of its weights file."""
        files = cache.read_card(embedded.prepare())["files"]
        card = self.loaded.card
        return records.ModelRef(
            id=card.id, revision=card.revision, sha256=files[embedded.WEIGHTS]
        )

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        folder = paths.book_dir() / "texts"
        return {
            "weights": self.model()["sha256"],
            "text": texts.text_digest(folder / texts.EVALUATION),
            "calibration": texts.text_digest(folder / texts.CALIBRATION),
            "n_eval": N_EVAL,
            "context": CONTEXT,
            "n_windows": N_WINDOWS,
            "settings": str(list(settings())),
        }

    def steps(self) -> Iterator[Step]:
        """Yield one step for each setting, a few seconds each."""
        yield Step("weights", self._weights_only)
        for name, setting in settings().items():
            yield Step(name, lambda setting=setting: self._w8a8(*setting))

    def _weights_only(self) -> Json:
        model, baseline = self.loaded.model, self.baseline
        found = layers.linear_layers(model)
        new = {n: fake_quantize(x.weight.detach(), spec=INT8) for n, x in found.items()}
        with layers.swapped(model, new):
            return self._compared(baseline)

    def _w8a8(self, per: str, alpha: float | None) -> Json:
        model, maxima, s = self.loaded.model, self.maxima, {}
        baseline = self.baseline  # read while the model is still as it was
        if alpha is not None:
            s = smoothing.factors(model, maxima, alpha=alpha)
        maxima = smoothing.divided(maxima, smoothing.reader_factors(model, s))
        with folded(model, s), smoothing.in_int8(model, per=per, maxima=maxima):
            return self._compared(baseline)

    def _compared(self, baseline: comparison.Baseline) -> Json:
        """Return how far the model as it is now lies from the baseline."""
        found = comparison.compare(baseline, self.loaded.model)
        before = comparison.itself(baseline).log_likelihoods
        log_ratio = paired_interval(before, found.log_likelihoods, block=BLOCK)
        ratio = log_ratio.exp()
        return {
            "perplexity": found.perplexity,
            "ratio": [ratio.low, ratio.mean, ratio.high],
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
            low, mean, high = (_rounded(x) for x in found["ratio"])
            spread = records.Spread(low=low, high=high, kind="95% interval")
            values |= {
                f"ppl_{name}": records.exact(_rounded(found["perplexity"]), "", n=n),
                f"ratio_{name}": records.Value(value=mean, unit="", n=n, spread=spread),
                f"kl_{name}": records.exact(_rounded(found["kl"]), "nats", n=N_EVAL),
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
