"""LoRA: a low-rank change of a frozen matrix, trained in its place.

    h = W_0 x + (alpha / r) B A x                                     (3)

W_0 (rows, cols) is not trained. A (r, cols) starts random and B (rows, r) at 0, so the
layer starts as it was. Only A and B have gradients and moments of an optimizer:
r (rows + cols) numbers instead of rows * cols. Afterwards the product B A has the shape
of W_0 and can be added to it.

Source: hu2021lora, section 4. Differs from it in: A is uniform, as in the library peft,
where the paper says Gaussian.

Left out: dropout before A, and ranks that differ from layer to layer.
"""

import torch
from torch import Tensor


def start(rows: int, cols: int, *, r: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return A and B before training: A uniform over +-1 / sqrt(cols), B zero.

    Shapes: A (r, cols), B (rows, r), float32.
    Raises: ValueError if r is below 1 or above the smaller side of the matrix.
    """
    if not 1 <= r <= min(rows, cols):
        raise ValueError(
            f"The rank r must be 1 to {min(rows, cols)}, the smaller side of a "
            f"({rows}, {cols}) matrix; got {r}."
        )
    generator = torch.Generator().manual_seed(seed)
    A = (2 * torch.rand(r, cols, generator=generator) - 1) / cols**0.5
    return A, torch.zeros(rows, r)


def delta(A: Tensor, B: Tensor, *, alpha: float) -> Tensor:
    """Return the change of the matrix, (alpha / r) B A.

    Shapes: A (r, cols), B (rows, r) -> (rows, cols).
    Raises: ValueError if the ranks of A and B differ.
    """
    if A.ndim != 2 or B.ndim != 2 or len(A) != B.shape[1]:
        raise ValueError(
            f"A is {tuple(A.shape)} and B {tuple(B.shape)}; the rows of A and the "
            "columns of B are the rank, so they must be the same number."
        )
    return alpha / len(A) * (B @ A)


def forward(x: Tensor, W: Tensor, A: Tensor, B: Tensor, *, alpha: float) -> Tensor:
    """Return the layer's output with the adapter beside it; eq. (3).

    The narrow product comes first: r (rows + cols) multiplications a token.

    Shapes: x (..., cols), W (rows, cols), A (r, cols), B (rows, r) -> (..., rows).
    """
    return x @ W.T + alpha / len(A) * (x @ A.T @ B.T)
