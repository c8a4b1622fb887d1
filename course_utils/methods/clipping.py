"""Clipping: a range smaller than the data's own, where that lowers the error.

A group of weights has a few large ones. A range that reaches them makes the step
wide for all others; a range that does not reach them moves them to its end. The error
of a group therefore has two parts,

    sum_j h_j |w_j - w_hat_j|^p = rounding (inside the range) + clipping (outside),

and as the range shrinks the first falls and the second rises. The search tries

    scale(r) = r * scale(1),  zero_point(r) = zero_point(1)                    (1)

for each ratio r and keeps the one of least error                              (2)
in each group. The zero point stays, because both ends of the range shrink by the same
ratio and the zero point depends on their quotient alone. r = 1 is round-to-nearest.

With h_j = 1 the error is that of the weights. With h_j the mean square of input j it
is that of the layer's output, as far as inputs are uncorrelated:

    E (sum_j (w_j - w_hat_j) x_j)^2 = sum_j (w_j - w_hat_j)^2 E x_j^2
                                      + products of different inputs (left out).

p = 2 is the mean squared error; the MSE observer of llm-compressor takes p = 2.4.

Left out: ends that shrink by different ratios, and the products of inputs, which GPTQ
keeps.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor, code_dtype
from course_utils.methods.statistics import LayerStats

RATIOS = tuple(1 - i / 40 for i in range(37))  # 1 down to 0.1


def quantize(
    w: Tensor,
    stats: LayerStats | None = None,
    *,
    spec: QuantSpec,
    ratios: Sequence[float] = RATIOS,
    power: float = 2.0,
) -> QTensor:
    """Return `w` rounded to the clipped grids of least error.

    Args:
        w: The weight.
        stats: Of the layer's inputs; None weighs every column alike.
        spec: Bits, symmetry and groups.
        ratios: Of the range, tried in this order; the first of equals is kept.
        power: Of the error of one weight.

    Shapes: w (rows, cols).
    Errors: summed over a group, never more than at the first ratio.
    Raises: ValueError as `search` does, or if `stats` are of other inputs.
    """
    h = None if stats is None else stats.second_moment.diagonal()
    scale, zero_point = search(w, h, spec=spec, ratios=ratios, power=power)
    q = affine.quantize(w, scale, zero_point, spec=spec)
    return QTensor(q.to(code_dtype(spec)), scale, zero_point, spec)


def search(
    w: Tensor,
    h: Tensor | None = None,
    *,
    spec: QuantSpec,
    ratios: Sequence[float] = RATIOS,
    power: float = 2.0,
) -> tuple[Tensor, Tensor]:
    """Return the scale and zero point of least error in each group of `w`.

    Args:
        w: The weight.
        h: What an error in a column counts, or None for 1.
        spec: Bits, symmetry and groups.
        ratios: Of the range, tried in this order; the first of equals is kept.
        power: Of the error of one weight.

    Shapes: w (rows, cols), h (cols,); scale, zero_point (rows, n_groups, 1).
    Raises: ValueError on ratios that do not shrink a range, on `h` of another length,
        negative or not finite, or as `affine.choose_qparams` does.
    Source: lin2023awq applies such a search to the output error; here it is the error
        of the weights, weighted by column.
    """
    _check(w, h, ratios, power)
    whole, zero_point = affine.choose_qparams(w, spec=spec)
    scale, least = whole, torch.full_like(whole, torch.inf)
    for ratio in ratios:
        tried = ratio * whole  # (1)
        q = affine.quantize(w, tried, zero_point, spec=spec)
        error = (w - affine.dequantize(q, tried, zero_point, spec=spec)).abs() ** power
        error = error if h is None else error * h
        loss = affine.grouped(error, spec.group_size).sum(dim=-1, keepdim=True)  # (2)
        better = loss < least
        scale = torch.where(better, tried, scale)
        least = torch.where(better, loss, least)
    return scale, zero_point


def _check(w: Tensor, h: Tensor | None, ratios: Sequence[float], power: float) -> None:
    """Refuse what the search cannot use; the weight is checked by `affine`."""
    if not ratios or not all(0 < ratio <= 1 for ratio in ratios):
        raise ValueError(
            f"ratios must be numbers above 0 and at most 1, got {list(ratios)}."
        )
    if not power > 0:
        raise ValueError(f"power must be above 0, got {power}; 2 is the squared error.")
    if h is None:
        return
    if h.shape != w.shape[1:]:
        raise ValueError(
            f"The statistics are of {tuple(h.shape)} inputs and the weight has shape "
            f"{tuple(w.shape)}; collect them on this layer."
        )
    if not (torch.isfinite(h).all() and (h >= 0).all()):
        raise ValueError(
            "The statistics hold NaN, infinity or a negative mean square; collect them "
            "from finite inputs."
        )
