"""Every method of the book, with what chapter 16 says of it and how it is run.

One row a method. Groups are of 64 weights where a method has groups. To add one: a row
below, and `python -m course_utils measure methods`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from course_utils.formats import blockwise, codebooks, double_quant, storage
from course_utils.formats.affine import QuantSpec
from course_utils.formats.codebooks import Codebook
from course_utils.measure import method_files
from course_utils.measure import method_runs as runs
from course_utils.measure.method_runs import Codes, Run
from course_utils.methods import clipping, gptq, hqq, rtn, ternary

GROUP, BLOCK, SEED = 64, 64, 0
ALPHA, THRESHOLD = 0.5, 6.0
NO_DATA, DATA = "none", "text"
WEIGHTS, BOTH, FILE = "weights", "weights and inputs", "file"


@dataclass(frozen=True)
class Method:
    """One way to store the model.

    Attributes:
        key: Its name in the record; no underscore, so that keys can be split.
        label: Its name in a table.
        family: Its colour, a key of `report.style`.
        kind: What is quantized: weights, weights and inputs, or a whole file.
        calibration: Whether it reads a text.
        chapter: Where it is taught.
        run: Quantizes a model for the length of a `with` block.
    """

    key: str
    label: str
    family: str
    kind: str
    calibration: str
    chapter: int
    run: Run


def spec(bits: int) -> QuantSpec:
    """Return the grid of the grouped methods."""
    return QuantSpec(bits, group_size=GROUP)


def by_codebook(w: Tensor, *, codebook: Codebook, double: bool) -> Codes:
    """Return a weight rebuilt from codes of a codebook, and its bits.

    Shapes: w (out, in).
    """
    codes, absmax = blockwise.quantize(w, codebook, block_size=BLOCK)
    if double:
        absmax = double_quant.dequantize_absmax(double_quant.quantize_absmax(absmax))
    w_hat = blockwise.dequantize(codes, absmax, codebook, block_size=BLOCK)
    return w_hat, storage.nf4_bits(BLOCK, double=double)


def in_ternary(w: Tensor) -> Codes:
    """Return a weight in three values by BitNet's rule, and its bits."""
    found = ternary.quantize(w)
    return found.dequantize(), ternary.bits_per_weight(found)


def _codebook(codebook: Codebook, *, double: bool) -> Run:
    quantize = partial(by_codebook, codebook=codebook, double=double)
    return partial(runs.rounded, quantize=quantize)


def _grouped(method: Callable, bits: int, **options: bool) -> Run:
    return partial(runs.rounded, quantize=partial(method, spec=spec(bits), **options))


def _walked(bits: int, **options: bool) -> Run:
    quantize = partial(gptq.quantize, spec=spec(bits), **options)
    return partial(runs.walked, quantize=quantize)


def _gguf(key: str, name: str, chapter: int = 15) -> Method:
    run = partial(method_files.converted, type_name=name)
    return Method(key, f"llama.cpp {name}", "gguf", FILE, NO_DATA, chapter, run)


INT8 = QuantSpec(bits=8, symmetric=True)

METHODS = (
    Method("float32", "float32", "baseline", WEIGHTS, NO_DATA, 1, runs.untouched),
    Method("bf16", "BF16", "baseline", BOTH, NO_DATA, 2, runs.in_bfloat16),
    Method(
        *("rtn8", "RTN, 8 bits a row", "rtn", WEIGHTS, NO_DATA, 5),
        partial(runs.rounded, quantize=partial(rtn.quantize, spec=INT8)),
    ),
    Method("fp8", "FP8 W8A8", "baseline", BOTH, NO_DATA, 2, runs.floats8),
    Method("w8a8", "INT8 W8A8", "smoothquant", BOTH, NO_DATA, 8, runs.integers),
    Method(
        *("smooth8", "SmoothQuant W8A8", "smoothquant", BOTH, DATA, 8),
        partial(runs.integers, alpha=ALPHA),
    ),
    Method(
        *("llmint8", "LLM.int8()", "smoothquant", BOTH, NO_DATA, 7),
        partial(runs.integers, threshold=THRESHOLD),
    ),
    Method(
        *("nf4", "NF4", "nf4", WEIGHTS, NO_DATA, 11),
        _codebook(codebooks.NF4, double=False),
    ),
    Method(
        *("nf4dq", "NF4, double quantization", "nf4", WEIGHTS, NO_DATA, 11),
        _codebook(codebooks.NF4, double=True),
    ),
    Method(
        *("fp4", "FP4 of bitsandbytes", "nf4", WEIGHTS, NO_DATA, 11),
        _codebook(codebooks.FP4_BNB, double=False),
    ),
    *(
        method
        for bits in (4, 3)
        for method in (
            Method(
                *(f"rtn{bits}", f"RTN, {bits} bits", "rtn", WEIGHTS, NO_DATA, 5),
                _grouped(rtn.quantize, bits),
            ),
            Method(
                *(f"clip{bits}", f"RTN, clipped, {bits} bits"),
                *("rtn", WEIGHTS, NO_DATA, 5),
                _grouped(clipping.quantize, bits),
            ),
            Method(
                *(f"hqq{bits}", f"HQQ, {bits} bits", "hqq", WEIGHTS, NO_DATA, 12),
                _grouped(hqq.quantize, bits),
            ),
            Method(
                *(f"gptq{bits}", f"GPTQ, {bits} bits", "gptq", WEIGHTS, DATA, 9),
                _walked(bits),
            ),
            Method(
                *(f"awq{bits}", f"AWQ, {bits} bits", "awq", WEIGHTS, DATA, 10),
                partial(runs.scaled, spec=spec(bits)),
            ),
        )
    ),
    Method(
        *("actorder4", "GPTQ, act-order, 4 bits", "gptq", WEIGHTS, DATA, 9),
        _walked(4, act_order=True),
    ),
    Method(
        *("rotated4", "GPTQ, rotated, 4 bits", "gptq", WEIGHTS, DATA, 14),
        partial(runs.turned, quantize=partial(gptq.quantize, spec=spec(4)), seed=SEED),
    ),
    Method(
        *("ternary", "ternary, rounded", "baseline", WEIGHTS, NO_DATA, 13),
        partial(runs.rounded, quantize=in_ternary),
    ),
    _gguf("f16", "F16"),
    _gguf("q8", "Q8_0"),
    _gguf("q4km", "Q4_K_M"),
    _gguf("q4", "Q4_0"),
    _gguf("iq4nl", "IQ4_NL"),
    _gguf("q2k", "Q2_K"),
)


def named(key: str) -> Method:
    """Return the method with this key.

    Raises: ValueError naming the keys there are.
    """
    found = {method.key: method for method in METHODS}
    if key not in found:
        raise ValueError(f"There is no method {key!r}; choose from {', '.join(found)}.")
    return found[key]
