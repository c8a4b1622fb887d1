"""The bits of a number format: switch one, see what the code stands for.

The widget computes in JavaScript, so it needs no kernel. Here its answers come from
`course_utils.formats`; a test compares both inside a browser, over every code of the
formats of up to 8 bits and thousands of the wider ones, to the last bit.
"""

import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal
from pathlib import Path

import anywidget
import torch
import traitlets

from course_utils.formats import catalogue, floats
from course_utils.formats.codebooks import Codebook
from course_utils.formats.floats import FloatFormat
from course_utils.formats.integers import IntFormat

HERE = Path(__file__).parent

# The last digits of a difference are rounding errors of float64: four are said.
_FOUR = Context(prec=4, rounding=ROUND_HALF_UP)

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|infinity|nan)")


def decode(name: str, code: int) -> float:
    """Return what a code of the format stands for.

    Raises: ValueError on an unknown format or a code that does not fit.
    """
    return catalogue.decode(torch.tensor(code), name).item()


def encode(name: str, x: float, saturate: bool = True) -> int:
    """Return the code of the value nearest to `x`.

    Raises: ValueError on an unknown format or a value without a code.
    """
    value = torch.tensor(x, dtype=torch.float64)
    return catalogue.encode(value, name, saturate=saturate).item()


def fields(name: str, code: int) -> tuple[int, int, int] | None:
    """Return sign, exponent and mantissa; None for integers and tables."""
    fmt = catalogue.lookup(name)
    if not isinstance(fmt, FloatFormat):
        return None
    sign, exponent, mantissa = floats.fields(torch.tensor(code), fmt)
    return sign.item(), exponent.item(), mantissa.item()


def kind(name: str, code: int) -> str:
    """Return what sort of value a code stands for."""
    fmt, value = catalogue.lookup(name), decode(name, code)
    if math.isnan(value):
        return "NaN"
    if value == 0:
        return "zero"
    if isinstance(fmt, IntFormat):
        return "integer"
    if isinstance(fmt, Codebook):
        return "table entry"
    if math.isinf(value):
        return "infinity"
    return "normal" if abs(value) >= fmt.min_normal else "subnormal"


def neighbours(name: str, code: int) -> tuple[float | None, float | None]:
    """Return the values next below and next above the one of a code.

    Infinity is a neighbour where the format has it; None where there is no value.
    """
    fmt, value = catalogue.lookup(name), decode(name, code)
    if math.isnan(value):
        return None, None
    if isinstance(fmt, FloatFormat):
        return _mirrored(fmt, code, -1), _mirrored(fmt, code, 1)
    every = catalogue.decode(torch.arange(2**fmt.bits), name).tolist()
    below = max((v for v in every if v < value), default=None)
    return below, min((v for v in every if v > value), default=None)


def _mirrored(fmt: FloatFormat, code: int, step: int) -> float | None:
    """Return the value one place further; codes without sign count up with it."""
    last = fmt.max_code + (fmt.n_inf > 0)
    sign_bit = 2 ** (fmt.bits - 1) if fmt.signed else 2**fmt.bits
    place = (code if code < sign_bit else sign_bit - code) + step
    if not (-last if fmt.signed else 0) <= place <= last:
        return None
    beside = decode(fmt.name, abs(place))
    return beside if place >= 0 else -beside


def steps(name: str, code: int) -> tuple[float | None, float | None]:
    """Return the distances to the neighbours; None where there is no number."""
    value = decode(name, code)
    below, above = neighbours(name, code)
    down = None if below is None else value - below
    up = None if above is None else above - value
    finite = [d if d is not None and math.isfinite(d) else None for d in (down, up)]
    return finite[0], finite[1]


