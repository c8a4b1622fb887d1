"""AWQ: activation-aware weight quantization.

Some input channels of a layer carry larger numbers than others, and the errors of
the weights they meet count for more. AWQ widens those weights before rounding and
divides afterwards:

    Q(W diag(s)) diag(s)^-1 X                                        (paper, sec. 3.2)

A grid's step hardly changes when a few columns of a group grow, so the rounding error
of column j shrinks by about s_j. Too large an s_j widens the step of the whole
group, which the other columns pay for. So s is searched for:

    s = s_X^alpha,   alpha* = argmin over alpha of L(s_X^alpha)      (eq. 5)
    L(s) = ||Q(W diag(s)) diag(s)^-1 X - W X||                       (eq. 4)

s_X is the mean magnitude of each input channel, and alpha runs over a grid of 20
from 0 (plain rounding) to 1. Nothing is trained and no weight stays in 16 bits. The
division by s disappears into the module before (`models.folds`).

Source: lin2023awq. L is taken through the second moment C of the inputs, the mean of
x x^T: with E the error of W, mean |E x|^2 = sum((E C) * E). So no token is needed.

Left out: the paper's search for a clipped range, which runs after this one
(`methods.clipping`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.formats.affine import QuantSpec, fake_quantize
from course_utils.formats.qtensor import QTensor
from course_utils.methods import rtn
from course_utils.methods.statistics import LayerStats

SMALLEST = 1e-4  # of s_X^alpha, so that a channel that is always 0 divides by no zero
Loss = Callable[[Tensor], float]


@dataclass(frozen=True, eq=False)
class Search:
    """What the search over alpha found.

    Attributes:
        s: The best factors, (cols,).
        alpha: Their exponent.
        losses: alpha -> L, the whole grid.
    """

    s: Tensor
    alpha: float
    losses: dict[float, float]


def scales(s_X: Tensor, alpha: float) -> Tensor:
    """Return s = s_X^alpha, divided so that largest times smallest is 1.

    The common divisor changes no code: a grid scales with its weights.

    Shapes: s_X (cols,) -> (cols,).
    Raises: ValueError if s_X is no row of finite magnitudes.
    """
    if s_X.ndim != 1 or not (torch.isfinite(s_X) & (s_X >= 0)).all():
        raise ValueError(
            "s_X must be a row of magnitudes, finite and not negative; take the mean "
            "of |x| for each input channel."
        )
    s = s_X.float().pow(alpha).clamp(min=SMALLEST)  # eq. 5
    return s / (s.max() * s.min()).sqrt()


def scaled_rounding(W: Tensor, s: Tensor, *, spec: QuantSpec) -> Tensor:
    """Return Q(W diag(s)) diag(s)^-1: each column widened, rounded, narrowed again.

    Shapes: W (rows, cols), s (cols,) -> (rows, cols).
    """
    return fake_quantize(W * s, spec=spec) / s


def output_loss(weights: Sequence[Tensor], C: Tensor, *, spec: QuantSpec) -> Loss:
    """Return L(s): the mean squared error of all outputs of layers with one input.

    Args:
        weights: Of the layers, each (rows, cols).
        C: Second moment of their input, (cols, cols).
        spec: The grid.

    Raises: ValueError if the columns do not fit.
    """
    if any(W.ndim != 2 or W.shape[1] != len(C) for W in weights):
        shapes = ", ".join(str(tuple(W.shape)) for W in weights)
        raise ValueError(f"Weights {shapes} do not read an input of {len(C)} channels.")
    W = torch.cat([weight.float() for weight in weights])

    def L(s: Tensor) -> float:
        E = scaled_rounding(W, s, spec=spec) - W
        return float(((E @ C) * E).sum()) / len(W)  # eq. 4, over tokens and outputs

    return L


def search(s_X: Tensor, L: Loss, *, n_grid: int = 20) -> Search:
    """Return the factors s_X^alpha with the smallest loss.

    Shapes: s_X (cols,).
    Raises: ValueError if n_grid is below 2, no loss is finite, or as `scales` does.
    Source: lin2023awq, eq. 5. Differs from it in: nothing; the paper leaves open
        whether its grid holds alpha = 1, and this one does.
    """
    if n_grid < 2:
        raise ValueError(f"n_grid must be 2 or more, got {n_grid}.")
    losses = {}
    for i in range(n_grid):
        alpha = i / (n_grid - 1)
        losses[alpha] = L(scales(s_X, alpha))
    best = min(losses, key=losses.get)
    if not losses[best] < float("inf"):
        raise ValueError(
            "No alpha gives a finite error; the weights or the statistics hold NaN or "
            "infinity."
        )
    return Search(scales(s_X, best), best, losses)


def quantize(
    w: Tensor, stats: LayerStats, *, spec: QuantSpec, n_grid: int = 20
) -> tuple[QTensor, Tensor]:
    """Return the codes of W diag(s), and s: w_hat is `codes.dequantize() / s`.

    For a layer on its own. Layers that read the same input share s in a model, and
    the division goes into the module before (`models.awq_model`).

    Shapes: w (rows, cols); s (cols,).
    Raises: ValueError as `output_loss` and `search` do.
    """
    L = output_loss([w], stats.second_moment, spec=spec)
    s = search(stats.abs_mean, L, n_grid=n_grid).s
    return rtn.quantize(w * s, spec=spec), s


def keep_columns(W: Tensor, columns: Tensor, *, spec: QuantSpec) -> Tensor:
    """Return `W` rounded, but for some columns, which stay what they are.

    The paper's first experiment (table 1). The grid is that of all columns.

    Shapes: W (rows, cols); columns (kept,), their indices -> (rows, cols).
    """
    W_hat = fake_quantize(W, spec=spec)
    W_hat[:, columns] = W[:, columns]
    return W_hat
