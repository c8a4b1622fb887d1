"""The measurement `awq`: what AWQ saves on the whole model, and the 1 % experiment.

    whole model    round to nearest and AWQ at 4 and 3 bits: perplexity, KL, top-1
    one per cent   rounding to 3 bits with some columns left alone: those with the
                   largest inputs, those with the largest weights, random ones

The search goes a few layers at a time, so that an interrupt costs little. Intervals
are paired, over blocks of 64 tokens. Left out: the authors' search for a clipped range.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor

from course_utils.formats.affine import QuantSpec
from course_utils.measure import awq_values, comparison, records, task
from course_utils.measure.awq_library import part_of
from course_utils.measure.awq_values import BLOCK, N_GRID, Numbers
from course_utils.measure.task import Json, Results, Step
from course_utils.measure.whole_model import WholeModel
from course_utils.methods import awq
from course_utils.models import awq_model, layers, texts
from course_utils.models.card import CARDS, EMBEDDED
from course_utils.models.folds import folded
from course_utils.models.walk import walk

GROUP, BITS = 64, (4, 3)
WINDOWS = slice(0, 2)  # of 256 calibration tokens
PART = 5  # layers that are searched in one step
KEPT_SHARE, KEPT_BITS = 0.01, 3
KEPT = ("inputs", "weights", "random")
SLICE_LAYERS = 2
# A loss is a sum of squares of rounding errors. Where a processor adds in another
# order, a weight near a tie may take the other code: about 1 in 10**5 do, each moving
# its own error from one half of a step to the other half, so the loss by much less.
SLICE_TOLERANCE = 1e-3


def spec_of(bits: int) -> QuantSpec:
    """Return the grid of this measurement."""
    return QuantSpec(bits, group_size=GROUP)


def tokens_in(windows: slice) -> int:
    """Return the calibration tokens in these windows."""
    return texts.CALIBRATION_SHAPE[1] * (windows.stop - windows.start)


class Measurement(WholeModel):
    """The task of this module; `task.Task` says what its parts are for."""

    name = "awq"
    title = "AWQ on the embedded model: quality, and the 1 % experiment"
    N_EVAL, CONTEXT = 4 * 512, 512
    notes: tuple[str, ...] = (
        f"Groups of {GROUP}, asymmetric; {N_EVAL:,} tokens of the evaluation text in "
        "windows of 512; ratios of perplexity with paired 95 % intervals over blocks "
        f"of {BLOCK} tokens.",
        f"{tokens_in(WINDOWS)} calibration tokens. The loss is that of the layers that "
        "share an input (the paper's eq. 4); o_proj has no factors.",
        "One per cent: 3 bits; magnitudes are means over the calibration tokens.",
    )

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        protocol = f"{GROUP} {N_GRID} {BITS} {WINDOWS} {KEPT_SHARE}"
        return super().inputs() | {"protocol": protocol}

    def parts(self) -> list[tuple[int, int]]:
        """Return first layer and the one after the last of each step."""
        n = CARDS[EMBEDDED].n_layers
        return [(first, min(first + PART, n)) for first in range(0, n, PART)]

    def steps(self) -> Iterator[Step]:
        """Yield the steps; each is some seconds on an idle machine of two cores."""
        yield Step("itself", lambda: numbers_of(comparison.itself(self.baseline)))
        for bits in BITS:
            yield Step(
                f"rtn{bits}", lambda b=bits: numbers_of(self.under(self._rounded(b)))
            )
            for part in self.parts():
                name = f"search {bits} layers {part[0]}"
                yield Step(name, lambda b=bits, p=part: self._searched(b, p))
            yield Step(
                f"awq{bits}", lambda b=bits: self.scaled(b, f"search {b}", WINDOWS)
            )
        for by in KEPT:
            yield Step(f"keep {by}", lambda by=by: self._kept(by))

    @contextmanager
    def _rounded(self, bits: int) -> Iterator[None]:
        """Round the model as it is when this is entered, folded or not."""
        codes = awq_model.quantize_folded(self.loaded.model, spec=spec_of(bits))
        weights = {name: t.dequantize() for name, t in codes.items()}
        with layers.swapped(self.loaded.model, weights):
            yield

    def _searched(self, bits: int, layers_of: tuple[int, int]) -> Json:
        tokens = texts.calibration_tokens()[WINDOWS]
        return {"ours": places_of(self._search(bits, layers_of, tokens))}

    def _search(
        self, bits: int, layers_of: tuple[int, int], tokens: Tensor
    ) -> dict[str, awq.Search]:
        first, last = layers_of
        part = part_of(self.loaded.model, tokens, first=first, last=last)
        return awq_model.search_model(
            part.model, part.ids, spec=spec_of(bits), n_grid=N_GRID, progress=_silent
        )

    def scaled(self, bits: int, start: str, windows: slice, who: str = "ours") -> Json:
        """Evaluate the model with the exponents of the steps named `start` and on."""
        kept = json.loads(task.partial_file(self.name).read_text(encoding="utf-8"))
        places = awq_values.exponents(kept["results"], start, who)
        tokens = texts.calibration_tokens()[windows]
        magnitudes = awq_model.magnitudes(self.loaded.model, tokens)
        factors = {
            name: awq.scales(s_X, place / (N_GRID - 1))
            for (name, s_X), place in zip(magnitudes.items(), places, strict=True)
        }
        scaled = folded(self.loaded.model, factors)
        numbers = numbers_of(self.under(scaled, self._rounded(bits)))
        return numbers | {"alphas": [place / (N_GRID - 1) for place in places]}

    def _kept(self, by: str) -> Json:
        spec, weights = spec_of(KEPT_BITS), {}
        generator = torch.Generator().manual_seed(0)
        for name, W in self.weights.items():
            ranked = {
                "inputs": lambda name=name: self._inputs[name],
                "weights": lambda W=W: W.norm(dim=0),
                "random": lambda W=W: torch.rand(W.shape[1], generator=generator),
            }[by]()
            columns = ranked.topk(max(1, round(KEPT_SHARE * W.shape[1]))).indices
            weights[name] = awq.keep_columns(W, columns, spec=spec)
        return numbers_of(self.compare(weights))

    @cached_property
    def _inputs(self) -> dict[str, Tensor]:
        """Mean magnitude of the input channels of every linear layer."""
        tokens = texts.calibration_tokens()[WINDOWS]
        return {
            block.name(name): stats.abs_mean
            for block in walk(self.loaded.model, tokens)
            for name, stats in block.statistics().items()
        }

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        return awq_values.quality(results, bits=BITS, kept=KEPT)

    def slice(self) -> records.Slice:
        """Search the first layers: their exponents and losses."""
        tokens = texts.calibration_tokens()[WINDOWS]
        values: dict[str, float] = {}
        for i, one in enumerate(self._search(4, (0, SLICE_LAYERS), tokens).values()):
            values[f"place_{i}_alpha"] = round(one.alpha * (N_GRID - 1))
            values[f"place_{i}_loss"] = one.losses[one.alpha]
        return records.Slice(
            description=(
                f"The first {SLICE_LAYERS} layers, 4 bits: for each place the exponent "
                "as a number of the grid, and the loss"
            ),
            values=values,
            tolerance=SLICE_TOLERANCE,
        )


def _silent(_line: str) -> None:
    """Take a line of progress and say nothing: a step has one line of its own."""


def places_of(found: Mapping[str, awq.Search]) -> dict[str, int]:
    """Return each exponent as a number of the grid."""
    return {name: round(one.alpha * (N_GRID - 1)) for name, one in found.items()}


def numbers_of(found: comparison.Comparison) -> Numbers:
    """Return a comparison as JSON."""
    scores: Sequence[float] = found.log_likelihoods.double().tolist()
    return {"scores": scores, "kl": found.kl, "top1": found.top1}
