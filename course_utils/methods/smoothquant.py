"""SmoothQuant: part of each input channel's range moves into the weights.

A linear layer computes Y = X W, and for any factors s > 0, one for each input channel,

    Y = (X diag(s)^-1) (diag(s) W)                       (eq. 3)

is the same product. The factors divide the inputs where those are large, so that a
grid over a whole token has a finer step, and make the weights wider in return:

    s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)          (eq. 4)

`alpha` is the migration strength. At 1 all inputs get the same largest value, at 0 all
columns of the weights do, and at 1/2 input j and column j end with the same one.

The paper writes W as (in, out). Here it is (out, in) as everywhere in this book, so
channel j is a column. Source: xiao2022smoothquant.

Left out: where the division by s goes. `models.folds` moves it into the norm or the
projection before, so that nothing is divided while the model runs.
"""

import torch
from torch import Tensor


def smoothing_factors(act_amax: Tensor, w: Tensor, *, alpha: float) -> Tensor:
    """Return the factor that divides each input channel and multiplies its weights.

    A channel whose inputs or weights are all zero keeps the factor 1: nothing in it
    has a range to move.

    Shapes: act_amax (cols,); w (rows, cols), the rows of all layers that read the same
        input -> (cols,), float32.
    Units: of act_amax to the power alpha over those of w to 1 - alpha.
    Raises: ValueError if alpha is not between 0 and 1, the shapes do not fit, or a
        value is NaN, infinite or a negative maximum.
    Source: xiao2022smoothquant, eq. 4. Differs from it in: channels of zeros.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be a number from 0 to 1, got {alpha}.")
    if w.ndim != 2 or act_amax.shape != w.shape[1:] or not w.numel():
        raise ValueError(
            f"act_amax has shape {tuple(act_amax.shape)} and w {tuple(w.shape)}; give "
            "one maximum for each column of a matrix."
        )
    amax_x, amax_w = act_amax.float(), w.float().abs().amax(dim=0)
    if not (torch.isfinite(amax_x).all() and torch.isfinite(amax_w).all()):
        raise ValueError("The maxima or the weights hold NaN or infinity.")
    if (amax_x < 0).any():
        raise ValueError("act_amax holds a negative number; take max of |X|.")
    s = amax_x**alpha / amax_w ** (1 - alpha)  # eq. 4
    # Where both are so small that the quotient has no float32, 1 is as good.
    usable = (amax_x > 0) & (amax_w > 0) & torch.isfinite(s) & (s > 0)
    return torch.where(usable, s, torch.ones_like(s))


def smooth(x: Tensor, w: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Return inputs and weights whose product is the same, channel j moved by s_j.

    Shapes: x (..., cols), w (rows, cols), s (cols,) -> as x and w.
    Errors: each element by a relative 2**-24 for its one operation.
    Source: xiao2022smoothquant, eq. 3. Differs from it in: nothing.
    """
    return x / s, w * s  # X diag(s)^-1 and diag(s) W
