"""The measurement `quantizing-speed`: our quantizers against production code.

Each pair of `quantizer_pairs` quantizes every matrix of the model's decoder, one after
the other; results are dropped. Ours and theirs take turns within one run, and the
ratio is taken turn by turn, so that a machine that slows down slows both. How many
codes differ is counted as well: a ratio means little between programs that do
different work.

Left out: GPUs, other group sizes, and methods that look at data.
"""

from collections.abc import Iterator
from functools import cached_property

from torch import Tensor

from course_utils.measure import records
from course_utils.measure.quantizer_pairs import (
    Pair,
    differing,
    pairs,
    seconds,
    versions,
)
from course_utils.measure.task import Json, Results, Step
from course_utils.models import cache, embedded, layers, loading
from course_utils.models.card import CARDS, EMBEDDED

TURNS = 7
SLICE_MATRICES = 7  # one decoder layer


class Measurement:
    """The task of this module; `task.Task` says what its parts are for."""

    title = "Quantizing the whole embedded model: our functions and production code"
    device = "cpu"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the record must know, with the libraries' versions."""
        installed = ", ".join(f"{k} {v}" for k, v in versions().items())
        return (
            f"Compared with {installed}.",
            "affine4: 4 bits, asymmetric, groups of 64. int8: 8 bits, symmetric, one "
            "scale a row. nf4: blocks of 64, packed, absmax in float32.",
            f"Every matrix of the decoder once, {TURNS} turns after one that does not "
            "count; ours and theirs alternate. A ratio is ours over theirs within one "
            "turn, and below 1 where ours is faster.",
            "Codes that differ lie within float32 rounding of a tie: the libraries "
            "multiply by a reciprocal where we divide. For nf4, bytes are compared.",
        )

    @cached_property
    def weights(self) -> list[Tensor]:
        """The matrices of the decoder, float32, on the processor."""
        model = loading.load("embedded").model.to(self.device)
        return [x.weight.detach() for x in layers.linear_layers(model).values()]

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """What is compared."""
        return pairs()

    def model(self) -> records.ModelRef:
        """Return which model is quantized, by the hash of its weights file."""
        files = cache.read_card(embedded.prepare())["files"]
        return records.ModelRef(
            id=CARDS[EMBEDDED].id,
            revision=CARDS[EMBEDDED].revision,
            sha256=files[embedded.WEIGHTS],
        )

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        return {"weights": self.model()["sha256"], "turns": TURNS, **versions()}

    def steps(self) -> Iterator[Step]:
        """Yield one step per pair: the turns, then the comparison of the codes."""
        for pair in self.pairs:
            yield Step(pair.key, lambda pair=pair: self._compare(pair))
        yield Step("weights", lambda: sum(w.numel() for w in self.weights))

    def _compare(self, pair: Pair) -> Json:
        ours, theirs = [], []
        for turn in range(TURNS + 1):
            times = seconds(pair.ours, self.weights), seconds(pair.theirs, self.weights)
            if turn:  # the first one starts threads and maps memory
                ours.append(times[0])
                theirs.append(times[1])
        n, different = differing(pair, self.weights)
        return {"ours": ours, "theirs": theirs, "n": n, "different": different}

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        values = {"weights": records.exact(results["weights"], "")}
        for pair in self.pairs:
            found = results[pair.key]
            turns = zip(found["ours"], found["theirs"], strict=True)
            ratios = [ours / theirs for ours, theirs in turns]
            values |= {
                f"{pair.key}_ours": records.repeated(found["ours"], "s"),
                f"{pair.key}_{pair.library}": records.repeated(found["theirs"], "s"),
                f"{pair.key}_ratio": records.repeated(ratios, ""),
                f"{pair.key}_different": records.exact(
                    found["different"], "", n=found["n"]
                ),
            }
        return values

    def slice(self) -> records.Slice:
        """Count the codes of the first layer that differ; times are no test."""
        values = {}
        for pair in self.pairs:
            n, different = differing(pair, self.weights[:SLICE_MATRICES])
            values |= {f"{pair.key}_codes": n, f"{pair.key}_different": different}
        return records.Slice(
            description=(
                "The matrices of the first layer: codes compared with the library's, "
                "and how many of them differ (bytes for nf4)"
            ),
            values=values,
            tolerance=0.0,
        )
