"""Three values: every weight becomes -s, 0 or s.

log2(3) = 1.585 bits would do for a weight, if files could split bits.

`quantize` is BitNet's rule. The scale is the mean size of the weights,

    s = mean |W|,   W_hat = s * clamp(round(W / s), -1, 1)                       (1)

so weights below s / 2 become 0. BitNet applies it in every step of training, from the
first one on, to weights that are kept in more bits beside it; the model learns around
the rounding. Here it is applied to weights that were trained without it.

`least_squares` is the best three values that a group can get. If the k largest weights
are kept, the best s is their mean size and the sum of squared errors is

    sum w^2 - (sum of the k largest |w|)^2 / k                                   (2)

so one sort and one running sum find the best k.

Source: ma2024bitnet for (1), li2016ternary for the problem of (2), which that paper
solves approximately. Differs from them in: (1) may have groups.
"""

import torch
from torch import Tensor

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor
from course_utils.methods.statistics import LayerStats


def quantize(
    w: Tensor, stats: LayerStats | None = None, *, group_size: int | None = 0
) -> QTensor:
    """Return `w` in three values by BitNet's rule.

    Args:
        w: The weights.
        stats: Not looked at; here so that all methods are called alike.
        group_size: Weights that share a scale; 0 is the whole matrix, as in BitNet.

    Shapes: w (rows, cols).
    Errors: |w - w_hat| <= max(scale / 2, |w| - scale), up to float32 rounding.
    Raises: ValueError on NaN or infinity, or as `affine.grouped` does.
    """
    del stats
    W = _checked(w, group_size)
    s = W.abs().mean(dim=-1, keepdim=True)  # (1)
    return _rounded(W, s, shape=w.shape, group_size=group_size)


def least_squares(
    w: Tensor, stats: LayerStats | None = None, *, group_size: int | None = 0
) -> QTensor:
    """Return `w` in the three values -s, 0, s of least squared error in each group.

    Args:
        w: The weights.
        stats: Not looked at.
        group_size: Weights that share a scale; 0 is the whole matrix.

    Shapes: w (rows, cols).
    Errors: the sum of squares of a group is at most that of any other s.
    Raises: ValueError as `quantize` does.
    """
    del stats
    W = _checked(w, group_size)
    # float64: sums over a whole matrix are compared with each other.
    total = W.abs().sort(dim=-1, descending=True).values.double().cumsum(dim=-1)
    k = torch.arange(1, W.shape[-1] + 1, device=w.device)
    best = (total**2 / k).argmax(dim=-1, keepdim=True)  # (2)
    s = (total.gather(-1, best) / (best + 1)).float()
    return _rounded(W, s, shape=w.shape, group_size=group_size)


def bits_per_weight(found: QTensor, *, scale_bits: int = 16) -> float:
    """Return the stored bits: five weights a byte, and the scales.

    The last byte of a matrix may be part empty.
    """
    n = found.q.numel()
    return (8 * -(-n // 5) + scale_bits * found.scale.numel()) / n


def pack_trits(q: Tensor) -> Tensor:
    """Return codes -1, 0, 1 as bytes, five a byte: the digits of a number in base 3.

    The first code is the lowest digit; missing ones at the end count as 0.

    Shapes: q (n,) -> (ceil(n / 5),), uint8.
    Raises: ValueError on other codes.
    """
    if q.ndim != 1 or ((q < -1) | (q > 1)).any():
        raise ValueError("Give a row of codes -1, 0 and 1.")
    digits = torch.ones(-(-len(q) // 5) * 5, dtype=torch.int32)
    digits[: len(q)] += q
    powers = 3 ** torch.arange(5, dtype=torch.int32)
    return (digits.view(-1, 5) * powers).sum(dim=1).to(torch.uint8)


def unpack_trits(packed: Tensor, n: int) -> Tensor:
    """Return the first n codes of `pack_trits`.

    Shapes: packed (bytes,) -> (n,), int8.
    Raises: ValueError if there are fewer than n, or a byte is above 242.
    """
    if n > 5 * len(packed) or (packed > 242).any():
        raise ValueError(
            f"{len(packed)} bytes of five digits in base 3 do not hold {n} codes, or "
            "one of them is above 242; give the bytes of `pack_trits`."
        )
    powers = 3 ** torch.arange(5, dtype=torch.int32)
    digits = packed.to(torch.int32)[:, None] // powers % 3
    return (digits.flatten()[:n] - 1).to(torch.int8)


def _checked(w: Tensor, group_size: int | None) -> Tensor:
    """Return the groups of `w` in float32."""
    W = affine.grouped(w, group_size).float()
    if not torch.isfinite(W).all():
        raise ValueError("The weights hold NaN or infinity; no scale covers them.")
    return W


def _rounded(
    W: Tensor, s: Tensor, *, shape: torch.Size, group_size: int | None
) -> QTensor:
    s = torch.where(s > 0, s, torch.ones_like(s))  # a group of zeros
    q = torch.round(W / s).clamp(-1, 1).to(torch.int8).reshape(shape)
    # Symmetric codes of 2 bits are -1, 0 and 1.
    return QTensor(q, s, torch.zeros_like(s), QuantSpec(2, True, group_size))
