"""What the expressions of an exam item may use beside math, numpy and torch."""

import torch
from torch import Tensor

from course_utils.formats.affine import (
    QuantSpec,
    choose_qparams,
    dequantize,
    fake_quantize,
    quantize,
)
from course_utils.measure.error import max_abs_error, rmse, sqnr_db

__all__ = [
    "QuantSpec",
    "bell",
    "choose_qparams",
    "dequantize",
    "even",
    "fake_quantize",
    "max_abs_error",
    "quantize",
    "rebuilt",
    "rmse",
    "row",
    "sqnr_db",
]


def row(*values: float) -> Tensor:
    """Return the values as a weight with one row.

    Shapes: (1, n), float32.
    """
    return torch.tensor([values], dtype=torch.float32)


def even(n: int = 1001) -> Tensor:
    """Return values spread evenly from -1 to 1.

    Shapes: (1, n), float32.
    """
    return torch.linspace(-1.0, 1.0, n)[None]


def bell(n: int = 4096) -> Tensor:
    """Return the quantiles of a normal distribution: a bell-shaped row without chance.

    Shapes: (1, n), float32.
    """
    middle = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return (torch.erfinv(2 * middle - 1) * 2**0.5).float()[None]


def rebuilt(
    w: Tensor, bits: int, *, symmetric: bool = False, group_size: int | None = None
) -> Tensor:
    """Return `w` rounded to its own grid of `bits` bits.

    Shapes: w (rows, cols) -> (rows, cols).
    """
    return fake_quantize(w, spec=QuantSpec(bits, symmetric, group_size))
