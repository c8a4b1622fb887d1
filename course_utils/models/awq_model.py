"""AWQ on a whole model: search the factors layer by layer, fold them, round.

    found = search_model(model, tokens, spec=spec)
    with folded_rounding(model, found, spec=spec):
        ...                                       the quantized model

The search reads the outputs of the original layers, as the authors' code does: the
factors change no output, and the rounding comes last.

Layers that read the same input share their factors, because one division serves them
all. A projection that feeds more columns than it has rows, as `v_proj` does with
grouped heads, gets none: the authors' code leaves it out too, and `o_proj` is rounded
as it is.

Left out: the loss of a whole attention or MLP, which the authors' code takes in place
of the paper's eq. 4 where several layers share factors.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor
from course_utils.methods import awq, rtn
from course_utils.methods.statistics import LayerStats
from course_utils.models import layers
from course_utils.models.cache import Progress
from course_utils.models.folds import folded, full_name, layer_folds, n_channels
from course_utils.models.walk import walk


def search_model(
    model: PreTrainedModel,
    tokens: Tensor,
    *,
    spec: QuantSpec,
    n_grid: int = 20,
    progress: Progress = print,
) -> dict[str, awq.Search]:
    """Return what the search found for each source, by its full name.

    Args:
        model: The model; its weights are read, never changed.
        tokens: Calibration tokens.
        spec: The grid that the weights will be rounded to.
        n_grid: Values of alpha from 0 to 1.
        progress: Is told one line a layer.

    Shapes: tokens (n_windows, seq_len).
    Raises: ValueError for tokens that are not calibration tokens, a model type
        without folds, or as `awq.search` does.
    """
    found: dict[str, awq.Search] = {}
    for path, places in _blocks(model, tokens):
        mine = {}
        for place in places:
            L = awq.output_loss(place.weights, place.stats.second_moment, spec=spec)
            mine[place.name] = awq.search(place.stats.abs_mean, L, n_grid=n_grid)
        found |= mine
        alphas = ", ".join(f"{one.alpha:.2f}" for one in mine.values())
        progress(f"{path}: alpha {alphas}")
    return found


def magnitudes(model: PreTrainedModel, tokens: Tensor) -> dict[str, Tensor]:
    """Return s_X, the mean magnitude of the channels, for each source that is searched.

    Shapes: tokens (n_windows, seq_len).
    Raises: ValueError as `search_model` does.
    """
    return {
        place.name: place.stats.abs_mean
        for _, places in _blocks(model, tokens)
        for place in places
    }


@dataclass(frozen=True, eq=False)
class _Place:
    """A source, with the weights that read it and the statistics of what they read."""

    name: str
    weights: list[Tensor]
    stats: LayerStats


def _blocks(
    model: PreTrainedModel, tokens: Tensor
) -> Iterator[tuple[str, list[_Place]]]:
    """Yield path and places of each decoder layer where factors are searched."""
    config = model.config
    folds = layer_folds(config)  # refuses a model before the work begins
    for block in walk(model, tokens):
        weights = {
            name: layers.weight_of(linear).detach()
            for name, linear in block.linear.items()
        }
        fitting = []
        for fold in folds:
            cols = weights[fold.readers[0]].shape[1]
            if n_channels(config, fold, cols=cols) == cols:
                fitting.append(fold)
        stats = block.statistics([fold.readers[0] for fold in fitting])
        yield (
            block.path,
            [
                _Place(
                    full_name(config, block.index, fold.source),
                    [weights[name] for name in fold.readers],
                    stats[fold.readers[0]],
                )
                for fold in fitting
            ],
        )


def quantize_folded(model: PreTrainedModel, *, spec: QuantSpec) -> dict[str, QTensor]:
    """Return every linear layer of the decoder rounded to nearest, as it stands.

    Inside `folded` these are AWQ's codes.
    """
    return {
        name: rtn.quantize(layers.weight_of(module).detach(), spec=spec)
        for name, module in layers.linear_layers(model).items()
    }


@contextmanager
def folded_rounding(
    model: PreTrainedModel, found: Mapping[str, awq.Search], *, spec: QuantSpec
) -> Iterator[dict[str, QTensor]]:
    """Make the model its AWQ version for the length of a `with` block.

    Factors are folded in, and the linear layers hold rounded weights. The block gets
    the codes. The originals come back at its end, also after an error.

    Raises: ValueError as `folds.folded` does.
    """
    with folded(model, {name: one.s for name, one in found.items()}):
        codes = quantize_folded(model, spec=spec)
        weights = {name: t.dequantize() for name, t in codes.items()}
        with layers.swapped(model, weights):
            yield codes
