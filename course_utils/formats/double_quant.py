"""Double quantization: the absmax of the blocks, in 8 bits instead of 32.

The absmax values are all positive and close together, so their mean is taken off
first. What is left is scaled in blocks of 256 by its own largest magnitude and stored
in an 8-bit dynamic map, whose values are dense near 0 and sparse near 1:

    absmax = map[code] * scale + offset

The map holds 0, 1 and, for i = 0 to 6, the middles of 2**i even slices of [0.1, 1]
times 10**(i - 6), with both signs.

bitsandbytes does not choose the nearest value of the map. It first rounds to the
nearest of 65,536 even steps over [-1, 1], then takes the value nearest to that step.
Close to a bound between two values, and near 0, where the map is finer than the steps,
the code can be another one. This is its rule on a processor.

Source: dettmers2023qlora, section 3; the map, dettmers2022optimizers, section 2.2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 256  # absmax values per scale
STEPS = 65_536


@dataclass(frozen=True)
class NestedAbsmax:
    """The absmax of the blocks of a tensor, quantized.

    Attributes:
        codes: Places in the dynamic map, uint8 (n_blocks,).
        scale: Largest magnitude of each block of 256 after the mean was taken off,
            float32 (ceil(n_blocks / 256),).
        offset: The mean of the absmax values, float32 ().
    """

    codes: Tensor
    scale: Tensor
    offset: Tensor


def dynamic_map() -> Tensor:
    """Return the 256 values of the map, lowest first; float32."""
    values = [torch.tensor([0.0, 1.0])]
    for i in range(7):
        bounds = torch.linspace(0.1, 1, 2**i + 1)
        middles = 10.0 ** (i - 6) * ((bounds[:-1] + bounds[1:]) / 2)
        values += [middles, -middles]
    return torch.cat(values).sort().values


def _code_of_step() -> Tensor:
    """Return the code of each of the even steps over [-1, 1], int64 (65536,)."""
    values = dynamic_map()
    bounds = (values[:-1] + values[1:]) / 2
    steps = torch.arange(STEPS) / ((STEPS - 1) / 2) - 1
    return torch.bucketize(steps, bounds)


def nearest_codes(x: Tensor) -> Tensor:
    """Return the codes of numbers from -1 to 1 by the rule of bitsandbytes.

    Numbers outside go to the ends.

    Shapes: x (...), float32 -> (...), uint8.
    Raises: ValueError on NaN.
    """
    if torch.isnan(x).any():
        raise ValueError("The dynamic map has no code for NaN; remove NaN first.")
    step = torch.floor((x.clamp(-1, 1) + 1) * ((STEPS - 1) / 2) + 0.5)
    return _code_of_step().to(x.device)[step.to(torch.int64)].to(torch.uint8)


def quantize_absmax(absmax: Tensor) -> NestedAbsmax:
    """Return the absmax values in 8 bits, with a scale per 256 of them.

    Shapes: absmax (n_blocks,), float32.
    Errors: at most half the largest gap of the map, and half a step, times the scale,
        up to float32 rounding, where the scale is 0 or at least 1e-38.
    Raises: ValueError on NaN or infinity, on values whose mean or distance from it is
        too large for float32, or where there are no values.
    """
    if absmax.ndim != 1 or not absmax.numel():
        raise ValueError(f"absmax has one axis and a value, got {tuple(absmax.shape)}.")
    absmax = absmax.float()
    if not torch.isfinite(absmax).all():
        raise ValueError(
            "absmax holds NaN or infinity in float32; quantize finite weights."
        )
    offset = absmax.mean()
    padding = -len(absmax) % BLOCK
    blocks = torch.nn.functional.pad(absmax - offset, (0, padding)).reshape(-1, BLOCK)
    scale = blocks.abs().amax(dim=-1, keepdim=True)
    # A mean that is infinite makes every distance from it so.
    if not torch.isfinite(scale).all():
        raise ValueError(
            "The absmax values are too large for a mean in float32; divide the weights."
        )
    codes = nearest_codes((blocks * (1 / scale)).nan_to_num(nan=0.0))
    codes = torch.where(scale > 0, codes, 0)  # what bitsandbytes stores for all equal
    return NestedAbsmax(codes.reshape(-1)[: len(absmax)], scale.reshape(-1), offset)


def dequantize_absmax(nested: NestedAbsmax) -> Tensor:
    """Return the absmax values that the codes stand for.

    Shapes: (n_blocks,), float32.
    """
    scale = nested.scale.repeat_interleave(BLOCK)[: len(nested.codes)]
    values = dynamic_map().to(scale.device)[nested.codes.to(torch.int64)]
    return values * scale + nested.offset
