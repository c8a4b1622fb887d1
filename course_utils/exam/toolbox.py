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
from course_utils.formats.catalogue import FORMATS, lookup
from course_utils.formats.catalogue import decode as decode_codes
from course_utils.formats.catalogue import encode as encode_values
from course_utils.formats.floats import FLOATS
from course_utils.measure.agreement import kl_divergence
from course_utils.measure.error import max_abs_error, rmse, sqnr_db
from course_utils.measure.flips import mcnemar
from course_utils.measure.footprint import DEVICES, footprint
from course_utils.measure.intervals import interval, paired_interval
from course_utils.methods import clipping
from course_utils.methods.awq import keep_columns, output_loss, scaled_rounding
from course_utils.methods.awq import scales as awq_scales
from course_utils.methods.hqq import quantize as hqq_quantize
from course_utils.methods.llm_int8 import matmul as llm_int8
from course_utils.methods.llm_int8 import outlier_columns, vectorwise
from course_utils.methods.smoothquant import smoothing_factors
from course_utils.methods.w8a8 import (
    MAX_COLS,
    input_scale,
    int8_linear,
    quantize_weight,
)
from course_utils.methods.w8a8 import codes as int8_codes
from course_utils.models.card import CARDS

__all__ = [
    "CARDS",
    "DEVICES",
    "FLOATS",
    "FORMATS",
    "MAX_COLS",
    "QuantSpec",
    "awq_scales",
    "bell",
    "choose_qparams",
    "clipped",
    "decode_codes",
    "dequantize",
    "encode_values",
    "even",
    "fake_quantize",
    "footprint",
    "hqq_zero",
    "input_scale",
    "int8_codes",
    "int8_linear",
    "interval",
    "keep_columns",
    "kl_divergence",
    "llm_int8",
    "max_abs_error",
    "mcnemar",
    "outlier_columns",
    "output_loss",
    "paired_interval",
    "quantize",
    "quantize_weight",
    "rebuilt",
    "rmse",
    "row",
    "scaled_rounding",
    "smoothing_factors",
    "sqnr_db",
    "stored",
    "stored_rows",
    "value_of",
    "vectorwise",
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


def hqq_zero(w: Tensor, **options: float) -> Tensor:
    """Return the zero points that HQQ gives the rows of `w` in 4 bits.

    Shapes: w (rows, cols) -> (rows,).
    """
    return hqq_quantize(w, spec=QuantSpec(4), **options).zero_point.flatten()


def value_of(code: int, name: str) -> float:
    """Return what a code of a number format stands for.

    Raises: ValueError on an unknown format or a code that does not fit.
    """
    return decode_codes(torch.tensor([code]), name).item()


def stored(value: float, name: str, *, saturate: bool = True) -> float:
    """Return `value` as a number format keeps it, without a scale.

    Raises: ValueError on an unknown format.
    """
    wanted = torch.tensor([value], dtype=torch.float64)
    return decode_codes(encode_values(wanted, name, saturate=saturate), name).item()


def stored_rows(w: Tensor, name: str) -> Tensor:
    """Return `w` in a number format, with one scale a row for its largest value.

    Shapes: w (rows, cols) -> (rows, cols).
    """
    scale = w.abs().amax(dim=1, keepdim=True) / lookup(name).max
    codes = encode_values(w / scale, name, saturate=True)
    return decode_codes(codes, name).float() * scale


def clipped(w: Tensor, bits: int) -> Tensor:
    """Return `w` rounded to grids clipped for the least error, a scale a row.

    Shapes: w (rows, cols) -> (rows, cols).
    """
    return clipping.quantize(w, spec=QuantSpec(bits)).dequantize()
