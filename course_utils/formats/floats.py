"""Floating point formats: codes decoded to values, values encoded to codes.

The layouts are in `float_layout`. Rounding is to nearest, ties to the even
significand, from the float64 value of the input. What lies beyond the largest value
after rounding is stored by one of two rules:

    saturate=True   the largest value, also for an infinity
    saturate=False  infinity where the format has one, else NaN; a format with
                    neither refuses

NaN stays NaN in both, and a format without NaN refuses it. E8M0 stores a negative
value as NaN; zero as NaN, or as 2**-127 if saturating.

Left out: NaN payloads, other roundings (towards zero, stochastic).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from course_utils.formats.codes import check_codes
from course_utils.formats.float_layout import FLOATS, FloatFormat

__all__ = ["FLOATS", "FloatFormat", "cast", "decode", "encode", "fields"]

# Elements worked on at a time: their float64 copies stay in the processor's cache.
PIECE = 2**16
BEYOND = 2.0**200  # above every format's range, and squared still within float64's


def fields(codes: Tensor, fmt: FloatFormat) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sign, exponent and mantissa fields of each code.

    Shapes: codes (...) -> three tensors (...), int64.
    Raises: ValueError if a code does not fit the format's bits.
    """
    codes = check_codes(codes, fmt.bits, fmt.name)
    mantissa = codes & (2**fmt.mantissa_bits - 1)
    exponent = (codes >> fmt.mantissa_bits) & (2**fmt.exponent_bits - 1)
    sign = codes >> (fmt.exponent_bits + fmt.mantissa_bits)  # 0 where there is no sign
    return sign, exponent, mantissa


def decode(codes: Tensor, fmt: FloatFormat) -> Tensor:
    """Return the values that the codes stand for.

    Shapes: codes (...) of integers -> (...), float64.
    Errors: none; float64 holds every value of every format here.
    Raises: ValueError if a code does not fit the format's bits.
    """
    sign, exponent, mantissa = fields(codes, fmt)
    normal = (exponent > 0) | (not fmt.has_subnormals)
    significand = mantissa + normal * 2**fmt.mantissa_bits
    # Subnormals share the exponent of the smallest normal value.
    power = torch.where(normal, exponent - fmt.bias, fmt.min_exponent)
    value = significand * _power_of_two(power - fmt.mantissa_bits)
    magnitude = (exponent << fmt.mantissa_bits) + mantissa
    value = torch.where(magnitude > fmt.max_code, torch.nan, value)
    if fmt.specials == "ieee":
        value = torch.where(magnitude == fmt.max_code + 1, torch.inf, value)
    value = torch.where(sign == 1, -value, value)
    if fmt.specials == "fnuz":
        value = torch.where((sign == 1) & (magnitude == 0), torch.nan, value)
    return value


def _power_of_two(exponent: Tensor) -> Tensor:
    """Return 2**exponent in float64, by writing its exponent field."""
    return ((exponent + 1023) << 52).view(torch.float64)


