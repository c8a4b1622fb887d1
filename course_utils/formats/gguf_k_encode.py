"""Encoders of two K types: Q4_K and Q6_K. `gguf_k` has the layouts and the decoders.

Both search in each sub-block for the float scale (and minimum) that fit best, then
quantize those scales to 6 or 8 bits, and choose the codes once more with the scales as
they are stored.

    Q4_K   21 steps near (max - min) / 15; for each, codes by rounding, then scale and
           minimum by weighted least squares; weight sqrt(mean(x**2)) + |x|
    Q6_K   19 steps near extreme / -32; for each, codes by rounding, then the scale by
           weighted least squares; weight x**2

The minimum of Q4_K never rises above 0: it is stored as how far below 0 it lies.

Source: the searches of ggml, in the same steps; float32 sums run in another order, so
a few bytes differ. Blocks (n, 256) float32 -> (n, bytes) uint8. Left out: an importance
matrix.
"""

import torch
from torch import Tensor

from course_utils.formats.gguf_fields import (
    gather,
    half,
    half_bytes,
    inverse,
    searchable_extreme,
    signed_extreme,
)

STEPS_Q4_K = tuple(14 + 0.1 * i for i in range(21))  # steps from minimum to maximum
STEPS_Q6_K = tuple(32 + 0.1 * i for i in range(-9, 10))  # steps from 0 to the extreme
TINY = 1e-15  # a sub-block whose largest weight is below counts as zero, as in ggml


def encode_q4_k(blocks: Tensor) -> Tensor:
    """Return blocks as d, dmin, 8 scales and minima of 6 bits, 256 codes of 4 bits."""
    x = blocks.reshape(-1, 8, 32)
    scale, minimum = _fit_scale_and_minimum(x)  # (n, 8, 1), both from 0 on
    (sc, d), (mn, dmin) = _six_bits(scale), _six_bits(minimum)
    stored = half(d)[..., None] * sc  # as a decoder rebuilds them
    below = half(dmin)[..., None] * mn
    q = torch.round((x + below) * inverse(stored)).clamp_(0, 15).to(torch.uint8)
    codes = gather(q.reshape(-1, 256), 4, 32)
    pairs = pack_six_bit_pairs(sc[..., 0], mn[..., 0])
    return torch.cat([d, dmin, pairs, codes], dim=1)


def _fit_scale_and_minimum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the step of each sub-block and how far its minimum lies below 0.

    Shapes: x (n, 8, 32) -> two of (n, 8, 1).
    """
    weight = x.square().mean(dim=2, keepdim=True).sqrt() + x.abs()
    high = x.amax(dim=2, keepdim=True)
    minimum = x.amin(dim=2, keepdim=True).clamp(max=0)
    scale = (high - minimum) / 15
    best = _error(x, _codes(x, minimum, inverse(scale)), (scale, minimum), weight)
    for steps in STEPS_Q4_K:
        # From the best minimum so far, so that a try can improve on an earlier one.
        q = _codes(x, minimum, steps * inverse(high - minimum))
        line = _least_squares(x, q, weight)
        error = _error(x, q, line, weight)
        better = error < best
        scale = torch.where(better, line[0], scale)
        minimum = torch.where(better, line[1], minimum)
        best = torch.where(better, error, best)
    return scale, -minimum


def _codes(x: Tensor, minimum: Tensor, inv_scale: Tensor) -> Tensor:
    """Return the codes of 4 bits on a grid, as float."""
    return torch.round((x - minimum) * inv_scale).clamp_(0, 15)


def _error(x: Tensor, q: Tensor, line: tuple[Tensor, Tensor], weight: Tensor) -> Tensor:
    """Return the weighted squared error of each sub-block."""
    scale, minimum = line
    residual = q * scale + minimum - x
    return (weight * residual.square()).sum(dim=2, keepdim=True)


def _least_squares(x: Tensor, q: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scale and minimum <= 0 with which codes `q` rebuild `x` best.

    NaN where all codes are equal and no line is determined.

    Shapes: x, q, weight (n, 8, 32) -> two of (n, 8, 1).
    """
    wq = weight * q
    w, wx, wq1, wqq, wqx = (
        term.sum(dim=2, keepdim=True)
        for term in (weight, weight * x, wq, wq * q, wq * x)
    )
    determinant = w * wqq - wq1 * wq1
    scale = (w * wqx - wx * wq1) / determinant
    minimum = (wqq * wx - wq1 * wqx) / determinant
    # Above 0 it has no code: then the line through 0 that fits best.
    scale = torch.where(minimum > 0, wqx / wqq, scale)
    return scale, minimum.clamp(max=0)


def _six_bits(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Return 8 numbers >= 0 as codes of 6 bits, and the float16 step they share.

    Shapes: numbers (n, 8, 1) -> (n, 8, 1) uint8, (n, 2) uint8.
    """
    step = numbers.amax(dim=1) / 63  # (n, 1)
    codes = torch.round(numbers * inverse(step)[..., None]).clamp_(0, 63)
    return codes.to(torch.uint8), half_bytes(step)


def pack_six_bit_pairs(scales: Tensor, minima: Tensor) -> Tensor:
    """Return 8 scales and 8 minima of 6 bits in 12 bytes.

    The inverse of `gguf_k.six_bit_pairs`, which has the layout.

    Shapes: two of (n, 8), uint8 -> (n, 12), uint8.
    """
    first = scales[:, :4] | scales[:, 4:] >> 4 << 6
    second = minima[:, :4] | minima[:, 4:] >> 4 << 6
    low = scales[:, 4:] & 15 | (minima[:, 4:] & 15) << 4
    return torch.cat([first, second, low], dim=1)


def encode_q6_k(blocks: Tensor) -> Tensor:
    """Return blocks as 256 codes of 6 bits (low, high), 16 scales of 8 bits, d."""
    x = blocks.reshape(-1, 16, 16)
    scale = _fit_scale(x.reshape(-1, 16)).reshape(-1, 16)
    extreme = signed_extreme(scale)
    extreme = extreme.masked_fill(extreme.abs() < TINY, 0.0)
    d = half_bytes(extreme / -128)
    sc = torch.round(scale * (-128 * inverse(extreme))).clamp_(-128, 127)
    stored = (half(d) * sc)[..., None]
    q = torch.round(x * inverse(stored)).clamp_(-32, 31).add_(32)
    q = q.to(torch.uint8).reshape(-1, 256)
    low, high = gather(q & 15, 4, 64), gather(q >> 4, 2, 32)
    return torch.cat([low, high, sc.to(torch.int8).view(torch.uint8), d], dim=1)


def _fit_scale(x: Tensor) -> Tensor:
    """Return the step of each sub-block, negative where its extreme is positive.

    Shapes: x (n, 16) -> (n, 1).
    """
    inv_extreme = inverse(searchable_extreme(x))
    importance = x.square()
    scale = torch.zeros_like(inv_extreme)
    best = torch.zeros_like(inv_extreme)
    for steps in STEPS_Q6_K:
        q = torch.round(x * (-steps * inv_extreme)).clamp_(-32, 31)
        weighted = importance * q
        xq = (weighted * x).sum(dim=1, keepdim=True)
        qq = (weighted * q).sum(dim=1, keepdim=True)
        # The step xq / qq lowers the weighted squared error by xq**2 / qq.
        gain = torch.where(qq > 0, xq.square() / qq, 0.0)
        scale = torch.where(gain > best, xq / qq, scale)
        best = torch.maximum(best, gain)
    return scale
