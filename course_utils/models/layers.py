"""The linear layers of a decoder, and putting other weights into them.

Quantization methods work on the projections inside the decoder layers. The output
matrix is left out: in small models it is the embedding, and it is usually kept in
higher precision.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_LLAMA_LAYER = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
# Model type in the configuration -> linear layers of one decoder layer, in the order
# in which a token passes through them.
LAYER_MAP: dict[str, tuple[str, ...]] = {
    "llama": _LLAMA_LAYER,
    "mistral": _LLAMA_LAYER,
    "qwen2": _LLAMA_LAYER,
    "qwen3": _LLAMA_LAYER,
}


def linear_layers(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """Return name and module of every linear layer of the decoder, in order.

    The output matrix (`lm_head`) is not among them.

    Raises: ValueError for a model type that LAYER_MAP does not list.
    """
    kind = model.config.model_type
    if kind not in LAYER_MAP:
        raise ValueError(
            f"No layer names for model type {kind!r}; known are "
            f"{', '.join(LAYER_MAP)}. Add a row to LAYER_MAP."
        )
    names = [
        f"model.layers.{i}.{name}"
        for i in range(model.config.num_hidden_layers)
        for name in LAYER_MAP[kind]
    ]
    return {name: model.get_submodule(name) for name in names}


@contextmanager
def swapped(
    model: PreTrainedModel, weights: Mapping[str, Tensor]
) -> Iterator[PreTrainedModel]:
    """Give some layers other weights for the length of a `with` block.

    The originals come back at its end, also after an error, bit for bit.

    Args:
        model: The model; it is changed in place and restored.
        weights: Name from `linear_layers` -> (out_features, in_features).

    Raises: ValueError for an unknown name or a wrong shape, before any change.
    """
    layers = linear_layers(model)
    for name, weight in weights.items():
        if name not in layers:
            raise ValueError(f"The model has no linear layer {name!r}.")
        if weight.shape != layers[name].weight.shape:
            raise ValueError(
                f"{name} has shape {tuple(layers[name].weight.shape)}, the new weight "
                f"{tuple(weight.shape)}."
            )
    originals = {name: layers[name].weight.data for name in weights}
    try:
        with torch.no_grad():
            for name, weight in weights.items():
                old = originals[name]
                # A copy: what the caller does to its tensor must not reach the model.
                new = weight.detach().to(old.device, old.dtype, copy=True)
                layers[name].weight.data = new
        yield model
    finally:
        for name, original in originals.items():
            layers[name].weight.data = original
