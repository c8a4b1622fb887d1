"""Decoders of GGUF's K types: blocks of 256 weights whose scales are quantized too.

A block has sub-blocks of 16 or 32 weights. Each has a scale of a few bits, and the
block has a float16 number that turns those into scales: two levels, as in double
quantization.

    Q2_K   16 x 16   w_hat = d * sc * q - dmin * mn     sc, mn 4 bits,  q 2 bits
    Q3_K   16 x 16   w_hat = d * (sc - 32) * (q - 4)    sc 6 bits,      q 3 bits
    Q4_K   8 x 32    w_hat = d * sc * q - dmin * mn     sc, mn 6 bits,  q 4 bits
    Q5_K   8 x 32    w_hat = d * sc * q - dmin * mn     sc, mn 6 bits,  q 5 bits
    Q6_K   16 x 16   w_hat = d * sc * (q - 32)          sc 8 bits,      q 6 bits

Source: the block structs of ggml. Raw blocks (n, bytes) uint8 -> (n, 256) float32.
The encoders are in `gguf_k_encode`.
"""

import torch
from torch import Tensor

from course_utils.formats.gguf_fields import half, spread


def _scaled(q: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """Return scale * q - offset, one scale and offset a sub-block.

    Shapes: q (n, 256); scale, offset (n, n_sub) -> (n, 256), float32.
    """
    w = scale[..., None] * q.reshape(*scale.shape, -1)
    if offset is not None:
        w = w - offset[..., None]
    return w.reshape(len(q), -1)


def six_bit_pairs(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Return the 8 scales and 8 minima of 6 bits that 12 bytes hold.

    Bytes 0-3 hold scales 0-3, bytes 4-7 minima 0-3. The other 8 numbers have their low
    four bits in bytes 8-11 and their high two bits on top of bytes 0-7.

    Shapes: raw (n, 12), uint8 -> two of (n, 8), uint8.
    """
    first, second, low = raw.split(4, dim=1)
    scales = [first & 63, low & 15 | first >> 2 & 48]
    minima = [second & 63, low >> 4 | second >> 2 & 48]
    return torch.cat(scales, dim=1), torch.cat(minima, dim=1)


def decode_q2_k(raw: Tensor) -> Tensor:
    """Return the weights of Q2_K blocks."""
    pairs, codes, d, dmin = raw.split([16, 64, 2, 2], dim=1)
    return _scaled(
        spread(codes, 2, 32), half(d) * (pairs & 15), half(dmin) * (pairs >> 4)
    )


def decode_q3_k(raw: Tensor) -> Tensor:
    """Return the weights of Q3_K blocks; the third bit is a field of its own."""
    third, codes, scales, d = raw.split([32, 64, 12, 2], dim=1)
    sc = spread(scales[:, :8], 4, 8) | spread(scales[:, 8:], 2, 4) << 4
    q = spread(codes, 2, 32) | spread(third, 1, 32) << 2
    return _scaled(q.float() - 4, half(d) * (sc.float() - 32))


def decode_q4_k(raw: Tensor) -> Tensor:
    """Return the weights of Q4_K blocks."""
    d, dmin, scales, codes = raw.split([2, 2, 12, 128], dim=1)
    sc, mn = six_bit_pairs(scales)
    return _scaled(spread(codes, 4, 32), half(d) * sc, half(dmin) * mn)


def decode_q5_k(raw: Tensor) -> Tensor:
    """Return the weights of Q5_K blocks."""
    d, dmin, scales, fifth, codes = raw.split([2, 2, 12, 32, 128], dim=1)
    sc, mn = six_bit_pairs(scales)
    q = spread(codes, 4, 32) | spread(fifth, 1, 32) << 4
    return _scaled(q, half(d) * sc, half(dmin) * mn)


def decode_q6_k(raw: Tensor) -> Tensor:
    """Return the weights of Q6_K blocks."""
    low, high, scales, d = raw.split([128, 64, 16, 2], dim=1)
    q = spread(low, 4, 64) | spread(high, 2, 32) << 4
    return _scaled(q.float() - 32, half(d) * scales.contiguous().view(torch.int8))
