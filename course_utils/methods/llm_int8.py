"""LLM.int8(): 8-bit products, with the columns of large activations kept apart.

A product of inputs and weights is a sum over the input channels h. A few channels
hold values so large that a grid made for them has no steps left for the others. They
form the set O; their part of the sum is computed in floats, the rest in integers:

    X W^T  ~  sum over O of X_h W_h  +  S * (sum outside O of X_i8_h W_i8_h)   (eq. 8)

    O    = channels in which any token's |value| is at least the threshold
    X_i8 = round(X * 127 / amax), amax per token (a row of X)
    W_i8 = round(W * 127 / amax), amax per output (a row of W)
    S    = amax of the token * amax of the output / 127^2                      (eq. 7)

Source: dettmers2022llmint8, sections 2 and 3.

Differs from the paper where bitsandbytes does, so that results can be compared: the
weights of O come from their 8-bit codes, since no others are stored; and a token's
amax is taken over its values below the threshold, those in columns of O included.

Left out: the bias, training, and speed: the integer product is computed in floats
that hold it exactly.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

LARGEST = 127  # code -128 stays unused, so that the grid is the same on both sides


def vectorwise(A: Tensor) -> tuple[Tensor, Tensor]:
    """Return 8-bit codes of a matrix and the largest magnitude of each row.

    Shapes: A (rows, cols) -> codes (rows, cols) int8, amax (rows, 1) float32.
    Units: amax in units of A; a step is amax / 127.
    Errors: |A - codes * amax / 127| <= amax / 254, up to float32 rounding.
    Raises: ValueError if A is not a matrix of finite values.
    Source: dettmers2022llmint8, eq. 7. Differs from it in: a row of zeros has amax 0
        and codes 0.
    """
    if A.ndim != 2 or not A.shape[1]:
        raise ValueError(f"Give a matrix with columns, got shape {tuple(A.shape)}.")
    amax = A.float().abs().amax(dim=1, keepdim=True)
    if not torch.isfinite(amax).all():
        raise ValueError("The matrix holds NaN or infinity, which have no 8-bit code.")
    steps = LARGEST / torch.where(amax > 0, amax, 1.0)
    return torch.round(A.float() * steps).to(torch.int8), amax


def outlier_columns(X: Tensor, *, threshold: float = 6.0) -> Tensor:
    """Return the channels in which any token reaches the threshold: the set O.

    Shapes: X (tokens, channels) -> (n,) int64, ascending.
    Units: threshold in units of X; infinity keeps no channel apart.
    Raises: ValueError if X is not a matrix or the threshold is not above 0.
    Source: dettmers2022llmint8, section 3.
    """
    if X.ndim != 2:
        raise ValueError(f"Give X as (tokens, channels), got shape {tuple(X.shape)}.")
    if not threshold > 0:
        raise ValueError(
            f"threshold must be above 0, got {threshold}; "
            "for no outliers apart, give infinity."
        )
    return (X.abs() >= threshold).any(dim=0).nonzero().flatten()


def matmul(
    X: Tensor, W_i8: Tensor, w_amax: Tensor, *, threshold: float = 6.0
) -> Tensor:
    """Return X W^T by LLM.int8().

    Shapes: X (tokens, in), W_i8 (out, in) int8, w_amax (out, 1) -> (tokens, out),
        float32.
    Raises: ValueError if the shapes do not fit, and as `outlier_columns` and
        `vectorwise`.
    Source: dettmers2022llmint8, eq. 8. Differs from it in: see this module.
    """
    if X.shape[-1] != W_i8.shape[1] or w_amax.shape != (len(W_i8), 1):
        raise ValueError(
            f"X {tuple(X.shape)}, W_i8 {tuple(W_i8.shape)} and w_amax "
            f"{tuple(w_amax.shape)} do not fit; give (tokens, in), (out, in), (out, 1)."
        )
    X_f16 = X.to(torch.float16)
    O = outlier_columns(X_f16, threshold=threshold)
    # A value that reaches the threshold must not widen its token's grid.
    inside = X_f16.masked_fill(X_f16.abs() >= threshold, 0)
    X_i8, x_amax = vectorwise(inside)
    X_i8[:, O] = 0
    # float64 holds a sum of 2^38 products of codes exactly; float32 one of 2^10.
    C_i32 = X_i8.double() @ W_i8.double().T
    S = x_amax * w_amax.T / LARGEST**2  # eq. 7
    W_O = W_i8[:, O].float() * w_amax / LARGEST
    return X[:, O].float() @ W_O.T + S * C_i32.float()  # eq. 8


class Int8Linear(nn.Module):
    """A linear layer that stores 8-bit codes and multiplies by LLM.int8().

    Args:
        weight: (out, in), taken in 16 bits, as bitsandbytes takes it.
        bias: (out,) or None.
        threshold: From which magnitude on an input channel is kept apart.
        product: The product to use; by default `matmul`.

    Raises: ValueError as `vectorwise` does.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        threshold: float = 6.0,
        product: Callable[..., Tensor] = matmul,
    ) -> None:
        super().__init__()
        W_i8, w_amax = vectorwise(weight.detach().to(torch.float16))
        self.out_features, self.in_features = W_i8.shape
        self.threshold = threshold
        self.product = product
        self.register_buffer("W_i8", W_i8)
        self.register_buffer("w_amax", w_amax)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output in the dtype of its input.

        Shapes: (..., in) -> (..., out).
        """
        rows = x.reshape(-1, self.in_features)
        y = self.product(rows, self.W_i8, self.w_amax, threshold=self.threshold)
        y = y if self.bias is None else y + self.bias
        return y.to(x.dtype).reshape(*x.shape[:-1], self.out_features)
