"""Observers: one range for a layer's inputs, chosen from what calibration text showed.

A static scale is fixed before the model is used. An observer watches the inputs of a
layer, keeps a histogram of |x|, and answers one question: up to which value T should
the grid reach? The scale is T / qmax, and what lies beyond T is clipped to it.

    min-max      T = the largest |x| seen
    percentile   T covers a share of the values                                (1)
    MSE          T = argmin  sum (|x| - x_hat(T))^2                            (2)
    entropy      T = argmin  KL(P || Q(T)), P the histogram cut at T with what lies
                 beyond counted into its last bin, Q the same histogram, uncut mass
                 left out, after its bins are merged to qmax + 1 levels        (3)

The histogram is bounded in memory: when a value lies beyond its last bin, neighbours
are added up and every bin becomes twice as wide. So all of a text can be read.

Source: entropy as in migacz2017tensorrt, whose 128 levels are those of 8 bits.
Differs from it in: bins of a running histogram instead of one of a fixed range;
candidates are at least one bin per level and `TRIES` in number.

Left out: zero points (the grids here are symmetric, as those of `w8a8`), moving
averages over batches, and a scale for each channel, which no integer kernel offers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 2**14  # an activation 1000 times the typical one leaves 16 bins for the rest
TRIES = 256  # ranges that a search looks at


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often |x| fell into each bin.

    Attributes:
        counts: Of bin i, which holds i * width <= |x| < (i + 1) * width; float64.
        width: Of a bin, in units of x.
        amax: The largest |x| itself.
    """

    counts: Tensor
    width: float
    amax: float

    @property
    def n(self) -> int:
        """Values counted."""
        return int(self.counts.sum())

    @property
    def centers(self) -> Tensor:
        """The middle of each bin, which stands for its values.

        Shapes: (bins,), float64.
        """
        middle = torch.arange(len(self.counts), dtype=torch.float64) + 0.5
        return (middle * self.width).clamp(max=self.amax)


class Observer:
    """Counts |x| of one batch of inputs after the other."""

    def __init__(self, *, bins: int = BINS) -> None:
        if bins < 2 or bins % 2:
            raise ValueError(f"bins must be an even number, got {bins}.")
        self._counts = torch.zeros(bins, dtype=torch.float64)
        self._width = 0.0
        self._amax = 0.0

    def add(self, x: Tensor) -> None:
        """Count the values of a batch in.

        Shapes: x (...).
        Raises: ValueError on NaN or infinity.
        """
        size = x.detach().float().abs().flatten()
        if not len(size):
            return
        amax = float(size.max())
        if not amax < float("inf"):
            raise ValueError(
                "The inputs hold NaN or infinity; look for the first layer that makes "
                "them."
            )
        bins = len(self._counts)
        if not self._width and amax:  # the zeros of earlier batches are in bin 0
            # The largest value lies inside the last bin, not on its end.
            self._width = amax * (1 + 1e-6) / bins
        while amax >= self._width * bins > 0:
            pairs = self._counts.reshape(-1, 2).sum(dim=1)
            self._counts = torch.cat([pairs, torch.zeros_like(pairs)])
            self._width *= 2
        at = (size / (self._width or 1.0)).to(torch.int64).clamp_(max=bins - 1)
        self._counts += torch.bincount(at, minlength=bins)
        self._amax = max(self._amax, amax)

    def result(self) -> Histogram:
        """Return the histogram of all values so far.

        Raises: ValueError if there was none.
        """
        if not self._counts.any():
            raise ValueError("No input was seen; give calibration text.")
        return Histogram(self._counts.clone(), self._width or 1.0, self._amax)


def minmax(histogram: Histogram) -> float:
    """Return the largest |x| that was seen.

    Units: of x.
    """
    return histogram.amax


def percentile(histogram: Histogram, share: float = 0.9999) -> float:
    """Return the end of the bin up to which `share` of the values lie.

    Units: of x.
    Raises: ValueError if share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}.")
    reached = histogram.counts.cumsum(0) >= share * histogram.n  # (1)
    first = int(reached.to(torch.int8).argmax())
    return min((first + 1) * histogram.width, histogram.amax)


def mse(histogram: Histogram, *, qmax: int = 127) -> float:
    """Return the range of least squared error on a symmetric grid.

    Units: of x.
    Errors: the squared error is at most that of `minmax`, counted at bin centers.
    Raises: ValueError if qmax is below 1.
    """
    x, counts = histogram.centers, histogram.counts
    ranges = _ranges(histogram, qmax)
    losses = []
    for T in ranges:
        scale = T / qmax
        x_hat = (x / scale).round().clamp(max=qmax) * scale
        losses.append(float((counts * (x - x_hat) ** 2).sum()))  # (2)
    return ranges[min(range(len(ranges)), key=losses.__getitem__)]


def entropy(histogram: Histogram, *, qmax: int = 127) -> float:
    """Return the range whose merged histogram is nearest in KL divergence.

    Units: of x.
    Raises: ValueError if qmax is below 1.
    Source: migacz2017tensorrt. Differs from it in: nothing but the bins.
    """
    ranges = _ranges(histogram, qmax)
    losses = [_divergence(histogram, T, qmax + 1) for T in ranges]
    return ranges[min(range(len(ranges)), key=losses.__getitem__)]


def _ranges(histogram: Histogram, qmax: int) -> list[float]:
    """Return the ranges to try, the largest first; each ends where a bin ends."""
    if qmax < 1:
        raise ValueError(f"qmax must be at least 1, got {qmax}.")
    if not histogram.amax:
        return [0.0]
    used = int(histogram.amax / histogram.width) + 1
    least = min(qmax + 1, used)
    # Evenly spaced in the logarithm: the best range may be a thousandth of the widest.
    ends = torch.logspace(0, 1, TRIES, base=least / used, dtype=torch.float64) * used
    found = sorted({round(e) for e in ends.tolist()}, reverse=True)
    return [histogram.amax, *(end * histogram.width for end in found[1:])]


def _divergence(histogram: Histogram, T: float, levels: int) -> float:
    """Return KL(P || Q) for the histogram cut at T, in nats; (3)."""
    counts = histogram.counts
    end = max(levels, round(T / histogram.width)) if histogram.amax > T else len(counts)
    end = min(end, int(histogram.amax / histogram.width) + 1)
    inside = counts[:end]
    P = inside.clone()
    P[-1] += counts[end:].sum()
    level = torch.arange(end) * levels // end
    merged = torch.zeros(levels, dtype=torch.float64).index_add_(0, level, inside)
    filled = (P > 0).double()
    width = torch.zeros(levels, dtype=torch.float64).index_add_(0, level, filled)
    Q = filled * (merged / width.clamp(min=1))[level]
    seen = P > 0
    if (Q[seen] == 0).any():
        return float("inf")
    P, Q = P[seen] / P.sum(), Q[seen] / Q.sum()
    return float((P * (P / Q).log()).sum())
