"""The linear layers of a decoder, and putting other weights or modules into them.

Quantization methods work on the projections inside the decoder layers. The output
matrix is left out: in small models it is the embedding, and it is usually kept in
higher precision. Which layers a model has stands in `families`.

All weights here are (output, input), also those of GPT-2, whose modules keep them
the other way round.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from course_utils.models.families import family


def linear_layers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Return name and module of every linear layer of the decoder, in order.

    The output matrix (`lm_head`) is not among them.

    Raises: ValueError for a model type that `families` does not list.
    """
    kind = family(model.config.model_type)
    names = [
        f"{kind.path}.{i}.{name}"
        for i in range(len(model.get_submodule(kind.path)))
        for name in kind.linear
    ]
    return {name: model.get_submodule(name) for name in names}


def weight_of(module: nn.Module) -> Tensor:
    """Return the weight of a linear layer as (output, input), sharing its memory.

    Shapes: (out, in).
    Raises: ValueError if the module keeps no such matrix, as packed ones do not.
    """
    weight = getattr(module, "weight", None)
    if isinstance(module, Conv1D):
        return weight.T
    features = [getattr(module, f"{side}_features", None) for side in ("out", "in")]
    if isinstance(weight, Tensor) and list(weight.shape) == features:
        return weight
    raise ValueError(
        f"{type(module).__name__} keeps no (output, input) matrix; dequantize it first."
    )


def features_of(module: nn.Module) -> tuple[int, int] | None:
    """Return the (output, input) channels that a module says it has, or None."""
    if isinstance(module, Conv1D):
        return module.nf, module.nx
    if hasattr(module, "out_features") and hasattr(module, "in_features"):
        return module.out_features, module.in_features
    return None


@contextmanager
def swapped(
    model: PreTrainedModel, weights: Mapping[str, Tensor]
) -> Iterator[PreTrainedModel]:
    """Give some layers other weights for the length of a `with` block.

    The originals come back at its end, also after an error, bit for bit.

    Args:
        model: The model; it is changed in place and restored.
        weights: Name from `linear_layers` -> (out, in).

    Raises: ValueError for an unknown name or a wrong shape, before any change.
    """
    layers = _named(linear_layers(model), weights)
    for name, weight in weights.items():
        shape = weight_of(layers[name]).shape
        if weight.shape != shape:
            raise ValueError(
                f"{name} has shape {tuple(shape)}, the new weight "
                f"{tuple(weight.shape)}."
            )
    originals = {name: layer.weight.data for name, layer in layers.items()}
    try:
        with torch.no_grad():
            for name, weight in weights.items():
                old = originals[name]
                # A copy: what the caller does to its tensor must not reach the model.
                new = weight.detach().to(old.device, old.dtype, copy=True)
                if isinstance(layers[name], Conv1D):
                    new = new.T.contiguous()
                layers[name].weight.data = new
        yield model
    finally:
        for name, original in originals.items():
            layers[name].weight.data = original


def swap(
    model: PreTrainedModel, modules: Mapping[str, nn.Module]
) -> dict[str, nn.Module]:
    """Put other modules in the place of linear layers; return those that were there.

    Swapping the returned ones in undoes it.

    Args:
        model: The model; it is changed in place.
        modules: Name from `linear_layers` -> module with the same channels.

    Raises: ValueError for an unknown name or other channels, before any change.
    """
    layers = _named(linear_layers(model), modules)
    for name, module in modules.items():
        old, new = features_of(layers[name]), features_of(module)
        if old is not None and new is not None and old != new:
            raise ValueError(
                f"{name} has (output, input) channels {old}, the new module {new}."
            )
    for name, module in modules.items():
        model.set_submodule(name, module)
    return layers


def _named(
    layers: Mapping[str, nn.Module], names: Mapping[str, object]
) -> dict[str, nn.Module]:
    """Return the layers of these names.

    Raises: ValueError for a name that is not among them.
    """
    for name in names:
        if name not in layers:
            raise ValueError(f"The model has no linear layer {name!r}.")
    return {name: layers[name] for name in names}
