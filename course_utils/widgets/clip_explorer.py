"""Clip explorer: move the ends of a range and see the error split in two.

A histogram of real weights, the grid that covers a part of their range, and the error
as rounding (weights inside the grid) and clipping (weights beyond it). The widget
computes in JavaScript, so it needs no kernel. The functions here are the same
arithmetic in float64; a test compares both inside a browser, to the last bit.

The ends of the range are given as percents of the data's own ends, the ratio of
`course_utils.methods.clipping`. Both may be moved alone there, which the method's
search does not do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anywidget
import numpy as np
import traitlets

from course_utils.widgets.number_line import decimals, fixed, grid

HERE = Path(__file__).parent
SMALLEST = 5  # percent of the data's range
MOST = 4096  # weights: they travel in the widget's state


@dataclass(frozen=True)
class Split:
    """The error of a row of weights, in two parts.

    Attributes:
        rounding: Sum of squared errors of the weights inside the grid.
        clipping: Sum of squared errors of the weights beyond its last values.
        clipped: How many lie beyond.
        n: How many weights there are.
        scale: The step.
        zero_point: The code of 0.
        low: Lowest grid value.
        high: Highest grid value.
    """

    rounding: float
    clipping: float
    clipped: int
    n: int
    scale: float
    zero_point: int
    low: float
    high: float

    @property
    def total(self) -> float:
        """Sum of the squared errors of all weights."""
        return self.rounding + self.clipping

    @property
    def rmse(self) -> float:
        """Root of the mean squared error."""
        return float(np.sqrt(self.total / self.n))


def split(
    values: Sequence[float],
    bits: int,
    low_percent: int,
    high_percent: int,
    symmetric: bool = False,
) -> Split:
    """Return the error of `values` on the grid of a part of their range.

    Raises: ValueError as `number_line.grid` does.
    """
    v = np.asarray(values, dtype=np.float64)
    lo = min(v.min(), 0.0) * low_percent / 100
    hi = max(v.max(), 0.0) * high_percent / 100
    g = grid(bits, lo, hi, symmetric)
    wanted = np.rint(v / g.scale) + g.zero_point
    code = np.clip(wanted, g.qmin, g.qmax)
    error = (code - g.zero_point) * g.scale - v
    beyond = code != wanted
    # In order, one after the other, as JavaScript adds: numpy's own sum adds in pairs.
    rounding, clipping = (
        float(np.cumsum(np.where(part, error * error, 0.0))[-1])
        for part in (~beyond, beyond)
    )
    ends = [(q - g.zero_point) * g.scale for q in (g.qmin, g.qmax)]
    return Split(
        rounding, clipping, int(beyond.sum()), len(v), g.scale, g.zero_point, *ends
    )


def best_percent(values: Sequence[float], bits: int, symmetric: bool = False) -> int:
    """Return the percent of both ends that has the least error, the largest of equals.

    Raises: ValueError as `split` does.
    """
    errors = {
        percent: split(values, bits, percent, percent, symmetric).total
        for percent in range(100, SMALLEST - 1, -1)
    }
    return min(errors, key=errors.get)


def sentence(
    values: Sequence[float],
    bits: int,
    low_percent: int,
    high_percent: int,
    symmetric: bool = False,
) -> str:
    """Return what the explorer shows, in the words of its status line."""
    now = split(values, bits, low_percent, high_percent, symmetric)
    whole = split(values, bits, 100, 100, symmetric)
    d = decimals(now.scale)
    head = (
        f"{bits} bits, grid from {fixed(now.low, d)} to {fixed(now.high, d)} in steps "
        f"of {fixed(now.scale, d)}, zero point {now.zero_point}. {now.clipped} of "
        f"{now.n} weights lie beyond it. Root mean squared error "
        f"{fixed(now.rmse, d + 1)}"
    )
    if now.total:
        share = 100 * now.rounding / now.total
        head += f", {fixed(share, 0)} % of its square from rounding"
        head += f" and {fixed(100 - share, 0)} % from clipping"
    return f"{head}. With the data's own range it is {fixed(whole.rmse, d + 1)}."


class ClipExplorer(anywidget.AnyWidget):
    """A histogram with a grid over it, and sliders for the ends of its range.

    Args:
        values: The weights that share one scale, at most 4096; kept to 5 digits.
        settings: bits (1 to 8), low_percent and high_percent (5 to 100) of the
            data's own ends, symmetric.

    Raises:
        ValueError: If the values have no range or the grid does not exist.
    """

    _esm = HERE / "clip_explorer.js"
    _css = HERE / "widgets.css"

    values = traitlets.List(traitlets.Float()).tag(sync=True)
    bits = traitlets.Int(4).tag(sync=True)
    low_percent = traitlets.Int(100).tag(sync=True)
    high_percent = traitlets.Int(100).tag(sync=True)
    symmetric = traitlets.Bool(False).tag(sync=True)

    def __init__(self, values: Sequence[float], **settings: int) -> None:
        kept = [float(f"{float(v):.5g}") for v in values]
        if not 1 <= len(kept) <= MOST:
            raise ValueError(f"Give 1 to {MOST} values, got {len(kept)}.")
        if not np.isfinite(kept).all() or not any(kept):
            raise ValueError("The values must be finite and not all zero.")
        for name in ("low_percent", "high_percent"):
            if not SMALLEST <= settings.get(name, 100) <= 100:
                raise ValueError(
                    f"{name} must be {SMALLEST} to 100, got {settings[name]}."
                )
        chosen = {"bits": 4, "symmetric": False} | settings
        grid(chosen["bits"], -1.0, 1.0, chosen["symmetric"])
        super().__init__(values=kept, **settings)

    def settings(self) -> dict:
        """Return the settings by name, the values left out."""
        names = ("bits", "low_percent", "high_percent", "symmetric")
        return {name: getattr(self, name) for name in names}

    def split(self) -> Split:
        """Return the error under the present settings."""
        return split(self.values, **self.settings())

    def __repr__(self) -> str:
        """Return the state in words: what a viewer without widgets shows."""
        return f"Clipping. {sentence(self.values, **self.settings())}"
