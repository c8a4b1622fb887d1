"""Integer formats: two's complement codes that stand for whole numbers.

    value = code                                  (code < 2**(bits - 1), or unsigned)
    value = code - 2**bits                        (else)

A code is a string of bits, read as an unsigned integer, as in `floats`. Rounding is to
nearest, ties to even. Integers have no code for infinity, NaN or -0.

Left out: the scale. An integer format of weights is one of these and a scale, which
is `affine`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.formats.codes import check_codes


@dataclass(frozen=True)
class IntFormat:
    """A width and whether there is a sign."""

    name: str
    bits: int
    signed: bool = True

    @property
    def qmin(self) -> int:
        """Lowest value."""
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int:
        """Highest value."""
        return self.qmin + 2**self.bits - 1

    @property
    def max(self) -> float:
        """Highest value, under the name that the other formats use."""
        return float(self.qmax)

    @property
    def n_finite(self) -> int:
        """Number of distinct values: every code is one."""
        return 2**self.bits


INTEGERS: dict[str, IntFormat] = {
    fmt.name: fmt for fmt in (IntFormat("INT8", 8), IntFormat("INT4", 4))
}
INT8, INT4 = INTEGERS["INT8"], INTEGERS["INT4"]


def decode(codes: Tensor, fmt: IntFormat) -> Tensor:
    """Return the values that the codes stand for.

    Shapes: codes (...) of integers -> (...), float64.
    Raises: ValueError if a code does not fit the format's bits.
    """
    codes = check_codes(codes, fmt.bits, fmt.name)
    return torch.where(codes > fmt.qmax, codes - 2**fmt.bits, codes).double()


def encode(x: Tensor, fmt: IntFormat, *, saturate: bool) -> Tensor:
    """Return the code of the nearest whole number, ties to even.

    Shapes: x (...) of any real type -> (...), int64.
    Errors: |x - decode(code)| <= 1/2 for x from qmin to qmax.
    Raises: ValueError on NaN, and on values out of range if not saturating.
    """
    x = x.to(torch.float64)
    if torch.isnan(x).any():
        raise ValueError(f"{fmt.name} has no code for NaN; remove NaN first.")
    whole = torch.round(x)
    inside = whole.clamp(fmt.qmin, fmt.qmax)
    if not saturate and not torch.equal(whole, inside):
        raise ValueError(
            f"{fmt.name} holds {fmt.qmin} to {fmt.qmax} and has no infinity; use "
            "saturate=True or a scale."
        )
    return inside.to(torch.int64) & (2**fmt.bits - 1)
