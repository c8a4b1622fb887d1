"""Packing: codes of a few bits laid one after the other in bytes.

Two orders. `pack` makes a little-endian stream of any width from 1 to 8: code i takes
the bits from i * bits on, the lowest bit of a byte first. Eight codes fill `bits`
bytes, so a code may lie across two bytes. `pack_nibbles` puts two codes of 4 bits in a
byte, the first in the high half, as bitsandbytes does.
"""

import torch
from torch import Tensor

from course_utils.formats.codes import check_codes


def _check_width(bits: int) -> None:
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must be 1 to 8, got {bits}.")


def _shifts(width: int, count: int, like: Tensor) -> Tensor:
    """Return 0, width, 2 * width, ...: where each part of a word begins."""
    return width * torch.arange(count, device=like.device)


def pack(codes: Tensor, bits: int) -> Tensor:
    """Return the codes as a stream of bytes, unused bits 0.

    Shapes: codes (...) of integers from 0 to 2**bits - 1 -> (ceil(n * bits / 8),),
        uint8.
    Raises: ValueError if bits is not 1 to 8 or a code needs more bits.
    """
    _check_width(bits)
    flat = check_codes(codes, bits, f"{bits} bits").reshape(-1)
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % 8)).reshape(-1, 8)
    # The codes do not overlap, so their sum is their union: one word of 8 * bits bits.
    words = (padded << _shifts(bits, 8, flat)).sum(dim=1, keepdim=True)
    stream = (words >> _shifts(8, bits, flat) & 0xFF).to(torch.uint8).reshape(-1)
    return stream[: -(-len(flat) * bits // 8)]


def unpack(packed: Tensor, bits: int, n: int) -> Tensor:
    """Return the first `n` codes of a stream: the inverse of `pack`.

    Shapes: packed (n_bytes,), uint8 -> (n,), int64.
    Raises: ValueError if bits is not 1 to 8 or there are fewer than n codes.
    """
    _check_width(bits)
    _check_count(packed, n, 8 * packed.numel() // bits)
    stream = packed.reshape(-1).to(torch.int64)
    padded = torch.nn.functional.pad(stream, (0, -len(stream) % bits)).reshape(-1, bits)
    words = (padded << _shifts(8, bits, stream)).sum(dim=1, keepdim=True)
    return (words >> _shifts(bits, 8, stream) & (2**bits - 1)).reshape(-1)[:n]


def pack_nibbles(codes: Tensor, *, fill: int = 0) -> Tensor:
    """Return pairs of 4-bit codes as bytes, the first code in the high half.

    An odd number of codes is made even by `fill`.

    Shapes: codes (...) of integers from 0 to 15 -> (ceil(n / 2),), uint8.
    Raises: ValueError if a code or `fill` is not from 0 to 15.
    """
    if fill not in range(16):
        raise ValueError(f"fill must be a code from 0 to 15, got {fill}.")
    flat = codes.reshape(-1)
    if flat.dtype != torch.uint8 or (flat.numel() and flat.max() > 15):
        flat = check_codes(flat, 4, "4 bits").to(torch.uint8)
    if flat.numel() % 2:
        flat = torch.nn.functional.pad(flat, (0, 1), value=fill)
    return flat[::2] << 4 | flat[1::2]


def unpack_nibbles(packed: Tensor, n: int) -> Tensor:
    """Return the first `n` codes of `pack_nibbles`.

    Shapes: packed (n_bytes,), uint8 -> (n,), uint8.
    Raises: ValueError if there are fewer than n codes.
    """
    _check_count(packed, n, 2 * packed.numel())
    flat = packed.reshape(-1)
    return torch.stack([flat >> 4, flat & 0xF], dim=1).reshape(-1)[:n]


def _check_count(packed: Tensor, n: int, held: int) -> None:
    """Refuse anything but bytes that hold at least n codes."""
    if packed.dtype != torch.uint8:
        raise ValueError(f"Packed codes are bytes (uint8), got {packed.dtype}.")
    if not 0 <= n <= held:
        raise ValueError(f"{packed.numel()} bytes hold {held} codes, not {n}.")
