"""Numbers at which a rounding rule shows: values, middles, and their neighbours.

A wrong rule differs at a tie, next to a tie, at the end of the range, at a zero or at
a special value. These inputs hold all of them, for every code of a format.
"""

import torch
from torch import Tensor

from course_utils.formats import floats
from course_utils.formats.catalogue import FORMATS
from course_utils.formats.codebooks import Codebook
from course_utils.formats.floats import FloatFormat
from course_utils.formats.integers import IntFormat

# Mantissas of FP32 that are looked at, for each of its exponents and both signs.
SAMPLED = 512


def codes(name: str) -> Tensor:
    """Return every code of a format; of FP32, all exponents and sampled mantissas."""
    fmt = FORMATS[name]
    if fmt.bits < 32:
        return torch.arange(2**fmt.bits)
    generator = torch.Generator().manual_seed(0)
    mantissas = torch.randint(2**fmt.mantissa_bits, (SAMPLED,), generator=generator)
    ends = (0, 1, 2, 2**fmt.mantissa_bits - 2, 2**fmt.mantissa_bits - 1)
    mantissas[: len(ends)] = torch.tensor(ends)
    high = torch.arange(2 ** (fmt.bits - fmt.mantissa_bits)) << fmt.mantissa_bits
    return (high[:, None] + mantissas).reshape(-1)


def around(x: Tensor) -> Tensor:
    """Return the numbers and their neighbours in the numbers' own type."""
    infinity = torch.tensor(torch.inf, dtype=x.dtype)
    return torch.cat([x, x.nextafter(infinity), x.nextafter(-infinity)])


def numbers(name: str) -> Tensor:
    """Return inputs for encoding; float64 for FP32, whose ties need it, else float32.

    They are the values, the middles between a value and the next (beyond the largest
    too) and the neighbours of both, with both signs; for floating point formats also
    all 65,536 bfloat16 numbers, among which are zeros, infinities and NaN.
    """
    fmt = FORMATS[name]
    if isinstance(fmt, IntFormat):
        halves = torch.arange(2 * fmt.qmin - 5, 2 * fmt.qmax + 6) / 2
        return around(halves.float())
    if not isinstance(fmt, FloatFormat):
        return around(torch.tensor([*fmt.values, *fmt.bounds]))
    dtype = torch.float64 if name == "FP32" else torch.float32
    chosen = codes(name)
    chosen = chosen[chosen <= fmt.max_code]
    low = floats.decode(chosen, fmt)
    after = floats.decode((chosen + 1).clamp(max=fmt.max_code), fmt)
    # After the largest value the spacing goes on.
    before = floats.decode(torch.tensor(fmt.max_code - 1), fmt)
    after = torch.where(chosen == fmt.max_code, low + (fmt.max - before), after)
    positive = around(torch.cat([low, (low + after) / 2]).to(dtype))
    every_bfloat16 = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.bfloat16)
    return torch.cat([positive, -positive, every_bfloat16.to(dtype)])


def weights(codebook: Codebook) -> Tensor:
    """Return weights for blocks of 64: random, on the bounds, zero, of one sign.

    The last block is not full, and holds an even number.
    """
    generator = torch.Generator().manual_seed(0)
    random = 0.03 * torch.randn(4096, 64, generator=generator)
    random[0] = 0
    random[1] = random[1].abs()
    random[2] = -random[2].abs()
    random[3, ::2] = 0
    # Scaled by 1, and by numbers that are no powers of two.
    bounds = around(torch.tensor([*codebook.values, *codebook.bounds]))
    rows = torch.nn.functional.pad(bounds, (0, -len(bounds) % 63)).reshape(-1, 63)
    scaled = torch.cat([torch.ones(len(rows), 1), rows], dim=1)
    scaled = torch.cat([scaled, 0.3 * scaled, 7.1 * scaled])
    tail = torch.randn(30, generator=generator)
    return torch.cat([random.reshape(-1), scaled.reshape(-1), tail])


def dynamic_inputs() -> Tensor:
    """Return numbers from -1 to 1 around the edges of all 65,536 steps of the map."""
    edges = ((torch.arange(65_536).double() + 0.5) / 32_767.5 - 1).float()
    generator = torch.Generator().manual_seed(0)
    small = 1e-3 * torch.randn(100_000, generator=generator)
    ends = torch.tensor([-1.0, 0.0, 1.0])
    return torch.cat([around(edges), small, ends]).clamp(-1, 1)
