"""GGUF blocks of 32 weights with one scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.

    Q4_0, Q5_0   w_hat = d * (q - 8)   or  d * (q - 16)
    Q4_1, Q5_1   w_hat = d * q + m
    Q8_0         w_hat = d * q,  q from -127 to 127

`d` and `m` are float16. The "_0" types choose d so that the weight of largest
magnitude, whatever its sign, becomes code 0: one side of the grid is used to its end,
the other lacks a step. The "_1" types put the smallest weight at code 0 and the largest
at the last; `m` is a float, not a code, so 0.0 need not be on the grid.

A fifth bit has a field of its own, 32 bits long; the other four share bytes.

Codes are chosen with the float32 scale and rebuilt with the float16 one, as ggml does.

Source: the block structs of ggml. An encoder takes blocks (n, 32) float32 and returns
(n, bytes) uint8; a decoder is its inverse.
"""

import torch
from torch import Tensor

from course_utils.formats.gguf_fields import (
    away_from_zero,
    gather,
    gather_bits,
    half,
    half_bytes,
    inverse,
    magnitude,
    signed_extreme,
    spread,
)

RUN = 16


def _codes_around_zero(blocks: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return d and codes of a "_0" type; ties go up."""
    middle = 2 ** (bits - 1)
    d = signed_extreme(blocks) / -middle
    steps = (blocks * inverse(d)).add_(middle + 0.5)
    # The conversion cuts off the fraction; an extreme of the other sign ends at qmax.
    return d, steps.clamp_(max=2**bits - 1).to(torch.int8).view(torch.uint8)


def _codes_from_minimum(blocks: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return d, m and codes of a "_1" type; ties go up."""
    qmax = 2**bits - 1
    m = blocks.amin(dim=1, keepdim=True)
    d = (blocks.amax(dim=1, keepdim=True) - m) / qmax
    steps = (blocks - m).mul_(inverse(d)).add_(0.5)
    return d, m, steps.clamp_(max=qmax).to(torch.int8).view(torch.uint8)


def encode_q4_0(blocks: Tensor) -> Tensor:
    """Return blocks as d, 32 codes of 4 bits."""
    d, q = _codes_around_zero(blocks, 4)
    return torch.cat([half_bytes(d), gather(q, 4, RUN)], dim=1)


def decode_q4_0(raw: Tensor) -> Tensor:
    """Return the weights of Q4_0 blocks."""
    return half(raw[:, :2]) * (spread(raw[:, 2:], 4, RUN).float() - 8)


def encode_q4_1(blocks: Tensor) -> Tensor:
    """Return blocks as d, m, 32 codes of 4 bits."""
    d, m, q = _codes_from_minimum(blocks, 4)
    return torch.cat([half_bytes(d), half_bytes(m), gather(q, 4, RUN)], dim=1)


def decode_q4_1(raw: Tensor) -> Tensor:
    """Return the weights of Q4_1 blocks."""
    d, m = half(raw[:, :2]), half(raw[:, 2:4])
    return d * spread(raw[:, 4:], 4, RUN) + m


def encode_q5_0(blocks: Tensor) -> Tensor:
    """Return blocks as d, 32 fifth bits, 32 times the lower 4 bits."""
    d, q = _codes_around_zero(blocks, 5)
    low, fifth = gather(q & 15, 4, RUN), gather_bits(q >> 4)
    return torch.cat([half_bytes(d), fifth, low], dim=1)


def decode_q5_0(raw: Tensor) -> Tensor:
    """Return the weights of Q5_0 blocks."""
    q = spread(raw[:, 6:], 4, RUN) | spread(raw[:, 2:6], 1, 1) << 4
    return half(raw[:, :2]) * (q.float() - 16)


def encode_q5_1(blocks: Tensor) -> Tensor:
    """Return blocks as d, m, 32 fifth bits, 32 times the lower 4 bits."""
    d, m, q = _codes_from_minimum(blocks, 5)
    low, fifth = gather(q & 15, 4, RUN), gather_bits(q >> 4)
    return torch.cat([half_bytes(d), half_bytes(m), fifth, low], dim=1)


def decode_q5_1(raw: Tensor) -> Tensor:
    """Return the weights of Q5_1 blocks."""
    d, m = half(raw[:, :2]), half(raw[:, 2:4])
    q = spread(raw[:, 8:], 4, RUN) | spread(raw[:, 4:8], 1, 1) << 4
    return d * q + m


def encode_q8_0(blocks: Tensor) -> Tensor:
    """Return blocks as d, 32 signed codes of 8 bits; ties go away from zero."""
    d = magnitude(blocks) / 127
    q = away_from_zero(blocks * inverse(d))
    return torch.cat([half_bytes(d), q.view(torch.uint8)], dim=1)


def decode_q8_0(raw: Tensor) -> Tensor:
    """Return the weights of Q8_0 blocks."""
    return half(raw[:, :2]) * raw[:, 2:].contiguous().view(torch.int8)
