"""Rotation explorer: turn two channels of an input and see the step of their grid.

Every token is a point, its two values the coordinates. Both channels share one
symmetric grid that covers the largest coordinate. Turning all points about 0 changes no
length, and with two channels lowers the largest coordinate by a factor of at most the
root of 2. The widget computes in JavaScript, so it needs no kernel. The functions here
are the same arithmetic in float64; a test compares both inside a browser.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anywidget
import numpy as np
import traitlets

from course_utils.widgets.number_line import decimals, fixed

HERE = Path(__file__).parent
MOST = 256  # tokens: they travel in the widget's state
ANGLES, BITS = range(91), range(2, 9)

Pairs = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Turned:
    """What a grid over the turned points looks like.

    Attributes:
        peak: Largest coordinate over the root mean square of all of them.
        step: Of the grid.
        rmse: Root mean squared error of the rounded coordinates.
    """

    peak: float
    step: float
    rmse: float


def turn(pairs: Pairs, angle: int) -> np.ndarray:
    """Return the points turned about 0 by `angle` degrees.

    Shapes: (tokens, 2), float64.
    """
    c, s = math.cos(angle * math.pi / 180), math.sin(angle * math.pi / 180)
    a, b = np.asarray(pairs, dtype=np.float64).T
    return np.stack([c * a - s * b, s * a + c * b], axis=1)


def turned(pairs: Pairs, angle: int, bits: int) -> Turned:
    """Return peak, step and error of the turned points on one symmetric grid."""
    v = turn(pairs, angle).ravel()
    qmax = 2 ** (bits - 1) - 1
    largest = float(np.abs(v).max())
    step = largest / qmax
    error = np.rint(v / step) * step - v
    # In order, one after the other, as JavaScript adds.
    squares, errors = (float(np.cumsum(x * x)[-1]) for x in (v, error))
    n = len(v)
    return Turned(
        largest / math.sqrt(squares / n), step, math.sqrt(max(errors, 0.0) / n)
    )


def best_angle(pairs: Pairs, bits: int) -> int:
    """Return the whole degree with the least error, the smallest of equals."""
    return min(ANGLES, key=lambda angle: turned(pairs, angle, bits).rmse)


def sentence(pairs: Pairs, angle: int, bits: int) -> str:
    """Return what the explorer shows, in the words of its status line."""
    now, start = turned(pairs, angle, bits), turned(pairs, 0, bits)
    d = decimals(now.step)
    return (
        f"Turned by {angle} degrees, {bits} bits: the largest value is "
        f"{fixed(now.peak, 2)} times the root mean square, the step "
        f"{fixed(now.step, d)}, the root mean squared error {fixed(now.rmse, d + 1)}. "
        f"As it is they are {fixed(start.peak, 2)}, {fixed(start.step, d)} and "
        f"{fixed(start.rmse, d + 1)}."
    )


class RotationExplorer(anywidget.AnyWidget):
    """Points of two channels that can be turned, with the grid they need.

    Args:
        pairs: Values of two channels, a pair a token, at most 256; kept to 5 digits.
        angle: Degrees, 0 to 90.
        bits: Of the grid, 2 to 8.

    Raises:
        ValueError: If the points have no range or a setting is out of range.
    """

    _esm = HERE / "rotation_explorer.js"
    _css = HERE / "widgets.css"

    pairs = traitlets.List().tag(sync=True)
    angle = traitlets.Int(0).tag(sync=True)
    bits = traitlets.Int(4).tag(sync=True)

    def __init__(self, pairs: Pairs, *, angle: int = 0, bits: int = 4) -> None:
        points = np.asarray(pairs, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or not 1 <= len(points) <= MOST:
            raise ValueError(
                f"Give 1 to {MOST} pairs of values, got shape {points.shape}."
            )
        if not np.isfinite(points).all() or not points.any():
            raise ValueError("The values must be finite and not all zero.")
        for name, value, allowed in (("angle", angle, ANGLES), ("bits", bits, BITS)):
            if value not in allowed:
                raise ValueError(
                    f"{name} must be {allowed[0]} to {allowed[-1]}, got {value}."
                )
        kept = [[float(f"{v:.5g}") for v in pair] for pair in points.tolist()]
        super().__init__(pairs=kept, angle=angle, bits=bits)

    def __repr__(self) -> str:
        """Return the state in words: what a viewer without widgets shows."""
        return f"Rotation. {sentence(self.pairs, self.angle, self.bits)}"
