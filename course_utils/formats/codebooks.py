"""Codebooks: formats whose codes are places in a table of values.

NF4: 0, 8 positive and 7 negative quantiles of the normal distribution, divided by the
largest. The halves differ by one so that 0 is a value: a weight of 0 stays 0.

    positive   ndtri(p),  p in 8 even steps from delta towards 1/2, 1/2 left out
    negative  -ndtri(p),  p in 7 even steps from delta towards 1/2, 1/2 left out

FP4 of bitsandbytes: sign, two exponent bits E, one mantissa bit M. A larger E means a
smaller value; 12 is the largest magnitude before the division by it:

    value = (-1)**sign * 2**(4 - E) * (1 + M / 2) / 12          (E > 0)
    value = (-1)**sign * M / 16 / 12                            (E = 0)

It is not E2M1. Values outside [-1, 1] go to the ends: a codebook is used on weights
divided by the largest magnitude of their block.

Source: dettmers2023qlora, section 3. Differs from its eq. 4 in: the quantiles are taken
at the ends of even slices, not averaged over them, as in bitsandbytes.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from course_utils.formats.codes import check_codes


@dataclass(frozen=True)
class Codebook:
    """A table of values; the code of a value is its place.

    Attributes:
        name: As in `CODEBOOKS`.
        values: The value of each code, float32 numbers; need not be sorted.
        order: Codes by rising value. Where two codes have one value (0 and -0), the
            lower code comes first, as in bitsandbytes on a processor.
        bounds: Middles of neighbouring values in that order, rounded to float32.
    """

    name: str
    values: tuple[float, ...]
    order: tuple[int, ...] = field(init=False, repr=False)
    bounds: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Sort the values and find the middles between them."""
        table = torch.tensor(self.values, dtype=torch.float32)
        order = sorted(range(len(self.values)), key=self.values.__getitem__)
        ranked = table[order]
        object.__setattr__(self, "order", tuple(order))
        object.__setattr__(
            self, "bounds", tuple(((ranked[:-1] + ranked[1:]) / 2).tolist())
        )

    @property
    def bits(self) -> int:
        """Width of a code."""
        return math.ceil(math.log2(len(self.values)))

    @property
    def max(self) -> float:
        """Largest value."""
        return max(self.values)

    @property
    def n_finite(self) -> int:
        """Number of distinct values."""
        return len(set(self.values))


def normal_quantiles() -> tuple[float, ...]:
    """Return the 16 values of NF4, lowest first."""
    # delta is the mean of 1 - 1/30 and 1 - 1/32, half a slice from the end of 15 and of
    # 16 slices. bitsandbytes cuts it at 7 decimals and takes the steps in float32,
    # which moves most of its values by a unit in the last place.
    delta = math.floor(1e7 * (1 - (1 / 30 + 1 / 32) / 2)) / 1e7
    positive = torch.special.ndtri(torch.linspace(delta, 0.5, 9).double()[:-1])
    negative = -torch.special.ndtri(torch.linspace(delta, 0.5, 8).double()[:-1])
    values = torch.cat([negative, torch.zeros(1), positive.flip(0)]).float()
    return tuple((values / values.max()).tolist())


def fp4_values() -> tuple[float, ...]:
    """Return the 16 values of bitsandbytes' FP4, in the order of their codes."""
    code = torch.arange(16)
    sign, exponent, mantissa = code >> 3, code >> 1 & 3, code & 1
    normal = 2.0 ** (4 - exponent) * (1 + mantissa / 2)
    magnitude = torch.where(exponent > 0, normal, mantissa / 16) / 12
    return tuple(torch.where(sign == 1, -magnitude, magnitude).tolist())


NF4 = Codebook("NF4", normal_quantiles())
FP4_BNB = Codebook("FP4_BNB", fp4_values())
CODEBOOKS: dict[str, Codebook] = {book.name: book for book in (NF4, FP4_BNB)}


def decode(codes: Tensor, codebook: Codebook) -> Tensor:
    """Return the values that the codes stand for.

    Shapes: codes (...) of integers -> (...), float32.
    Raises: ValueError if a code is beyond the table.
    """
    codes = check_codes(codes, codebook.bits, codebook.name)
    return torch.tensor(codebook.values, device=codes.device)[codes]


def nearest(x: Tensor, codebook: Codebook) -> Tensor:
    """Return the code of the nearest value of float32 numbers that are not NaN.

    The number of bounds below a value is its rank among the sorted values. Fifteen
    comparisons of whole tensors take less time than a search for each element.

    Shapes: x (...) -> (...), uint8.
    """
    rank = torch.zeros(x.shape, dtype=torch.uint8, device=x.device)
    for bound in codebook.bounds:
        rank += (x > bound).view(torch.uint8)
    if codebook.order == tuple(range(len(codebook.order))):
        return rank
    order = torch.tensor(codebook.order, dtype=torch.uint8, device=x.device)
    return order[rank.to(torch.int32)]


def encode(x: Tensor, codebook: Codebook) -> Tensor:
    """Return the code of the nearest value; a tie goes to the lower value.

    Shapes: x (...) of any real type -> (...), int64.
    Errors: |x - decode(code)| is at most half the gap between the values around x,
        for x from the lowest to the highest value.
    Raises: ValueError on NaN.
    """
    if torch.isnan(x).any():
        raise ValueError(f"{codebook.name} has no code for NaN; remove NaN first.")
    return nearest(x.float(), codebook).to(torch.int64)