def _piecewise(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply an elementwise function to `x` in pieces."""
    pieces = [function(piece) for piece in x.reshape(-1).split(PIECE)]
    return torch.cat(pieces).reshape(x.shape)


def encode(x: Tensor, fmt: FloatFormat, *, saturate: bool) -> Tensor:
    """Return the code of the nearest value of the format, ties to even.

    Shapes: x (...) of any real type -> (...), int64.
    Errors: |x - decode(code)| is at most half the spacing of the values around x,
        for |x| up to the largest value.
    Raises: ValueError if a value has no code: NaN, or too large and not saturating, in
        a format without special codes.
    """
    return _piecewise(lambda piece: _encode(piece, fmt, saturate=saturate), x)


def cast(x: Tensor, fmt: FloatFormat, *, saturate: bool) -> Tensor:
    """Return `x` rounded to the format: decode of encode.

    Shapes: x (...) -> (...), float32.
    Raises: ValueError as `encode` does.
    """
    return _piecewise(lambda piece: _cast(piece, fmt, saturate=saturate), x)


def _spacing(x: Tensor, fmt: FloatFormat) -> Tensor:
    """Return the distance between the values of the format around each |x|.

    A number with its mantissa cleared is the power of two below it; the spacing is
    2**-mantissa_bits of that, and below the smallest normal value stays the same.
    """
    power = (x.view(torch.int64) & (0x7FF << 52)).view(torch.float64)
    return power.clamp_(min=fmt.min_normal).mul_(2.0**-fmt.mantissa_bits)


def _encode(x: Tensor, fmt: FloatFormat, *, saturate: bool) -> Tensor:
    """Return the codes of one piece."""
    x = x.to(torch.float64)
    nan = torch.isnan(x)
    magnitude = _magnitude_codes(x.abs().nan_to_num_(nan=0.0), fmt)
    beyond = magnitude > fmt.max_code
    _refuse(nan, beyond, fmt, saturate=saturate)
    if saturate:
        magnitude = magnitude.clamp(max=fmt.max_code)
    elif fmt.specials == "ieee":
        magnitude = magnitude.clamp(max=fmt.max_code + 1)  # the code of infinity
    else:
        nan = nan | beyond
    if not fmt.signed:
        nan = nan | (x < 0) | ((x == 0) & (not saturate))
    magnitude = torch.where(nan, _nan_code(fmt), magnitude)
    if not fmt.signed:
        return magnitude
    negative = torch.signbit(x)
    if fmt.specials == "fnuz":  # the code of -0 is NaN already
        negative = negative & (magnitude > 0) & ~nan
    return magnitude + (negative.to(torch.int64) << (fmt.bits - 1))


def _magnitude_codes(x: Tensor, fmt: FloatFormat) -> Tensor:
    """Return the codes of numbers >= 0, unlimited above.

    Codes of positive values are in the order of the values. Counting the significand
    in units of its last place therefore gives the code, and a significand rounded up
    to the next power of two carries into the exponent field by itself.
    """
    x = x.clamp(max=BEYOND)
    spacing = _spacing(x, fmt)
    # Exact: a division by a power of two, of a number far from float64's ends.
    units = (x / spacing).round_().to(torch.int64)
    exponent = (spacing.view(torch.int64) >> 52) - 1023 + fmt.mantissa_bits
    if not fmt.has_subnormals:
        units = units.clamp(min=1) - 1  # no code is spent on zero
    return ((exponent - fmt.min_exponent) << fmt.mantissa_bits) + units


def _nan_code(fmt: FloatFormat) -> int:
    """Return the code written for NaN, without a sign where there are two."""
    if fmt.specials == "ieee":  # the quiet NaN
        return fmt.max_code + 1 + 2 ** (fmt.mantissa_bits - 1)
    return fmt.max_code + 1


def _refuse(nan: Tensor, beyond: Tensor, fmt: FloatFormat, *, saturate: bool) -> None:
    """Raise ValueError where a format without special codes cannot hold a value."""
    if fmt.specials != "finite":
        return
    if nan.any():
        raise ValueError(f"{fmt.name} has no code for NaN; remove NaN first.")
    if not saturate and beyond.any():
        raise ValueError(
            f"{fmt.name} has neither infinity nor NaN for a value that rounds beyond "
            f"{fmt.max:g}; use saturate=True."
        )


def _cast(x: Tensor, fmt: FloatFormat, *, saturate: bool) -> Tensor:
    """Return one piece rounded, without going through the codes."""
    if not fmt.signed:
        return decode(_encode(x, fmt, saturate=saturate), fmt).float()
    x = x.to(torch.float64).clamp(-BEYOND, BEYOND)  # NaN stays
    spacing = _spacing(x, fmt)
    rounded = (x / spacing).round_().mul_(spacing)
    if fmt.specials == "fnuz":
        rounded += 0.0  # turns -0 into 0
    beyond = rounded.abs() > fmt.max
    _refuse(torch.isnan(x), beyond, fmt, saturate=saturate)
    if saturate:
        return rounded.clamp_(-fmt.max, fmt.max).float()
    outside = rounded * torch.inf if fmt.specials == "ieee" else torch.nan
    return torch.where(beyond, outside, rounded).float()
