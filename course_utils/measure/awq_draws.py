"""The measurement `awq-library`: our AWQ against llm-compressor's.

Three disjoint draws of calibration tokens, 4 bits. Both programs take turns, a few
layers at a time, on the same inputs: their exponents, their rounded weights, their
time. Then both models read the evaluation text, and the difference of log-perplexity
gets a paired interval.

Left out: duo scaling, which is the library's default and not in the paper.
"""

from collections.abc import Iterator

from course_utils.measure import awq_library, awq_quality, awq_values, records
from course_utils.measure.awq_quality import PART, spec_of, tokens_in
from course_utils.measure.awq_values import N_GRID
from course_utils.measure.task import Json, Results, Step
from course_utils.models import texts

DRAWS = (slice(0, 2), slice(2, 4), slice(4, 6))  # windows of 256 tokens
BITS = 4


class Measurement(awq_quality.Measurement):
    """The task of this module; `task.Task` says what its parts are for."""

    name = "awq-library"
    title = "AWQ on the embedded model: ours and llm-compressor's"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the record must know, with the library's version."""
        return (
            awq_quality.Measurement.notes[0],
            f"Three draws of {tokens_in(DRAWS[0])} calibration tokens, disjoint. "
            f"llm-compressor {awq_library.version()}, with duo_scaling=False and its "
            "call for pinned memory, which needs an accelerator, made to do nothing.",
            "Our loss is that of the layers that share an input (the paper's eq. 4), "
            "the library's that of the attention or MLP they belong to, so exponents "
            "may differ there; for down_proj both are the same.",
            "The library's model is rebuilt from its exponents; "
            "`library_codes_different` counts the weights in which its own rounding "
            "differs from ours.",
            f"Times: {PART} layers at a turn, both programs after each other, search "
            "and rounding, with the tokens of a draw.",
        )

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        more = {"draws": f"{DRAWS} {PART}", "llmcompressor": awq_library.version()}
        return super().inputs() | more

    def steps(self) -> Iterator[Step]:
        """Yield the steps; each is at most a minute on an idle machine of two cores."""
        for draw, windows in enumerate(DRAWS):
            start = f"draw {draw}"
            for part in self.parts():
                name = f"{start} layers {part[0]}"
                yield Step(name, lambda w=windows, p=part: self._both(w, p))
            for who in ("ours", "theirs"):
                yield Step(
                    f"{start} {who}",
                    lambda s=start, w=windows, who=who: self.scaled(BITS, s, w, who),
                )

    def _both(self, windows: slice, layers_of: tuple[int, int]) -> Json:
        tokens = texts.calibration_tokens()[windows]
        return awq_library.compare(
            self.loaded.model,
            tokens,
            layers_of=layers_of,
            spec=spec_of(BITS),
            n_grid=N_GRID,
        )

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        return awq_values.against_library(results, draws=len(DRAWS))
