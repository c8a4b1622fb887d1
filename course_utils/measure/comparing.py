"""Our formats and an oracle's, asked the same questions; differences are counted.

Every function returns how many answers were compared and how many differ.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from course_utils.formats import (
    blockwise,
    catalogue,
    codebooks,
    double_quant,
    packing,
)
from course_utils.formats.codebooks import FP4_BNB, NF4, Codebook
from course_utils.measure import oracles, probes

Counts = tuple[int, int]  # compared, different
Oracle = Callable[[Tensor, str], Tensor]
Keep = Callable[[Tensor], Tensor]


def different(ours: Tensor, theirs: Tensor) -> Counts:
    """Count values that differ; 0 and -0 do, NaN and NaN do not."""
    same = (ours == theirs) & (torch.signbit(ours) == torch.signbit(theirs))
    same |= torch.isnan(ours) & torch.isnan(theirs)
    return same.numel(), int((~same).sum())


def decoding(name: str, oracle: Oracle) -> Counts:
    """Compare the values of all codes."""
    codes = probes.codes(name)
    return different(catalogue.decode(codes, name), oracle(codes, name))


def encoding(
    name: str, oracle: Oracle, *, saturate: bool, keep: Keep | None = None
) -> Counts:
    """Compare the codes of the probes.

    `keep` says for which of them the oracle has our rule.
    """
    x = probes.numbers(name)
    if keep:
        x = x[keep(x)]
    ours = catalogue.encode(x, name, saturate=saturate)
    theirs = oracle(x, name)
    # NaN has several codes; `decoding` shows that we read each of them as NaN.
    ours_nan, theirs_nan = (
        torch.isnan(catalogue.decode(codes, name)) for codes in (ours, theirs)
    )
    return len(x), int(((ours != theirs) & ~(ours_nan & theirs_nan)).sum())


def clamped(oracle: Oracle) -> Oracle:
    """Return the oracle behind a clamp to the range: saturation where it has none."""

    def call(x: Tensor, name: str) -> Tensor:
        fmt = catalogue.lookup(name)
        return oracle(x.clamp(getattr(fmt, "qmin", -fmt.max), fmt.max), name)

    return call


def rounded(oracle: Oracle) -> Oracle:
    """Return the oracle behind a rounding: integer types cut fractions off."""
    return lambda x, name: oracle(x.round(), name)


def tables(codebook: Codebook) -> Counts:
    """Compare a codebook with the table of bitsandbytes.

    0 and -0 are alike here: code 8 of FP4 is 0 in the table, -0 in the kernel.
    """
    theirs = oracles.bnb_table(_bnb_name(codebook))
    ours = codebooks.decode(torch.arange(16), codebook)
    return different(ours + 0.0, theirs + 0.0)


def _bnb_name(codebook: Codebook) -> str:
    return {NF4.name: "nf4", FP4_BNB.name: "fp4"}[codebook.name]


def quantizing(codebook: Codebook, dtype: torch.dtype) -> Counts:
    """Compare packed bytes, absmax and rebuilt weights; also of one weight fewer."""
    weights = probes.weights(codebook).to(dtype)
    fill = int(codebooks.encode(torch.zeros(1), codebook))
    counts = []
    for w in (weights, weights[:-1]):
        packed, absmax, rebuilt = oracles.bnb_quantize(w, _bnb_name(codebook))
        codes, our_absmax = blockwise.quantize(w, codebook)
        counts.append(different(packing.pack_nibbles(codes, fill=fill), packed))
        counts.append(different(our_absmax, absmax))
        if rebuilt is not None:
            ours = blockwise.dequantize(codes, our_absmax, codebook)
            counts.append(different(ours.to(dtype), rebuilt))
    return _sum(counts)


def nesting() -> Counts:
    """Compare codes, scales and rebuilt absmax of double quantization."""
    w = probes.weights(NF4)
    theirs = oracles.bnb_nested(w)
    nested = double_quant.quantize_absmax(blockwise.quantize(w, NF4)[1])
    ours = nested.codes, nested.scale, double_quant.dequantize_absmax(nested)
    pairs = zip(ours, theirs, strict=True)
    return _sum(different(a.double(), b.double()) for a, b in pairs)


def dynamic_codes() -> Counts:
    """Compare the codes at every step of the 8-bit dynamic map."""
    x = probes.dynamic_inputs()
    ours = double_quant.nearest_codes(x).to(torch.int64)
    return len(x), int((ours != oracles.bnb_dynamic(x)).sum())


def _sum(counts: Iterable[Counts]) -> Counts:
    compared, differing = zip(*counts, strict=True)
    return sum(compared), sum(differing)
