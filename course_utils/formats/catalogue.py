"""Every number format by name: floating point, integers and codebooks.

The three kinds differ in how a code becomes a value; `decode` and `encode` here
choose by kind, so that a table over all formats is one loop.
"""

from torch import Tensor

from course_utils.formats import codebooks, floats, integers
from course_utils.formats.codebooks import Codebook
from course_utils.formats.floats import FloatFormat
from course_utils.formats.integers import IntFormat

NumberFormat = FloatFormat | IntFormat | Codebook

FORMATS: dict[str, NumberFormat] = {
    **floats.FLOATS,
    **integers.INTEGERS,
    **codebooks.CODEBOOKS,
}


def lookup(name: str) -> NumberFormat:
    """Return the format of that name; upper and lower case are one.

    Raises: ValueError on an unknown name, with the names there are.
    """
    if name.upper() not in FORMATS:
        raise ValueError(
            f"Unknown format {name!r}; choose one of {', '.join(FORMATS)}."
        )
    return FORMATS[name.upper()]


def decode(codes: Tensor, name: str) -> Tensor:
    """Return the values that the codes stand for.

    Shapes: codes (...) of integers -> (...), float64.
    Raises: ValueError on an unknown name or a code that does not fit.
    """
    fmt = lookup(name)
    if isinstance(fmt, FloatFormat):
        return floats.decode(codes, fmt)
    if isinstance(fmt, IntFormat):
        return integers.decode(codes, fmt)
    return codebooks.decode(codes, fmt).double()


def encode(x: Tensor, name: str, *, saturate: bool = True) -> Tensor:
    """Return the code of the nearest value of the format.

    Codebooks have no way but to saturate; `saturate` changes nothing there.

    Shapes: x (...) of any real type -> (...), int64.
    Raises: ValueError on an unknown name or a value without a code.
    """
    fmt = lookup(name)
    if isinstance(fmt, FloatFormat):
        return floats.encode(x, fmt, saturate=saturate)
    if isinstance(fmt, IntFormat):
        return integers.encode(x, fmt, saturate=saturate)
    return codebooks.encode(x, fmt)
