"""What measurements of a whole quantized model share.

    class Measurement(WholeModel):
        title, notes = "...", ("...",)
        def steps(self): ...    # uses self.compare({layer: weight})

The model, the evaluation text, the model's own predictions on it, and which inputs the
result depends on. `compare` and `under` read the baseline before the model changes, so
that a run that goes on after an interruption cannot read it from a changed model.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property

from torch import Tensor

from course_utils import paths
from course_utils.measure import comparison, records
from course_utils.measure.intervals import paired_interval
from course_utils.models import cache, embedded, layers, loading, texts
from course_utils.models.card import CARDS, EMBEDDED

BLOCK = 64  # tokens of a block of the paired intervals


def model_ref() -> records.ModelRef:
    """Return the embedded model, by the hash of its weights file."""
    card, files = CARDS[EMBEDDED], cache.read_card(embedded.prepare())["files"]
    return records.ModelRef(
        id=card.id, revision=card.revision, sha256=files[embedded.WEIGHTS]
    )


class WholeModel:
    """The embedded model and what it makes of the evaluation text.

    Attributes:
        N_EVAL: Tokens of the evaluation text that are read.
        CONTEXT: Tokens of a window.
    """

    device = "cpu"
    N_EVAL, CONTEXT = 4 * 512, 512

    @cached_property
    def loaded(self) -> loading.Loaded:
        """The model, on the processor."""
        loaded = loading.load("embedded")
        loaded.model.to(self.device)
        return loaded

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The matrices of the decoder by name, (out, in)."""
        found = layers.linear_layers(self.loaded.model)
        return {name: layers.weight_of(x).detach() for name, x in found.items()}

    @cached_property
    def tokens(self) -> Tensor:
        """The tokens everything is measured on, (N_EVAL,)."""
        return texts.evaluation_tokens(self.loaded.tokenizer, self.N_EVAL)

    @cached_property
    def baseline(self) -> comparison.Baseline:
        """The model's own predictions, in float32."""
        return comparison.read(self.loaded.model, self.tokens, context=self.CONTEXT)

    def model(self) -> records.ModelRef:
        """Return which model is measured, by the hash of its weights file."""
        return model_ref()

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on; a measurement adds its own."""
        folder = paths.book_dir() / "texts"
        return {
            "weights": self.model()["sha256"],
            "text": texts.text_digest(folder / texts.EVALUATION),
            "calibration": texts.text_digest(folder / texts.CALIBRATION),
            "n_eval": self.N_EVAL,
            "context": self.CONTEXT,
        }

    def compare(self, weights: Mapping[str, Tensor]) -> comparison.Comparison:
        """Return how far the model with other weights lies from itself.

        Shapes: layer name -> (out, in).
        """
        return self.under(layers.swapped(self.loaded.model, weights))

    def under(self, *changes: AbstractContextManager) -> comparison.Comparison:
        """Return how far the model lies from itself inside of context managers."""
        baseline = self.baseline  # before the model changes
        with ExitStack() as stack:
            for change in changes:
                stack.enter_context(change)
            return comparison.compare(baseline, self.loaded.model)


def ratio(before: Tensor, after: Tensor, *, block: int = BLOCK) -> records.Value:
    """Return perplexity after over before, with its paired 95 % interval.

    Shapes: log-likelihoods of the same tokens, (n,).
    """
    found = paired_interval(before, after, block=block).exp()
    low, value, high = (float(f"{x:.6g}") for x in (found.low, found.mean, found.high))
    spread = records.Spread(low=low, high=high, kind="95% interval")
    return records.Value(value=value, unit="", n=len(before), spread=spread)
