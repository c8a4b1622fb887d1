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
from course_utils.formats.gguf_blocks import TYPES as BLOCK_TYPES
from course_utils.formats.gguf_blocks import decode as decode_block
from course_utils.formats.gguf_blocks import encode as encode_block
from course_utils.measure.agreement import kl_divergence
from course_utils.measure.error import max_abs_error, rmse, sqnr_db
from course_utils.measure.flips import mcnemar
from course_utils.measure.footprint import DEVICES, footprint
from course_utils.measure.intervals import interval, paired_interval
from course_utils.measure.pareto import front as pareto_front
from course_utils.methods import clipping
from course_utils.methods.additive import beam_search
from course_utils.methods.additive import decode as additive_decode
from course_utils.methods.awq import keep_columns, output_loss, scaled_rounding
from course_utils.methods.awq import scales as awq_scales
from course_utils.methods.hqq import quantize as hqq_quantize
from course_utils.methods.kmeans import nearest
from course_utils.methods.llm_int8 import matmul as llm_int8
from course_utils.methods.llm_int8 import outlier_columns, vectorwise
from course_utils.methods.lora import delta as lora_delta
from course_utils.methods.qlora import codes as codes_of
from course_utils.methods.qlora import freeze
from course_utils.methods.qlora import rebuilt as rebuilt_nf4
from course_utils.methods.rotation import hadamard, peak, per_token, transform
from course_utils.methods.smoothquant import smoothing_factors
from course_utils.methods.ternary import least_squares as ternary_best
from course_utils.methods.ternary import quantize as ternary_rule
from course_utils.methods.w8a8 import (
    MAX_COLS,
    input_scale,
    int8_linear,
    quantize_weight,
)
from course_utils.methods.w8a8 import codes as int8_codes
from course_utils.models.card import CARDS
from course_utils.models.gguf_mix import gets_larger
from course_utils.models.llama_imatrix import weighted_error

__all__ = [
    "BLOCK_TYPES",
    "CARDS",
    "DEVICES",
    "FLOATS",
    "FORMATS",
    "MAX_COLS",
    "QuantSpec",
    "additive_decode",
    "awq_scales",
    "beam_loss",
    "bell",
    "choose_qparams",
    "clipped",
    "decode_block",
    "decode_codes",
    "dequantize",
    "encode_block",
    "encode_values",
    "even",
    "fake_quantize",
    "footprint",
    "gets_larger",
    "hadamard",
    "hqq_zero",
    "in_nf4",
    "input_scale",
    "int8_codes",
    "int8_linear",
    "interval",
    "keep_columns",
    "kl_divergence",
    "llm_int8",
    "lora_delta",
    "max_abs_error",
    "mcnemar",
    "nearest",
    "nf4_codes",
    "outlier_columns",
    "output_loss",
    "paired_interval",
    "pareto_front",
    "peak",
    "per_token",
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
    "ternary_best",
    "ternary_rule",
    "transform",
    "value_of",
    "vectorwise",
    "weighted_error",
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


def beam_loss(beam: int) -> float:
    """Return the squared error of 40 rows after a beam search; 0 searches nothing.

    Two groups of four weights, two codebooks of two vectors, inputs of equal size.
    """
    random = torch.Generator().manual_seed(0)
    W = torch.randn(40, 8, generator=random)
    C = torch.randn(2, 2, 4, generator=random)
    b, scale = torch.zeros(40, 2, 2, dtype=torch.long), torch.ones(40, 1)
    if beam:
        b = beam_search(W, torch.eye(8), b, C, scale=scale, beam=beam)
    return (W - additive_decode(b, C, scale)).square().sum().item()


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


def in_nf4(w: Tensor) -> Tensor:
    """Return `w` as NF4 keeps it, a row a block, its absmax in float32.

    Shapes: w (rows, cols) -> (rows, cols).
    """
    return rebuilt_nf4(freeze(w, double=False, block_size=w.shape[1]))


def nf4_codes(w: Tensor) -> list[int]:
    """Return the NF4 codes of all weights, a row a block.

    Shapes: w (rows, cols) -> rows * cols numbers.
    """
    frozen = freeze(w, double=False, block_size=w.shape[1])
    return codes_of(frozen).flatten().tolist()


def clipped(w: Tensor, bits: int) -> Tensor:
    """Return `w` rounded to grids clipped for the least error, a scale a row.

    Shapes: w (rows, cols) -> (rows, cols).
    """
    return clipping.quantize(w, spec=QuantSpec(bits)).dequantize()