def formula(name: str, code: int) -> str:
    """Return how the value comes out of the fields, in one line."""
    fmt, value = catalogue.lookup(name), written(decode(name, code))
    if isinstance(fmt, Codebook):
        return f"entry {code} of the table = {value}"
    if isinstance(fmt, IntFormat):
        minus = f"{code} - {2**fmt.bits} = {value}"
        return minus if code > fmt.qmax else f"the code itself, {value}"
    if not math.isfinite(decode(name, code)):
        return f"a code set aside for {value}"
    sign, exponent, mantissa = fields(name, code)
    power = f"{'-' * sign}2^({max(exponent, int(fmt.has_subnormals))} - {fmt.bias})"
    if not fmt.mantissa_bits:
        return f"{power} = {value}"
    part = f"{mantissa}/{2**fmt.mantissa_bits}"
    return f"{power} \u00d7 {f'(1 + {part})' if exponent else part} = {value}"


def sentence(name: str, code: int, typed: str = "") -> str:
    """Return what the widget shows, in the words of its status line."""
    value = decode(name, code)
    below, above = neighbours(name, code)
    text = (
        f"{name} code {hexadecimal(name, code)} stands for {written(value)} "
        f"({kind(name, code)}). Next below: {written(below)}. "
        f"Next above: {written(above)}."
    )
    x = parsed(typed)
    if x is None:
        return text
    error, end = value - x, ""
    if math.isfinite(error):
        end = f", and the error is {written(float(_FOUR.create_decimal(error)))}"
    return f"{text} {written(x)} was typed{end}."


def hexadecimal(name: str, code: int) -> str:
    """Return the code in base 16, as wide as the format."""
    return f"0x{code:0{math.ceil(catalogue.lookup(name).bits / 4)}X}"


def parsed(text: str) -> float | None:
    """Return the number in a text, None if it is none."""
    plain = text.strip().lower()
    return float(plain) if _NUMBER.fullmatch(plain) else None


def written(value: float | None) -> str:
    """Return a number with all digits that tell it apart, as JavaScript writes it."""
    if value is None:
        return "none"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else str(value).replace("inf", "infinity")
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    number = Decimal(repr(float(value))).normalize()
    if 1e-6 <= abs(value) < 1e21:
        return f"{number:f}"
    _, digits, exponent = number.as_tuple()
    exponent += len(digits) - 1
    lead, rest = str(digits[0]), "".join(map(str, digits[1:]))
    sign = "-" if value < 0 else ""
    return f"{sign}{lead}{'.' if rest else ''}{rest}e{exponent:+d}"


class BitLayout(anywidget.AnyWidget):
    """The bits of one code as switches, and everything that follows from them.

    Args:
        format: Name of a format, one of `course_utils.formats.catalogue.FORMATS`.
        code: The code to start with.
        value: A number to start with instead; its nearest code is shown. Without
            either it is 0.1.
        saturate: Whether a number beyond the largest value is stored as that value.

    Raises:
        ValueError: If there is no such format, code, or code of the value.
    """

    _esm = HERE / "bit_layout.js"
    _css = HERE / "widgets.css"

    format = traitlets.Unicode("FP16").tag(sync=True)
    code = traitlets.Int(0).tag(sync=True)
    typed = traitlets.Unicode("").tag(sync=True)
    saturate = traitlets.Bool(True).tag(sync=True)

    def __init__(
        self,
        format: str = "FP16",
        code: int | None = None,
        *,
        value: float | None = None,
        saturate: bool = True,
    ) -> None:
        name = catalogue.lookup(format).name
        if code is not None and value is not None:
            raise ValueError("Give a code or a value, not both.")
        typed = ""
        if code is None:
            value = 0.1 if value is None else value
            code, typed = encode(name, value, saturate), written(value)
        decode(name, code)  # a code that does not fit is refused before it is drawn
        super().__init__(format=name, code=code, typed=typed, saturate=saturate)

    def __repr__(self) -> str:
        """Return the state in words: what a viewer without widgets shows."""
        words = sentence(self.format, self.code, self.typed)
        return f"Bit layout. {words} {formula(self.format, self.code)}"
