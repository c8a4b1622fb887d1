"""The measurement `awq-speed`: our AWQ and llm-compressor's, on the whole text.

Both search and round a few layers, after each other, on the same inputs: those of all
32 x 256 calibration tokens. `awq-library` compares what they find, on draws of two
windows; there the text is so short that the programs' fixed costs show.

Left out: the layers between. They have the same shapes.
"""

from collections.abc import Iterator

from course_utils.measure import awq_library, awq_quality, records
from course_utils.measure.awq_quality import spec_of
from course_utils.measure.awq_values import N_GRID
from course_utils.measure.task import Json, Results, Step
from course_utils.models import texts

FIRST, N_LAYERS, BITS = (0, 10, 20), 2, 4


class Measurement(awq_quality.Measurement):
    """The task of this module; `task.Task` says what its parts are for."""

    name = "awq-speed"
    title = "Time of AWQ on the embedded model: ours and llm-compressor's"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the record must know, with the library's version."""
        n_windows, length = texts.CALIBRATION_SHAPE
        return (
            f"4 bits, groups of 64, {n_windows} x {length} calibration tokens; "
            f"{N_LAYERS} layers at a turn, from {', '.join(map(str, FIRST))} on, "
            "search and rounding, both programs after each other.",
            f"llm-compressor {awq_library.version()}, with duo_scaling=False and its "
            "call for pinned memory, which needs an accelerator, made to do nothing.",
            "The library sends all tokens through a layer for every exponent. Ours "
            "sends them once and keeps second moments: its time is that one pass, and "
            "a product of matrices for each exponent.",
        )

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        more = {"layers": f"{FIRST} {N_LAYERS}", "llmcompressor": awq_library.version()}
        return super().inputs() | more

    def steps(self) -> Iterator[Step]:
        """Yield a turn of both programs for each part of the model."""
        for first in FIRST:
            yield Step(f"layers {first}", lambda first=first: self._turn(first))

    def _turn(self, first: int) -> Json:
        found = awq_library.compare(
            self.loaded.model,
            texts.calibration_tokens(),
            layers_of=(first, first + N_LAYERS),
            spec=spec_of(BITS),
            n_grid=N_GRID,
        )
        return {"ours": found["seconds"], "library": found["library_seconds"]}

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        turns = [results[f"layers {first}"] for first in FIRST]
        ratios = [turn["ours"] / turn["library"] for turn in turns]
        return {
            "ours_seconds": records.repeated([t["ours"] for t in turns], "s"),
            "library_seconds": records.repeated([t["library"] for t in turns], "s"),
            "ratio": records.repeated(ratios, ""),
        }
