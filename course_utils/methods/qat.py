"""QAT: train the weights, and the steps of their grid, through the rounding.

The forward pass uses the rounded weights. v is a weight, s the step of its group, z
the integer zero point, Q_N = z - qmin and Q_P = qmax - z the steps below and above 0:

    v_bar = round(clip(v / s, -Q_N, Q_P))                                      (1)
    v_hat = v_bar * s                                                          (2)

The rounding is flat, so its true gradient is 0 nearly everywhere. The straight-through
estimator takes it for 1. All else follows by the rules of calculus:

    d v_hat / d v = 1 inside the clip, 0 outside
    d v_hat / d s = v_bar - v / s inside, -Q_N or Q_P outside                  (3)

A step belongs to N weights, so its gradient sums N terms and grows beside those of
the weights; LSQ multiplies it by

    g = 1 / sqrt(N * Q_P)                                                      (4)

Source: esser2020lsq, equations 1 to 3 and section 2.2; bengio2013estimating for the
estimator. Differs from it in: a step for each group and a fixed zero point, so that
what is stored is what GPTQ stores; Q_P of (4) is half of the grid, (qmax - qmin) / 2
rounded up, for groups whose zero point is elsewhere.

Left out: activations, learned zero points (LSQ+), and starting from scratch.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec, grouped
from course_utils.formats.qtensor import QTensor, code_dtype


def round_ste(x: Tensor) -> Tensor:
    """Return x rounded; its gradient is that of x itself.

    Shapes: x (...) -> (...).
    """
    return x + (x.round() - x).detach()


def scale_gradient(x: Tensor, g: float) -> Tensor:
    """Return x; its gradient is multiplied by g.

    Shapes: x (...) -> (...).
    """
    return (x - x * g).detach() + x * g


def fake_quantize(
    v: Tensor, s: Tensor, zero_point: Tensor, *, spec: QuantSpec, g: float | None = None
) -> Tensor:
    """Return the weights that the codes of `v` stand for, with gradients for v and s.

    Args:
        v: The weights.
        s: The step of each group.
        zero_point: Of each group; it is not trained.
        spec: Of the grid.
        g: Factor on the gradient of s; None is (4).

    Shapes: v (rows, cols); s, zero_point (rows, n_groups, 1) -> (rows, cols).
    Errors: |v - v_hat| <= s / 2 inside the clip, up to float32 rounding.
    Raises: ValueError if group_size does not divide cols.
    Source: esser2020lsq, eq. 1 and 2.
    """
    groups = grouped(v, spec.group_size)
    g = gradient_scale(groups.shape[-1], spec=spec) if g is None else g
    s = scale_gradient(s, g)
    clipped = (groups / s).clamp(spec.qmin - zero_point, spec.qmax - zero_point)
    v_bar = round_ste(clipped)  # (1)
    return (v_bar * s).reshape(v.shape)  # (2)


def gradient_scale(n: int, *, spec: QuantSpec) -> float:
    """Return g of (4) for a step that n weights share."""
    half = -(-(spec.qmax - spec.qmin) // 2)
    return (n * half) ** -0.5


class QATLinear(nn.Module):
    """A linear layer whose weights are rounded in every forward pass, and trained.

    Args:
        w: The float weights to start from, (rows, cols).
        bias: (rows,) or None; it is not trained.
        start: What rounds `w` before training: its steps and zero points are taken.

    Raises: ValueError if `start` has another shape, groups out of order or a zero
        point that is no integer.
    """

    def __init__(
        self, w: Tensor, bias: Tensor | None = None, *, start: QTensor
    ) -> None:
        super().__init__()
        if start.q.shape != w.shape or start.group_of is not None:
            raise ValueError(
                f"The start has codes of shape {tuple(start.q.shape)} and the weight "
                f"{tuple(w.shape)}; give the same matrix, with its groups in order."
            )
        zero_point = start.zero_point.detach().float()
        if (zero_point != zero_point.round()).any():
            raise ValueError(
                "The start has zero points that are no integers; QAT keeps them, and "
                "the stored grid needs integers."
            )
        self.spec = start.spec
        self.out_features, self.in_features = w.shape
        self.v = nn.Parameter(w.detach().float().clone())
        self.s = nn.Parameter(start.scale.detach().float().clone())
        self.register_buffer("zero_point", zero_point.clone())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the rounded weights.

        Shapes: (..., cols) -> (..., rows).
        """
        v_hat = fake_quantize(self.v, self.s, self.zero_point, spec=self.spec)
        return F.linear(x, v_hat, self.bias)

    def quantized(self) -> QTensor:
        """Return codes, steps and zero points as they are now.

        Errors: none; it rebuilds the weights of the forward pass.
        Raises: ValueError if a step is no longer a positive number.
        """
        s, zero_point = self.s.detach(), self.zero_point
        if not ((s > 0) & torch.isfinite(s)).all():
            raise ValueError(
                "Training left a step that is no positive number; lower the learning "
                "rate of the steps."
            )
        q = affine.quantize(self.v.detach(), s, zero_point, spec=self.spec)
        codes = q.to(code_dtype(self.spec))
        return QTensor(codes, s.clone(), zero_point.to(torch.int32), self.spec)
