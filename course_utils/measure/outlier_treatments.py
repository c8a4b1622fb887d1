"""What may be done with large activations, each as a function x -> x of the same shape.

    per_tensor   8 bits, one step for everything at hand: its largest value / 127
    per_token    8 bits, one step for each token
    apart        large channels as they are, the others rounded
    clipped      large values cut to the threshold, then rounded
    removed      large channels set to zero, then rounded

A channel is large if any token reaches the threshold in it. Values are rebuilt as
floats: an integer product gives the same sums, up to float rounding.

Shapes everywhere: x (..., channels).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from course_utils.methods.llm_int8 import LARGEST, vectorwise
from course_utils.models.activations import Change
from course_utils.models.layers import linear_layers, swap, swapped, weight_of


def untouched(x: Tensor) -> Tensor:
    """Return x: the float baseline of the treatments that round afterwards."""
    return x


def per_tensor(x: Tensor) -> Tensor:
    """Return x in 8 bits, with one step for all of it."""
    return _rounded(x, x.abs().amax())


def per_token(x: Tensor) -> Tensor:
    """Return x in 8 bits, with one step for each token."""
    return _rounded(x, x.abs().amax(dim=-1, keepdim=True))


def _rounded(x: Tensor, amax: Tensor) -> Tensor:
    scale = torch.where(amax > 0, amax, 1.0) / LARGEST
    return torch.round(x / scale) * scale


def large_channels(x: Tensor, threshold: float) -> Tensor:
    """Return which channels any token reaches the threshold in, as booleans."""
    return (x.abs() >= threshold).flatten(0, -2).any(dim=0)


def apart(rounding: Change, threshold: float) -> Change:
    """Keep large channels as they are; their values widen no grid."""

    def change(x: Tensor) -> Tensor:
        inside = rounding(x.masked_fill(x.abs() >= threshold, 0))
        return torch.where(large_channels(x, threshold), x, inside)

    return change


def clipped(rounding: Change, threshold: float) -> Change:
    """Cut values to the threshold first."""
    return lambda x: rounding(x.clamp(-threshold, threshold))


def removed(rounding: Change, threshold: float) -> Change:
    """Set large channels to zero first."""
    return lambda x: rounding(x.masked_fill(large_channels(x, threshold), 0))


def without_channel(channel: int) -> Change:
    """Set one channel to zero in every token."""

    def change(x: Tensor) -> Tensor:
        x = x.clone()
        x[..., channel] = 0
        return x

    return change


def in_bfloat16(x: Tensor) -> Tensor:
    """Return x as 16 bits keep it."""
    return x.to(torch.bfloat16).to(x.dtype)


def input_treatments(threshold: float) -> dict[str, Change]:
    """Return what is done to the inputs of every linear layer, by name."""
    return {
        "int8_tensor": per_tensor,
        "int8_token": per_token,
        "int8_tensor_apart": apart(per_tensor, threshold),
        "int8_tensor_clipped": clipped(per_tensor, threshold),
        "int8_tensor_removed": removed(per_tensor, threshold),
        "float_clipped": clipped(untouched, threshold),
        "float_removed": removed(untouched, threshold),
    }


# What is done to the residual stream, given its largest channel ("channel"), the one in
# the middle ("middle") and the largest value of any token but the first ("limit").
STREAM_TREATMENTS: dict[str, Callable[[Mapping[str, float]], Change]] = {
    "stream_zeroed": lambda s: without_channel(s["channel"]),
    "stream_clipped": lambda s: clipped(untouched, s["limit"]),
    "stream_control": lambda s: without_channel(s["middle"]),
    "stream_int8_tensor": lambda _: per_tensor,
    "stream_int8_token": lambda _: per_token,
    "stream_int8_apart": lambda s: apart(per_tensor, s["limit"]),
    "stream_16_bits": lambda _: in_bfloat16,
}


def weights_in_int8(model: PreTrainedModel) -> AbstractContextManager[PreTrainedModel]:
    """Give every linear layer 8-bit weights with one step a row, for a `with` block."""
    new = {}
    for name, layer in linear_layers(model).items():
        codes, amax = vectorwise(weight_of(layer).detach())
        new[name] = codes * amax / LARGEST
    return swapped(model, new)


@contextmanager
def with_modules(
    model: PreTrainedModel, modules: Mapping[str, nn.Module]
) -> Iterator[None]:
    """Put other modules in the place of linear layers for a `with` block."""
    old = swap(model, modules)
    try:
        yield
    finally:
        swap(model, old)
