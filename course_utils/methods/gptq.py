"""GPTQ: round one column after the other, and let the rest absorb the error.

The layer's output on the calibration tokens should change as little as possible:

    minimise |W X - Q X|^2,   H = 2 X X^T                                      (1)

When column j is rounded, every column k that is still free moves by

    - (w_j - q_j) / [H^-1]_jj * [H^-1]_jk                                      (2)

which undoes as much of the error as they can; H^-1 is the inverse for the columns that
are still free. All rows share H. The rows of H^-1 that the steps need, one after the
other, are those of the upper Cholesky factor of the whole H^-1, up to a factor that
cancels in (2). So it is computed once. Columns beyond the current `lazy_block` get
their updates together, as one matrix product, when the block is done.

Source: frantar2022gptq, algorithm 1. Added, as its authors' program has them: groups,
whose scale is taken from the updated weights when their first column is reached, and
act-order, which rounds the columns with the largest diagonal of H first. Differs from
that program in: a group inside a block sees the updates of this block too; columns
that were always 0 keep their weights, rounded to nearest.

Left out: a search for the range; weights on a GPU faster than torch makes them.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor, code_dtype
from course_utils.methods.statistics import LayerStats


def quantize(  # noqa: PLR0913 -- the paper's options, each by its name
    w: Tensor,
    stats: LayerStats,
    *,
    spec: QuantSpec,
    percdamp: float = 0.01,
    act_order: bool = False,
    lazy_block: int = 128,
) -> QTensor:
    """Return `w` quantized so that its outputs on the calibration tokens change little.

    Args:
        w: The weights.
        stats: Of the inputs that these weights meet.
        spec: Of the grid.
        percdamp: Part of the mean diagonal of H that is added to its diagonal.
        act_order: Round columns with large inputs first; groups need `group_of`.
        lazy_block: Columns whose updates are not put off; a matter of speed.

    Shapes: w (rows, cols), stats of cols inputs.
    Raises: ValueError if H is singular after damping, on other shapes, or as
        `affine.choose_qparams` does.
    Source: frantar2022gptq, algorithm 1.
    """
    rows, cols = checked(w, stats, spec=spec, lazy_block=lazy_block)
    H = 2 * stats.second_moment  # (1), with the mean instead of the sum
    order = column_order(H, act_order=act_order)
    hinv_chol = hinv_cholesky(H[order][:, order], percdamp=percdamp)
    W = w.detach().float().T[order].contiguous()  # a column of the paper is a row here
    Q, grids, size = torch.empty_like(W), [], spec.group_size or cols
    d = hinv_chol.diagonal().tolist()
    for i, end in blocks(cols, size, lazy_block):
        E = W.new_empty(end - i, rows)
        for j in range(i, end):
            if j % size == 0:
                grids.append(group_grid(W[j : j + size], spec=spec))
                scale, zero_point = (x.flatten() for x in grids[-1])
            steps = torch.round(W[j] / scale) + zero_point
            Q[j] = steps.clamp_(spec.qmin, spec.qmax)
            E[j - i] = (W[j] - (Q[j] - zero_point) * scale) / d[j]  # (2)
            W[j + 1 : end].addr_(hinv_chol[j, j + 1 : end], E[j - i], alpha=-1)
        W[end:].addmm_(hinv_chol[i:end, end:].T, E, alpha=-1)
    back = torch.argsort(order)
    q = Q[back].T.contiguous().to(code_dtype(spec))
    scale, zero_point = (torch.cat(parts, dim=1) for parts in zip(*grids, strict=True))
    in_order = not act_order or size == cols
    group_of = None if in_order else (back // size).to(torch.int32)
    return QTensor(q, scale, zero_point, spec, group_of)


def checked(
    w: Tensor, stats: LayerStats, *, spec: QuantSpec, lazy_block: int
) -> torch.Size:
    """Return the shape of `w`.

    Raises: ValueError if something does not fit or is not finite.
    """
    affine.grouped(w, spec.group_size)  # refuses shapes and group sizes
    if not isinstance(stats, LayerStats):
        raise ValueError(
            "GPTQ needs the statistics of the layer's inputs; collect them with "
            "`Statistics` or use round-to-nearest."
        )
    if len(stats.second_moment) != w.shape[1]:
        raise ValueError(
            f"The weights have {w.shape[1]} columns and the statistics "
            f"{len(stats.second_moment)}; they must be of the same layer."
        )
    if not torch.isfinite(w).all():
        raise ValueError("The weights hold NaN or infinity; no scale covers them.")
    if lazy_block < 1:
        raise ValueError(f"lazy_block must be at least 1 column, got {lazy_block}.")
    return w.shape


def column_order(H: Tensor, *, act_order: bool) -> Tensor:
    """Return in which order columns are rounded; equal ones keep their order.

    Shapes: H (cols, cols) -> (cols,), int64.
    """
    if not act_order:
        return torch.arange(len(H), device=H.device)
    return torch.argsort(H.diagonal(), descending=True, stable=True)


def hinv_cholesky(H: Tensor, *, percdamp: float = 0.01) -> Tensor:
    """Return the upper triangular U with H^-1 = U^T U, after damping H.

    Damping adds percdamp * mean(diag H) to the diagonal. Without it, H is singular
    when there are fewer tokens than columns or an input is always 0.

    Shapes: H (cols, cols) -> (cols, cols).
    Raises: ValueError if percdamp is below 0 or H stays singular.
    """
    if not percdamp >= 0:
        raise ValueError(f"percdamp must be 0 or more, got {percdamp}.")
    damped = H.clone()
    damped.diagonal().add_(percdamp * H.diagonal().mean())
    lower, failed = torch.linalg.cholesky_ex(damped)
    # A pivot that is this small beside its diagonal entry is made of rounding errors:
    # those of a sum of n products grow like sqrt(n) * 2**-24.
    resolution = len(H) ** 0.5 * 2**-24 * H.diagonal()
    if failed or not (lower.diagonal().square() > resolution).all():
        raise ValueError(
            f"The Hessian of these {len(H)} inputs is singular: the calibration tokens "
            f"do not tell them apart; raise percdamp (it is {percdamp}) or give more "
            "text."
        )
    return torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)


def blocks(cols: int, size: int, lazy_block: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each lazy block.

    No group starts inside a block and ends outside: its scale would be taken from
    columns that lack the updates of the block.
    """
    i = 0
    while i < cols:
        end = min(i + lazy_block, cols)
        start = end - end % size  # of the group that would be cut at `end`
        end = start if i < start else end
        yield i, end
        i = end


def group_grid(group: Tensor, *, spec: QuantSpec) -> tuple[Tensor, Tensor]:
    """Return scale and zero point of one group, from its weights as they are now.

    Shapes: group (size, rows) -> (rows, 1, 1), or (1, 1, 1) for one scale a tensor.
    """
    whole = replace(spec, group_size=0 if spec.group_size == 0 else None)
    return affine.choose_qparams(group.T, spec=whole)
