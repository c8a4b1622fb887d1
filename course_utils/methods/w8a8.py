"""W8A8: weights and activations in 8 bits, multiplied as integers.

    q_x = round(x / scale_x)        codes of the inputs, made anew for every input
    q_w = round(w / scale_w)        codes of the weights, made once
    y   = scale_x * scale_w * sum_j q_x[j] * q_w[j]

Both grids are symmetric with codes from -127 to 127. The sum is over whole numbers and
exact in 32 bits; the scales come back once for each output, not for each product. That
is possible because a scale of x belongs to a token (a row) and one of w to an output
(a row of w): neither changes along the sum. A scale for each input channel would not
come out of the sum, and no integer kernel offers it.

Scales of the inputs, from coarse to fine:

    static     one number, chosen from calibration text; later inputs may exceed it
    "tensor"   one for all tokens at hand, from their largest value
    "token"    one for each token

Left out: zero points, and kernels that do the rounding while they multiply.
"""

import torch
from torch import Tensor, nn

from course_utils.formats.affine import QuantSpec, choose_qparams

INT8 = QuantSpec(bits=8, symmetric=True)
QMAX = INT8.qmax
MAX_COLS = (2**31 - 1) // QMAX**2  # longer sums of products could leave 32 bits
INPUT_SCALES = ("token", "tensor")


def input_scale(x: Tensor, *, per: str = "token") -> Tensor:
    """Return the step that covers each token of `x`, or all of it.

    Shapes: x (tokens, cols) -> (tokens, 1) per token, (1, 1) per tensor; float32.
    Units: of x per step.
    Raises: ValueError for another word than "token" or "tensor", if x is not a matrix
        with values, or if it holds NaN or infinity.
    """
    if per not in INPUT_SCALES:
        raise ValueError(f"per must be one of {', '.join(INPUT_SCALES)}, got {per!r}.")
    if x.ndim != 2 or not x.numel():
        raise ValueError(
            f"Give inputs as (tokens, cols) with values, got shape {tuple(x.shape)}."
        )
    x = x.float().abs()
    amax = x.amax(dim=1, keepdim=True) if per == "token" else x.amax().reshape(1, 1)
    if not torch.isfinite(amax).all():
        raise ValueError("The inputs hold NaN or infinity; no scale covers them.")
    scale = amax / QMAX
    # A token of zeros has no range; any step rebuilds it.
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def codes(x: Tensor, scale: Tensor) -> Tensor:
    """Return the 8-bit codes of `x`; what lies beyond 127 steps becomes 127.

    Shapes: x (rows, cols), scale (rows, 1) or (1, 1) -> (rows, cols), int8.
    Errors: |x - codes * scale| <= scale / 2, up to float32 rounding, where the scale
        covers x.
    """
    return (x.float() / scale).round_().clamp_(-QMAX, QMAX).to(torch.int8)


def quantize_weight(w: Tensor, *, per_row: bool = True) -> tuple[Tensor, Tensor]:
    """Return 8-bit codes of `w` and a scale for each row, or one for the matrix.

    Shapes: w (rows, cols) -> q (rows, cols) int8; scale (rows, 1) or (1, 1).
    Raises: ValueError as `affine.choose_qparams` does.
    """
    spec = QuantSpec(bits=8, symmetric=True, group_size=None if per_row else 0)
    scale = choose_qparams(w, spec=spec)[0].reshape(-1, 1)
    return codes(w, scale), scale


def int8_linear(
    x: Tensor, q: Tensor, scale: Tensor, *, x_scale: Tensor | None = None
) -> Tensor:
    """Return x w^T, computed on 8-bit codes of both.

    Shapes: x (tokens, cols); q (rows, cols) int8 and scale (rows, 1) or (1, 1), from
        `quantize_weight`; x_scale (tokens, 1) or (1, 1), by default one for each
        token -> (tokens, rows), float32.
    Errors: none but the rounding of x, of w and of three float32 operations: the sum
        is exact.
    Raises: ValueError if the columns differ or are too many for a sum in 32 bits.
    """
    if x.shape[-1] != q.shape[1] or q.shape[1] > MAX_COLS:
        raise ValueError(
            f"x has {x.shape[-1]} columns and q {q.shape[1]}; they must be equal and "
            f"at most {MAX_COLS}."
        )
    x_scale = input_scale(x) if x_scale is None else x_scale
    sums = torch._int_mm(codes(x, x_scale), q.T)  # (tokens, rows), int32
    return sums.float() * x_scale * scale.T


class W8A8Linear(nn.Module):
    """A linear layer that stores 8-bit codes and rounds its inputs as they come.

    Args:
        w: Weights (rows, cols).
        bias: (rows,) or None; stays in float32.
        per: Scale of the inputs: "token", "tensor", or a number, which is static.
        per_row: True gives each row of the weights a scale, False the matrix.

    Raises: ValueError as `quantize_weight` does, or for another `per`.
    """

    def __init__(
        self,
        w: Tensor,
        bias: Tensor | None = None,
        *,
        per: str | float = "token",
        per_row: bool = True,
    ) -> None:
        super().__init__()
        static = not isinstance(per, str)
        if per not in INPUT_SCALES and not (static and 0 < per < float("inf")):
            raise ValueError(
                f"per must be one of {', '.join(INPUT_SCALES)} or a positive scale, "
                f"got {per!r}."
            )
        q, scale = quantize_weight(w, per_row=per_row)
        self.out_features, self.in_features = q.shape
        self.per = per
        self.register_buffer("q", q)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output in the dtype of its input.

        Shapes: (..., cols) -> (..., rows).
        """
        rows = x.flatten(0, -2)
        if isinstance(self.per, str):
            x_scale = input_scale(rows, per=self.per)
        else:
            x_scale = torch.full((1, 1), self.per)
        y = int8_linear(rows, self.q, self.scale, x_scale=x_scale)
        if self.bias is not None:
            y = y + self.bias
        return y.to(x.dtype).reshape(*x.shape[:-1], -1)
