"""Codebook view: pairs of real weights, a grid, and a codebook that leaves it.

The codebook starts as the grid: 2**bits values on either axis, evenly from the lowest
to the highest number. Each turn is one of k-means: every pair takes the nearest point,
every point moves to the mean of its pairs. Points without a pair stay.

The widget computes in JavaScript, so it needs no kernel. The functions here are the
same arithmetic in float64; a test compares both inside a browser, to the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anywidget
import numpy as np
import traitlets

from course_utils.widgets.number_line import fixed

HERE = Path(__file__).parent
MOST = 600  # pairs: they travel in the widget's state
BITS, TURNS = 3, 20  # at most
Pairs = Sequence[Sequence[float]]


@dataclass(frozen=True)
class View:
    """A codebook and what it makes of the pairs.

    Attributes:
        points: The codebook, a list of pairs.
        codes: The number of the point of each pair.
        rmse: Root of the mean squared error of a weight.
        unused: How many points no pair is nearest to.
    """

    points: list[tuple[float, float]]
    codes: list[int]
    rmse: float
    unused: int


def grid(pairs: Pairs, bits: int) -> list[tuple[float, float]]:
    """Return the points of the grid, row by row from the lowest."""
    numbers = [v for pair in pairs for v in pair]
    low, high = min(numbers), max(numbers)
    step = (high - low) / (2**bits - 1)
    values = [low + k * step for k in range(2**bits)]
    return [(x, y) for y in values for x in values]


def nearest(pairs: Pairs, points: Pairs) -> tuple[list[int], float]:
    """Return the number of the nearest point of each pair, and the sum of squares.

    The first of equally near points is taken.
    """
    codes, total = [], 0.0
    for x, y in pairs:
        squares = [(x - a) * (x - a) + (y - b) * (y - b) for a, b in points]
        least = min(squares)
        codes.append(squares.index(least))
        total += least
    return codes, total


def moved(pairs: Pairs, points: Pairs, codes: Sequence[int]) -> list:
    """Return the points, each at the mean of its pairs."""
    sums = [[0.0, 0.0, 0] for _ in points]
    for (x, y), k in zip(pairs, codes, strict=True):
        sums[k][0] += x
        sums[k][1] += y
        sums[k][2] += 1
    return [
        (a / n, b / n) if n else tuple(point)
        for point, (a, b, n) in zip(points, sums, strict=True)
    ]


def view(pairs: Pairs, bits: int, turns: int) -> View:
    """Return the codebook after so many turns."""
    points = grid(pairs, bits)
    codes, total = nearest(pairs, points)
    for _ in range(turns):
        points = moved(pairs, points, codes)
        codes, total = nearest(pairs, points)
    rmse = float(np.sqrt(total / (2 * len(pairs))))
    return View(points, codes, rmse, len(points) - len(set(codes)))


def sentence(pairs: Pairs, bits: int, turns: int) -> str:
    """Return what the view shows, in the words of its status line."""
    now, before = view(pairs, bits, turns), view(pairs, bits, 0)
    head = (
        f"{len(now.points)} points for {len(pairs)} pairs, {bits} "
        f"bit{'' if bits == 1 else 's'} a weight, {turns} "
        f"turn{'' if turns == 1 else 's'} of k-means. Root mean squared error "
        f"{fixed(now.rmse, 4)}; that of the grid is {fixed(before.rmse, 4)}."
    )
    return f"{head} {now.unused} of the points have no pair."


class CodebookView(anywidget.AnyWidget):
    """Pairs of weights with sliders for the bits and the turns of k-means.

    Args:
        pairs: At most 600, kept to 4 digits.
        bits: For a weight, 1 to 3.
        turns: Of k-means, 0 to 20; 0 is the grid.

    Raises:
        ValueError: If the pairs are none, too many or not finite, all their numbers
            are equal, or a setting is out of range.
    """

    _esm = HERE / "codebook_view.js"
    _css = HERE / "widgets.css"

    pairs = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    bits = traitlets.Int(2).tag(sync=True)
    turns = traitlets.Int(0).tag(sync=True)

    def __init__(self, pairs: Pairs, *, bits: int = 2, turns: int = 0) -> None:
        kept = [[float(f"{float(v):.4g}") for v in pair] for pair in pairs]
        if not 1 <= len(kept) <= MOST or any(len(pair) != 2 for pair in kept):
            raise ValueError(
                f"Give 1 to {MOST} pairs of numbers; there are {len(kept)} rows."
            )
        if not np.isfinite(kept).all() or np.ptp(kept) == 0:
            raise ValueError("The numbers must be finite and not all equal.")
        for name, value, low, high in (
            ("bits", bits, 1, BITS),
            ("turns", turns, 0, TURNS),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} must be {low} to {high}, got {value}.")
        super().__init__(pairs=kept, bits=bits, turns=turns)

    def __repr__(self) -> str:
        """Return the state in words: what a viewer without widgets shows."""
        return f"Codebook. {sentence(self.pairs, self.bits, self.turns)}"
