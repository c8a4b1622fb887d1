"""HQQ: a zero point chosen from the weights alone, by half-quadratic splitting.

Round to nearest takes scale and zero point from the two ends of a group. HQQ keeps the
scale and moves the zero point z, a float here, so that the errors of a group have a
small norm that forgives large errors (0 < p <= 1):

    argmin_z  sum |W - W_r|^p,   W_q = round(W / s + z),   W_r = s (W_q - z)

The rounding has no useful gradient, so a second variable W_e stands for the error and
a penalty beta / 2 |W_e - (W - W_r)|^2 holds the two together. Two steps take turns:

    W_e = shrink(W - W_r, beta)              sub-problem 1, element by element
    z   = mean over the group of W_q - (W - W_e) / s          sub-problem 2
    beta = kappa * beta

Where W_e is 0 everywhere, the second step is least squares: the norm has no say. The
threshold below which W_e is 0 is beta**(-1 / (2 - p)) in units of the weights, so the
same beta does different things to weights of another size. `in_steps` measures
errors in steps of the grid, which makes the result independent of the weights' size.

Source: badri2023hqq, which is without equation numbers. Differs from it in: of all z
on the way each group keeps that with the smallest mean |W - W_r| (the paper stops all
groups when their common mean rises); groups whose weights are nearly equal keep their
own scale; `in_steps` is ours.

Left out: moving the scale, grouping along columns, and storing s and z in 8 bits.
"""

import torch
from torch import Tensor

from course_utils.formats.affine import QuantSpec, grouped
from course_utils.formats.qtensor import QTensor, code_dtype
from course_utils.methods.statistics import LayerStats

CACHED = 2**15  # weights worked on at once


def shrink(x: Tensor, beta: float, *, p: float = 0.7) -> Tensor:
    """Return x moved towards 0 by |x|^(p - 1) / beta, and 0 where that passes it.

    Small values become 0 and large ones stay nearly as they are: the answer, to first
    order, of argmin_e |e|^p / p + beta / 2 (e - x)^2. For p = 1 it is exact.

    Shapes: x (...) -> (...).
    Units: those of x.
    Errors: |shrink(x)| <= |x|.
    Raises: ValueError if beta is not positive or p not between 0 and 1.
    Source: badri2023hqq, sub-problem 1. Differs from it in: nothing.
    """
    if not (beta > 0 and 0 < p <= 1):
        raise ValueError(
            f"Give a positive beta and a p above 0, at most 1; got {beta} and {p}."
        )
    size = x.abs()
    if x.numel() and size.amax() <= threshold(beta, p=p):
        return torch.zeros_like(x)  # the same result, without as many powers
    return x.sign() * (size - size.pow(p - 1) / beta).clamp(min=0)


def half_quadratic(  # noqa: PLR0913 -- the paper's options, each by its name
    W: Tensor,
    *,
    qmax: int,
    p: float = 0.7,
    beta: float = 10.0,
    kappa: float = 1.01,
    iters: int = 20,
    in_steps: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the scale and the zero point of each group.

    Args:
        W: The weights, a group along the last axis.
        qmax: Highest code; the lowest is 0.
        p: Exponent of the norm.
        beta: First weight of the penalty.
        kappa: Growth of beta in each turn.
        iters: Turns; 0 leaves z where the ends of the group put it.
        in_steps: Shrink errors measured in steps instead of units of W.

    Shapes: W (..., group_size); s, z (..., 1), float32.
    Errors: the mean |W - W_r| of a group is at most what `iters=0` gives.
    Raises: ValueError on fewer than 0 iters, or as `shrink` does.
    """
    if iters < 0:
        raise ValueError(f"iters must be 0 or more, got {iters}.")
    lo, hi = W.amin(dim=-1, keepdim=True), W.amax(dim=-1, keepdim=True)
    s = (hi - lo) / qmax
    s = torch.where(s > 0, s, torch.ones_like(s))  # equal weights: any scale will do
    z = z_best = -lo / s
    unit = s if in_steps else 1.0
    least = torch.full_like(s, torch.inf)
    for turn in range(iters + 1):
        W_q = torch.round(W / s + z).clamp(0, qmax)
        error = W - s * (W_q - z)  # W - W_r
        norm = error.abs().mean(dim=-1, keepdim=True)
        better = norm < least
        z_best, least = torch.where(better, z, z_best), torch.where(better, norm, least)
        if turn == iters or not better.any():
            break
        W_e = unit * shrink(error / unit, beta, p=p)  # sub-problem 1
        z = (W_q - (W - W_e) / s).mean(dim=-1, keepdim=True)  # sub-problem 2
        beta = kappa * beta
    return s, z_best


def quantize(
    w: Tensor,
    stats: LayerStats | None = None,
    *,
    spec: QuantSpec,
    **options: float,
) -> QTensor:
    """Return `w` with a float zero point that HQQ chose for each group.

    Args:
        w: The weights.
        stats: Not looked at; here so that all methods are called alike.
        spec: An asymmetric grid.
        **options: Those of `half_quadratic`.

    Shapes: w (rows, cols).
    Errors: mean |w - w_hat| of a group <= scale / 2, up to float32 rounding.
    Raises: ValueError on a symmetric spec, NaN, infinity or a range too wide for
        float32, or as `grouped` and `half_quadratic` do.
    """
    del stats
    _check(w, spec=spec)
    W = grouped(w.float(), spec.group_size)
    # Rows are independent; few at a time stay in a processor's cache, which makes the
    # loop several times faster.
    rows = W.split(max(1, CACHED // W[0].numel()))
    found = [half_quadratic(part, qmax=spec.qmax, **options) for part in rows]
    s, z = (torch.cat(parts) for parts in zip(*found, strict=True))
    return _rounded(w, s, z, spec=spec)


def integer_zero(w: Tensor, found: QTensor) -> QTensor:
    """Return `w` rounded with the scales of `found` and its zero points made integers.

    A weight of 0.0 is then exactly 0.0 again, which no float zero point promises. Not
    a part of HQQ.

    Shapes: w (rows, cols).
    """
    return _rounded(w, found.scale, found.zero_point.round(), spec=found.spec)


def threshold(beta: float, *, p: float = 0.7) -> float:
    """Return the size up to which `shrink` makes a value 0.

    Units: those of the value.
    """
    return beta ** (-1 / (2 - p))


def _rounded(w: Tensor, s: Tensor, z: Tensor, *, spec: QuantSpec) -> QTensor:
    W = grouped(w.float(), spec.group_size)
    q = torch.round(W / s + z).clamp(0, spec.qmax).to(code_dtype(spec))
    return QTensor(q.reshape(w.shape), s, z, spec)


def _check(w: Tensor, *, spec: QuantSpec) -> None:
    """Refuse what has no zero point to move or no finite range."""
    if spec.symmetric:
        raise ValueError(
            "HQQ moves the zero point, and a symmetric grid has none to move; give a "
            "spec with symmetric=False."
        )
    if w.numel() and not torch.isfinite(w).all():
        raise ValueError("The weights hold NaN or infinity; no scale covers them.")
    if w.numel() and not torch.isfinite(w.amax().float() - w.amin().float()):
        raise ValueError(
            "The range of a group is too wide for float32; divide the weights first."
        )
