"""What calibration leaves behind: a few numbers about the inputs of a layer.

A layer computes W x for every token x. Methods that look at data need

    second_moment   mean of x x^T, (cols, cols): half of GPTQ's H
    abs_mean        mean of |x_j|: AWQ's measure of a channel
    abs_max         largest |x_j|: SmoothQuant's

and no token afterwards: the squared error of other weights W_hat on the same tokens is

    mean |(W - W_hat) x|^2 = trace((W - W_hat) second_moment (W - W_hat)^T)

Sums run in float32. With n tokens of one sign their error is below n * 2**-24 of the
sum, and blocks of tokens are summed before they are added, which makes it far smaller.
The second moment is symmetric: only the part below the diagonal is summed, in strips.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

STRIPS = 4  # the work falls from 1 to (1 + 1 / STRIPS) / 2 of the full product


@dataclass(frozen=True, eq=False)
class LayerStats:
    """What a layer's inputs look like.

    Attributes:
        n: Tokens seen.
        second_moment: Mean of x x^T, (cols, cols), float32.
        abs_mean: Mean of |x|, (cols,).
        abs_max: Largest |x|, (cols,).
        inputs: The first tokens themselves, (kept, cols), if some were to be kept.
    """

    n: int
    second_moment: Tensor
    abs_mean: Tensor
    abs_max: Tensor
    inputs: Tensor | None = None


class Statistics:
    """Takes a layer's inputs, batch after batch, and gives `LayerStats`."""

    def __init__(self, *, keep_inputs: int = 0) -> None:
        self._n = 0
        self._left = keep_inputs
        self._kept: list[Tensor] = []

    def add(self, x: Tensor) -> None:
        """Count the tokens of a batch in.

        Shapes: x (..., cols).
        Raises: ValueError on NaN or infinity, or another number of columns.
        """
        x = x.detach().reshape(-1, x.shape[-1]).float()
        if not len(x):
            return
        if not self._n:
            self._moment = x.new_zeros(x.shape[1], x.shape[1])
            self._sum, self._max = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1])
            self._strip = -(-x.shape[1] // STRIPS)
        if x.shape[1] != len(self._sum):
            raise ValueError(
                f"The inputs have {x.shape[1]} columns, those before had "
                f"{len(self._sum)}; use one Statistics for each layer."
            )
        magnitude = x.abs()
        # NaN and infinity come through amax, so the few maxima are enough to check.
        highest = magnitude.amax(dim=0)
        if not torch.isfinite(highest).all():
            raise ValueError(
                "The inputs of the layer hold NaN or infinity; look for the first "
                "layer that makes them."
            )
        for start in range(0, x.shape[1], self._strip):
            end = min(start + self._strip, x.shape[1])
            strip = self._moment[start:end, :end]
            strip.addmm_(x[:, start:end].T, x[:, :end])
        self._sum += magnitude.sum(dim=0)
        self._max = torch.maximum(self._max, highest)
        self._n += len(x)
        if self._left:
            self._kept.append(x[: self._left].clone())
            self._left -= len(self._kept[-1])

    def result(self) -> LayerStats:
        """Return the statistics of all tokens so far.

        Raises: ValueError if there was none.
        """
        if not self._n:
            raise ValueError(
                "No token was seen, so there are no statistics; give calibration text."
            )
        lower = self._moment.tril() / self._n
        return LayerStats(
            n=self._n,
            second_moment=lower + lower.tril(-1).T,
            abs_mean=self._sum / self._n,
            abs_max=self._max.clone(),
            inputs=torch.cat(self._kept) if self._kept else None,
        )


def output_error(w: Tensor, w_hat: Tensor, stats: LayerStats) -> float:
    """Return mean |(w - w_hat) x|^2 over the tokens, summed over the outputs.

    Shapes: w, w_hat (rows, cols).
    Raises: ValueError if the shapes do not fit.
    """
    if w.shape != w_hat.shape or w.shape[-1] != len(stats.second_moment):
        raise ValueError(
            f"w is {tuple(w.shape)}, w_hat {tuple(w_hat.shape)} and the statistics are "
            f"of {len(stats.second_moment)} columns; they must belong together."
        )
    # float64: small differences of large sums when outliers dominate the moment.
    d = (w - w_hat).double()
    return float(((d @ stats.second_moment.double()) * d).sum())
