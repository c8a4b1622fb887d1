"""The layouts of the floating point formats: fields, special codes, properties.

A code is a string of bits, read as an unsigned integer:

    code  = sign | exponent field E | mantissa field M
    value = (-1)**sign * 2**(E - bias) * (1 + M / 2**mantissa_bits)        (normal)
    value = (-1)**sign * 2**(1 - bias) * (M / 2**mantissa_bits)   (E = 0, subnormal)

E8M0 has no sign and no mantissa: its code is an exponent, and it has neither a zero
nor subnormals. `specials` says which codes are not numbers:

    ieee    all-ones exponent: infinity where M = 0, else NaN
    fn      all ones in exponent and mantissa: NaN; no infinity
    fnuz    the code of -0 is the only NaN; no infinity, one zero
    finite  none

Source: IEEE 754-2008; micikevicius2022fp8 for E5M2 and E4M3FN; OCP Microscaling
Formats 1.0 for E3M2, E2M3, E2M1 and E8M0; noune2022fp8 for the fnuz formats.
"""

import math
from dataclasses import dataclass
from typing import Literal

Specials = Literal["ieee", "fn", "fnuz", "finite"]


@dataclass(frozen=True)
class FloatFormat:
    """The layout of a floating point format; every property follows from it.

    Attributes:
        name: As in `FLOATS`.
        exponent_bits: Width of the exponent field.
        mantissa_bits: Width of the stored mantissa, without the implicit bit.
        bias: What is taken from the exponent field to get the exponent.
        signed: Whether there is a sign bit.
        specials: Which codes are infinity or NaN; see the module.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    signed: bool = True
    specials: Specials = "ieee"

    @property
    def bits(self) -> int:
        """Width of a code."""
        return self.signed + self.exponent_bits + self.mantissa_bits

    @property
    def has_subnormals(self) -> bool:
        """Whether an exponent field of 0 means zero and subnormals."""
        return self.mantissa_bits > 0

    @property
    def min_exponent(self) -> int:
        """Exponent of the smallest normal value."""
        return self.has_subnormals - self.bias

    @property
    def max_code(self) -> int:
        """Code of the largest finite value."""
        ones = 2 ** (self.exponent_bits + self.mantissa_bits) - 1
        reserved = {"ieee": 2**self.mantissa_bits, "fn": 1, "fnuz": 0, "finite": 0}
        return ones - reserved[self.specials]

    @property
    def max(self) -> float:
        """Largest finite value."""
        exponent, mantissa = divmod(self.max_code, 2**self.mantissa_bits)
        significand = 1 + mantissa / 2**self.mantissa_bits
        return math.ldexp(significand, exponent - self.bias)

    @property
    def min_normal(self) -> float:
        """Smallest positive value with the full precision."""
        return math.ldexp(1.0, self.min_exponent)

    @property
    def min_subnormal(self) -> float | None:
        """Smallest positive value of all; None where there are no subnormals."""
        if not self.has_subnormals:
            return None
        return math.ldexp(1.0, self.min_exponent - self.mantissa_bits)

    @property
    def n_inf(self) -> int:
        """Number of codes that are infinities."""
        return 2 if self.specials == "ieee" else 0

    @property
    def n_nan(self) -> int:
        """Number of codes that are NaN."""
        signs = 1 + self.signed
        ieee = signs * (2**self.mantissa_bits - 1)
        return {"ieee": ieee, "fn": signs, "fnuz": 1, "finite": 0}[self.specials]

    @property
    def n_finite(self) -> int:
        """Number of distinct finite values; +0 and -0 are one value."""
        two_zeros = self.has_subnormals and self.specials != "fnuz"
        return 2**self.bits - self.n_inf - self.n_nan - two_zeros

    @property
    def digits(self) -> float:
        """Decimal digits carried by a normal value: (mantissa_bits + 1) * log10(2)."""
        return (self.mantissa_bits + 1) * math.log10(2)

    @property
    def unit_roundoff(self) -> float:
        """Largest error of rounding to a normal value, relative to the exact value."""
        return 2.0 ** -(self.mantissa_bits + 1)


FLOATS: dict[str, FloatFormat] = {
    fmt.name: fmt
    for fmt in (
        FloatFormat("FP32", 8, 23, 127),
        FloatFormat("TF32", 8, 10, 127),  # the 19 bits in use of the 32 stored
        FloatFormat("BF16", 8, 7, 127),
        FloatFormat("FP16", 5, 10, 15),
        FloatFormat("E5M2", 5, 2, 15),
        FloatFormat("E4M3FN", 4, 3, 7, specials="fn"),
        FloatFormat("E5M2FNUZ", 5, 2, 16, specials="fnuz"),
        FloatFormat("E4M3FNUZ", 4, 3, 8, specials="fnuz"),
        FloatFormat("E3M2", 3, 2, 3, specials="finite"),
        FloatFormat("E2M3", 2, 3, 1, specials="finite"),
        FloatFormat("E2M1", 2, 1, 1, specials="finite"),
        FloatFormat("E8M0", 8, 0, 127, signed=False, specials="fn"),
    )
}
