"""The fields that GGUF blocks are made of: float16 numbers, and codes of a few bits.

Codes share bytes in one pattern. A run of `run` bytes holds 8 / bits codes a byte: the
lowest bits of all bytes in the run come first, then the next bits of all bytes:

    bits 4, run 16:   byte i = code i | code (i + 16) << 4
    bits 1, run 1:    byte i = code 8i | code (8i + 1) << 1 | ... | code (8i + 7) << 7

With `run` as long as a vector register, one mask and one shift make a register full of
neighbouring codes; that is why codes that stand side by side do not share a byte.
"""

import torch
from torch import Tensor

LARGEST = 2.0**60  # sums of squares of smaller weights stay finite in float32
NO_SCALE = (
    "The weights hold NaN or infinity, or a block needs a scale beyond float16's "
    "65,504; repair or divide the weights first."
)


def half(raw: Tensor) -> Tensor:
    """Return the float16 number in two bytes.

    Shapes: raw (n, 2), uint8 -> (n, 1), float32.
    """
    return raw.contiguous().view(torch.float16).float()


def half_bytes(x: Tensor) -> Tensor:
    """Return numbers as float16, in two bytes each.

    Shapes: x (n, 1) -> (n, 2), uint8.
    Raises: ValueError if one is NaN or too large for float16.
    """
    stored = x.to(torch.float16)
    if not torch.isfinite(stored).all():
        raise ValueError(NO_SCALE)
    return stored.view(torch.uint8)


def spread(raw: Tensor, bits: int, run: int) -> Tensor:
    """Return the codes of 1, 2 or 4 bits in a row of bytes.

    Shapes: raw (n, k), uint8 -> (n, k * 8 // bits), uint8.
    """
    runs = raw.reshape(len(raw), -1, 1, run)
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8)[:, None]
    return (runs >> shifts & (2**bits - 1)).reshape(len(raw), -1)


def gather(codes: Tensor, bits: int, run: int) -> Tensor:
    """Return codes of 1, 2 or 4 bits as bytes: the inverse of `spread`.

    Shapes: codes (n, m), uint8 below 2**bits -> (n, m * bits // 8), uint8.
    Raises: RuntimeError if `run` is not a multiple of 8.
    """
    # Eight bytes at a time: no code leaves its byte, so none reaches a neighbour.
    words = codes.view(torch.int64).view(len(codes), -1, 8 // bits, run // 8)
    packed = words[:, :, 0]
    for i in range(1, 8 // bits):
        packed = packed | words[:, :, i] << bits * i
    return packed.reshape(len(codes), -1).view(torch.uint8)


def gather_bits(codes: Tensor) -> Tensor:
    """Return eight neighbouring codes of 1 bit as a byte: `spread` with run 1 undone.

    Shapes: codes (n, m), uint8 of 0 and 1 -> (n, m // 8), uint8.
    """
    # A multiplication adds shifted copies of a word. These put the bit of byte i at
    # place 56 + i, and all else lower or out of the word.
    shifts = sum(1 << 56 - 7 * i for i in range(8))
    words = codes.view(torch.int64) * shifts
    return (words >> 56 & 255).to(torch.uint8)


def inverse(scale: Tensor) -> Tensor:
    """Return 1 / scale, and 0 where the scale is 0 or its inverse overflows.

    Below 2**-128 the inverse of a float32 number is infinite; float16 stores such a
    scale as 0, so any code rebuilds 0.
    """
    inv_scale = 1.0 / scale
    return inv_scale.masked_fill_(torch.isinf(inv_scale), 0.0)


def away_from_zero(x: Tensor) -> Tensor:
    """Return `x` rounded to nearest, ties away from zero, as C's roundf does.

    Twice the fraction is exact, where adding 0.5 would round 0.49999997 up.

    Shapes: x (...) of numbers from -128 to 127 -> (...), int8.
    """
    # Conversion to an integer cuts off the fraction.
    return x.to(torch.int8) + x.frac().mul_(2).to(torch.int8)


def signed_extreme(blocks: Tensor) -> Tensor:
    """Return the value of largest magnitude with its sign, the first of equals.

    Shapes: blocks (n, size) -> (n, 1).
    """
    high = blocks.amax(dim=1, keepdim=True)
    low = blocks.amin(dim=1, keepdim=True)
    extreme = torch.where(high > -low, high, low)
    ties = (high == -low)[:, 0]
    if ties.any():
        equal = blocks[ties]
        extreme[ties] = equal.gather(1, equal.abs().argmax(dim=1, keepdim=True))
    return extreme


def magnitude(blocks: Tensor) -> Tensor:
    """Return the largest magnitude of each block.

    Shapes: blocks (n, size) -> (n, 1).
    """
    high, low = blocks.amax(dim=1, keepdim=True), blocks.amin(dim=1, keepdim=True)
    return torch.maximum(high, -low).abs()  # of -0 too


def searchable_extreme(blocks: Tensor) -> Tensor:
    """Return `signed_extreme`, for a search by sums of squares.

    Shapes: blocks (n, size) -> (n, 1).
    Raises: ValueError on NaN, infinity and numbers far beyond float16.
    """
    extreme = signed_extreme(blocks)
    if not (extreme.abs() < LARGEST).all():
        raise ValueError(NO_SCALE)
    return extreme
