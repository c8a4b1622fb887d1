"""Affine quantization: integers on an evenly spaced grid.

A group of weights shares one `scale` and one `zero_point`:

    q     = clamp(round(w / scale) + zero_point, qmin, qmax)
    w_hat = (q - zero_point) * scale

`scale` is the distance between neighbouring values (the step), `zero_point` the
integer that stands for 0.0. The range of a group is widened to hold 0 before the
scale is chosen. Without that, a group whose weights all have one sign needs a
zero point outside [qmin, qmax]; clamping it moves the whole grid by many steps.

Weights are (rows, cols) = (out_features, in_features); groups run along the last
axis. Rounding is to nearest, ties to even (`torch.round`).

Left out: storage (codes are int32 here; packing is another module) and any choice
of a range smaller than the data's own (clipping).
"""

from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor


@dataclass(frozen=True)
class QuantSpec:
    """What the integers look like and which weights share a scale.

    Attributes:
        bits: Width of a code, 1 to 16.
        symmetric: True puts the zero point in the middle of the codes and makes
            the range [-amax, amax]; codes are signed and the lowest is unused.
        group_size: Weights per scale along a row; None means a whole row (per
            channel), 0 the whole tensor (per tensor).
    """

    bits: int
    symmetric: bool = False
    group_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse widths and group sizes that mean nothing."""
        if not isinstance(self.bits, Integral) or not 1 <= self.bits <= 16:
            raise ValueError(
                f"bits must be a whole number from 1 to 16, got {self.bits}."
            )
        if self.symmetric and self.bits < 2:
            raise ValueError("A symmetric grid needs at least 2 bits.")
        size = 0 if self.group_size is None else self.group_size
        if not isinstance(size, Integral) or size < 0:
            raise ValueError(
                f"group_size must be None or a whole number from 0 on, got {size}."
            )

    @property
    def qmin(self) -> int:
        """Lowest code in use."""
        return -(2 ** (self.bits - 1)) + 1 if self.symmetric else 0

    @property
    def qmax(self) -> int:
        """Highest code in use."""
        return 2 ** (self.bits - 1) - 1 if self.symmetric else 2**self.bits - 1


def grouped(w: Tensor, group_size: int | None) -> Tensor:
    """Return a view of `w` in which the last axis is one group.

    Shapes: w (rows, cols) -> (rows, n_groups, group_size); (1, 1, rows * cols)
        for group_size 0.
    Raises: ValueError if w is not a matrix with values, or if group_size does not
        divide cols.
    """
    if w.ndim != 2 or not w.numel():
        raise ValueError(
            f"Give a matrix with rows and columns, got shape {tuple(w.shape)}."
        )
    rows, cols = w.shape
    if group_size == 0:
        return w.reshape(1, 1, -1)
    size = cols if group_size is None else group_size
    if cols % size:
        raise ValueError(
            f"group_size {size} does not divide the {cols} columns; "
            f"choose a divisor of {cols}."
        )
    return w.reshape(rows, cols // size, size)


def choose_qparams(w: Tensor, *, spec: QuantSpec) -> tuple[Tensor, Tensor]:
    """Return the scale and zero point that cover each group of `w`.

    The range is widened to hold 0, so 0.0 maps to an integer exactly.

    Shapes: w (rows, cols); scale, zero_point (rows, n_groups, 1).
    Units: scale in units of w per integer step; zero_point in steps.
    Errors: |w - w_hat| <= scale / 2, up to float32 rounding, if scale is at least
        2**-126; below, float32 holds it with fewer digits.
    Raises: ValueError on NaN or infinity, if the range of a group is too wide for
        float32, or as `grouped` does.
    Source: jacob2018quantization, eq. 1. Differs from it in: nothing.
    """
    groups = grouped(w.float(), spec.group_size)
    lo = groups.amin(dim=-1, keepdim=True).clamp(max=0)
    hi = groups.amax(dim=-1, keepdim=True).clamp(min=0)
    # NaN and infinity come through amin and amax, so the few ends are enough to check.
    if not (torch.isfinite(lo).all() and torch.isfinite(hi).all()):
        raise ValueError("The weights hold NaN or infinity; no scale covers them.")
    if spec.symmetric:
        hi = torch.maximum(-lo, hi)
        lo = -hi
    n_steps = spec.qmax - spec.qmin
    scale = (hi - lo) / n_steps
    if not torch.isfinite(scale * n_steps).all():
        raise ValueError(
            "The range of a group is too wide for float32; divide the weights first."
        )
    # A group of zeros has no range; any scale rebuilds it, and 1 is never divided by 0.
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero_point = torch.round(spec.qmin - lo / scale).to(torch.int32)
    return scale, zero_point


def quantize(
    w: Tensor, scale: Tensor, zero_point: Tensor, *, spec: QuantSpec
) -> Tensor:
    """Return the codes of `w`: the nearest grid point of each weight.

    NaN and infinity have no code; `choose_qparams` refuses them.

    Shapes: w (rows, cols) -> q (rows, cols), int32.
    """
    steps = grouped(w.float(), spec.group_size) / scale
    # A name that ends in _ works in place: new memory would cost more than the sums.
    q = steps.round_().add_(zero_point).clamp_(spec.qmin, spec.qmax)
    return q.to(torch.int32).reshape(w.shape)


def dequantize(
    q: Tensor, scale: Tensor, zero_point: Tensor, *, spec: QuantSpec
) -> Tensor:
    """Return the weights that the codes stand for.

    Shapes: q (rows, cols) -> w_hat (rows, cols), float32.
    """
    # A copy, because the two operations on it work in place and q is the caller's.
    steps = grouped(q, spec.group_size).to(torch.float32, copy=True)
    return steps.sub_(zero_point).mul_(scale).reshape(q.shape)


def fake_quantize(w: Tensor, *, spec: QuantSpec) -> Tensor:
    """Return `w` rounded to its own grid: quantize, then dequantize.

    Shapes: w (rows, cols) -> (rows, cols), float32.
    """
    scale, zero_point = choose_qparams(w, spec=spec)
    q = quantize(w, scale, zero_point, spec=spec)
    return dequantize(q, scale, zero_point, spec=spec)
