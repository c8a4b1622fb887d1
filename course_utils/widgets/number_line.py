"""A number line with the grid of a quantizer: move a value, see where it lands.

The widget computes in JavaScript, so it needs no kernel. The functions here are the
same arithmetic in float64: a test compares both over 10,000 inputs inside a browser,
to the last bit. For one value and one group it is the arithmetic of
`course_utils.formats.affine`, which works on tensors in float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import anywidget
import numpy as np
import traitlets

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Grid:
    """The values that a code can stand for.

    Attributes:
        qmin: Lowest code.
        qmax: Highest code.
        scale: Distance between neighbouring values.
        zero_point: Code that stands for 0.
    """

    qmin: int
    qmax: int
    scale: float
    zero_point: int

    @property
    def points(self) -> np.ndarray:
        """The values in order of their codes, float64."""
        return (np.arange(self.qmin, self.qmax + 1) - self.zero_point) * self.scale


@dataclass(frozen=True)
class Landing:
    """Where a value lands on a grid.

    Attributes:
        code: The integer that is stored.
        value: What the code stands for.
        error: `value` minus the true value.
        error_steps: The error in steps of the grid.
        scale: The step.
        max_error: Half a step: the largest error inside the range.
        saturated: True if the nearest code does not exist and the last one is used.
    """

    code: int
    value: float
    error: float
    error_steps: float
    scale: float
    max_error: float
    saturated: bool


def grid(bits: int, lo: float, hi: float, symmetric: bool = False) -> Grid:
    """Return the grid that covers `lo` to `hi`, widened to hold 0.

    Raises: ValueError if bits is not 1 to 8, if a symmetric grid has 1 bit, or if
        `lo` is above `hi`.
    """
    if bits not in range(1, 9):
        raise ValueError(f"bits must be 1 to 8, got {bits}.")
    if symmetric and bits < 2:
        raise ValueError("A symmetric grid needs at least 2 bits.")
    if not lo <= hi:
        raise ValueError(f"lo must not be above hi, got {lo} and {hi}.")
    half = 2 ** (bits - 1)
    qmin, qmax = (1 - half, half - 1) if symmetric else (0, 2**bits - 1)
    low, high = np.float64(min(lo, 0.0)), np.float64(max(hi, 0.0))
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    # A range of zeros has no step; any step rebuilds it, and 1 never divides by 0.
    scale = (high - low) / (qmax - qmin) or np.float64(1.0)
    # np.rint rounds ties to even, as torch.round does.
    return Grid(qmin, qmax, float(scale), int(np.rint(qmin - low / scale)))


def nearest(
    x: float, bits: int, lo: float, hi: float, symmetric: bool = False
) -> Landing:
    """Return the code of `x` and the value it stands for.

    Errors: |error| <= scale / 2 for `x` in the range, up to float64 rounding.
    Raises: ValueError as `grid`.
    """
    g = grid(bits, lo, hi, symmetric)
    wanted = int(np.rint(np.float64(x) / g.scale)) + g.zero_point
    code = min(max(wanted, g.qmin), g.qmax)
    value = (code - g.zero_point) * g.scale
    error = value - x
    return Landing(
        code=code,
        value=value,
        error=error,
        error_steps=error / g.scale,
        scale=g.scale,
        max_error=g.scale / 2,
        saturated=code != wanted,
    )


def sentence(x: float, bits: int, lo: float, hi: float, symmetric: bool = False) -> str:
    """Return what the number line shows, in the words of its status line."""
    points = grid(bits, lo, hi, symmetric).points
    at = nearest(x, bits, lo, hi, symmetric)
    d = decimals(at.scale)
    head = (
        f"{len(points)} grid values from {fixed(points[0], d)} to "
        f"{fixed(points[-1], d)}, {fixed(at.scale, d)} apart. x = {fixed(x, 3)} gets "
        f"code {at.code}, which stands for {fixed(at.value, d)}. The error is "
        f"{fixed(at.error, d)}, or {fixed(at.error_steps, 2)} steps"
    )
    if abs(at.error) <= at.max_error * (1 + 1e-9):
        most = fixed(at.max_error, d)
        return f"{head}; inside the range it is never more than half a step, {most}."
    return f"{head}: x lies beyond the last grid value, and the code cannot follow."


def decimals(scale: float) -> int:
    """Return how many decimals show a step of `scale` with three digits, at most 6."""
    digits, unit = 2, 1.0
    while scale < unit and digits < 6:
        digits, unit = digits + 1, unit / 10
    return digits


def fixed(value: float, digits: int) -> str:
    """Return `value` with fixed decimals as JavaScript writes it.

    JavaScript rounds the exact binary value and sends ties away from 0; Python's own
    format sends them to even. A zero has no minus here.
    """
    exact = Decimal(float(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{abs(exact) if exact == 0 else exact:f}"


class NumberLine(anywidget.AnyWidget):
    """A number line to move a value on, with sliders for the grid.

    Args:
        bits: Width of a code, 1 to 8.
        lo: Lowest value of the group.
        hi: Highest value of the group.
        x: The value to round.
        symmetric: Whether the grid is the same on both sides of 0.

    Raises:
        ValueError: If the grid does not exist; see `grid`.
    """

    _esm = HERE / "number_line.js"
    _css = HERE / "widgets.css"

    bits = traitlets.Int(4).tag(sync=True)
    lo = traitlets.Float(-1.0).tag(sync=True)
    hi = traitlets.Float(1.0).tag(sync=True)
    x = traitlets.Float(0.3).tag(sync=True)
    symmetric = traitlets.Bool(False).tag(sync=True)

    def __init__(self, **values: Mapping[str, object]) -> None:
        settings = {"bits": 4, "lo": -1.0, "hi": 1.0, "symmetric": False} | values
        settings.pop("x", None)
        grid(**settings)  # a grid that does not exist is refused before it is drawn
        if settings["lo"] == settings["hi"]:
            raise ValueError("lo and hi are equal; a number line needs a range.")
        super().__init__(**values)

    def __repr__(self) -> str:
        """Return the state in words: what a viewer without widgets shows."""
        at = nearest(self.x, self.bits, self.lo, self.hi, self.symmetric)
        d = decimals(at.scale)
        return (
            f"Number line, {self.bits} bits over {self.lo:g} to {self.hi:g}: "
            f"{fixed(self.x, 3)} gets code {at.code}, {fixed(at.value, d)}"
        )
