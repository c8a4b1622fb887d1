"""How far a rebuilt tensor lies from the original.

    rmse    = sqrt(mean((w - w_hat)^2))
    sqnr_db = 10 log10(sum(w^2) / sum((w - w_hat)^2))

SQNR is the ratio of signal power to the power of the quantization error, in
decibels: 20 dB more is an error ten times smaller. One more bit halves the step of
a uniform grid and so adds 20 log10(2) = 6.02 dB.

Sums run in float64: a weight matrix has millions of squares, and a float32 sum of
that many loses the digits in which two methods differ.

Left out: errors of a layer's output, which need its inputs.
"""

import math

import torch
from torch import Tensor


def difference(w: Tensor, w_hat: Tensor) -> Tensor:
    """Return w - w_hat in float64, after checking that the pair can be compared."""
    if w.shape != w_hat.shape:
        raise ValueError(
            f"w has shape {tuple(w.shape)} and w_hat {tuple(w_hat.shape)}; "
            "compare tensors of one shape."
        )
    if w.numel() == 0:
        raise ValueError("The tensors are empty; there is no error to measure.")
    return w.detach().double() - w_hat.detach().double()


def rmse(w: Tensor, w_hat: Tensor) -> float:
    """Return the root of the mean squared difference.

    Shapes: w, w_hat any, the same.
    Units: those of w.
    Raises: ValueError on different shapes or empty tensors.
    """
    return math.sqrt(difference(w, w_hat).square().mean().item())


def max_abs_error(w: Tensor, w_hat: Tensor) -> float:
    """Return the largest difference of one element.

    Shapes: w, w_hat any, the same.
    Units: those of w.
    Raises: ValueError on different shapes or empty tensors.
    """
    return difference(w, w_hat).abs().max().item()


def sqnr_db(w: Tensor, w_hat: Tensor) -> float:
    """Return the signal-to-quantization-noise ratio; infinity where w_hat equals w.

    Shapes: w, w_hat any, the same.
    Units: decibels.
    Raises: ValueError on different shapes, empty tensors, or a signal of zeros.
    """
    noise = difference(w, w_hat).square().sum()
    signal = w.detach().double().square().sum()
    if signal == 0:
        raise ValueError("w is all zeros, so it has no signal-to-noise ratio.")
    return (10 * torch.log10(signal / noise)).item()
