"""GGUF blocks of 256 weights with three values each: TQ1_0 and TQ2_0.

    w_hat = d * (t - 1),   t = 0, 1 or 2,   d the largest magnitude of the block

TQ2_0 gives a value 2 bits. TQ1_0 puts five into a byte, since 3**5 = 243 fits in 256.

The five digits are not stored as the number n they form but as n * 256 / 243, rounded
up. Read as a fraction of 256, the byte is the number 0.t0 t1 t2 t3 t4 in base 3: times
3, the part before the point is a digit and the low byte is the rest. Multiplication
replaces division, which vector units lack.

Made for models trained with three values. Other weights lose nearly everything: all
below half of the block's largest become 0.

Source: the block structs of ggml. Blocks (n, 256) float32 <-> (n, bytes) uint8.
"""

import torch
from torch import Tensor

from course_utils.formats.gguf_fields import (
    away_from_zero,
    gather,
    half,
    half_bytes,
    inverse,
    magnitude,
    spread,
)

# Digits per byte, bytes in the run: 5 * 32 + 5 * 16 + 4 * 4 = 256 weights.
RUNS = ((5, 32), (5, 16), (4, 4))


def _digits(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Return d and t of each weight."""
    d = magnitude(blocks)
    t = away_from_zero(blocks * inverse(d)).add_(1)
    return d, t.view(torch.uint8)


def encode_tq2_0(blocks: Tensor) -> Tensor:
    """Return blocks as 256 codes of 2 bits, d."""
    d, t = _digits(blocks)
    return torch.cat([gather(t, 2, 32), half_bytes(d)], dim=1)


def decode_tq2_0(raw: Tensor) -> Tensor:
    """Return the weights of TQ2_0 blocks."""
    return half(raw[:, 64:]) * (spread(raw[:, :64], 2, 32).float() - 1)


def encode_tq1_0(blocks: Tensor) -> Tensor:
    """Return blocks as 52 bytes of up to five digits, d."""
    d, t = _digits(blocks)
    parts = []
    for (n, run), piece in zip(RUNS, t.split([n * r for n, r in RUNS], 1), strict=True):
        digits = piece.reshape(len(t), n, run)
        number = digits[:, 0].clone()
        for i in range(1, 5):
            # A byte of four digits has a fifth that is 0.
            number = number * 3 + (digits[:, i] if i < n else 0)
        parts.append(number)
    number = torch.cat(parts, dim=1).to(torch.int32)
    fraction = (number * 256 + 242) // 243
    return torch.cat([fraction.to(torch.uint8), half_bytes(d)], dim=1)


def decode_tq1_0(raw: Tensor) -> Tensor:
    """Return the weights of TQ1_0 blocks."""
    parts = []
    for (n, run), piece in zip(RUNS, raw[:, :52].split([32, 16, 4], 1), strict=True):
        powers = torch.tensor([3**i for i in range(n)], dtype=torch.uint8)[:, None]
        rest = piece.reshape(-1, 1, run) * powers  # the low byte only: uint8 wraps
        parts.append((rest.to(torch.int16) * 3 >> 8).reshape(len(raw), -1))
    return half(raw[:, 52:]) * (torch.cat(parts, dim=1).float() - 1)
