"""GPTQ on a small slice of a layer: step through its columns and see what moves.

The widget computes in JavaScript, so it needs no kernel; the weights and the matrix of
the inputs travel in its state. `gptq_slice` is the same arithmetic in float64: a test
compares both inside a browser, to the last bit.
"""

from collections.abc import Sequence
from pathlib import Path

import anywidget
import numpy as np
import traitlets

from course_utils.widgets.gptq_slice import Matrix, State, states
from course_utils.widgets.number_line import fixed

HERE = Path(__file__).parent
BITS = (2, 3, 4, 8)
MOST_ROWS, MOST_COLS = 8, 12
STYLES = ("widgets.css", "gptq_steps.css")


def sentence(
    weights: Matrix, hessian: Matrix, *, settings: dict[str, int | float | bool]
) -> str:
    """Return what the widget shows, in the words of its status line.

    Args:
        weights: (rows, n).
        hessian: (n, n).
        settings: bits, damping, compensate and step.

    Raises:
        ValueError: As `states`.
    """
    bits, damping = settings["bits"], settings["damping"]
    step, n = settings["step"], len(hessian)
    ours = states(weights, hessian, bits, damping, settings["compensate"])
    plain = states(weights, hessian, bits, damping, False)
    loss, rounded = ours[step].loss, plain[step].loss
    text = f"{step} of {n} columns have codes of {bits} bits. "
    if not settings["compensate"]:
        return text + f"Round to nearest: the output has lost {small(loss)}."
    text += f"The output has lost {small(loss)}"
    if step and rounded > 0:
        text += f", {fixed(100 * loss / rounded, 0)} % of what rounding to nearest"
        text += f" has lost here ({small(rounded)})"
    if step < n:
        text += f". Free columns left: {n - step}"
        text += "; their weights have moved" if step else ""
    return text + "."


def small(value: float) -> str:
    """Return a number of any size with three digits, in units of one millionth."""
    millionths = 1e6 * value
    digits = 0 if millionths >= 100 else 1 if millionths >= 10 else 2
    return f"{fixed(millionths, digits)} millionths"


def _styles() -> str:
    """Return what all widgets share and what this one adds."""
    return "".join((HERE / name).read_text(encoding="utf-8") for name in STYLES)


class GptqSteps(anywidget.AnyWidget):
    """A slice of a layer that is quantized column by column.

    Args:
        weights: (rows, columns) of a layer, at most 8 by 12.
        hessian: (columns, columns): the mean over tokens of x x' for these inputs.
        bits: Width of a code: 2, 3, 4 or 8.
        damping: Part of the mean diagonal that is added before inverting.
        compensate: False rounds to nearest.
        step: Columns that have their codes, from 0 on.

    Raises:
        ValueError: If shapes or settings do not fit, or the matrix has no inverse.
    """

    _esm = HERE / "gptq_steps.js"
    _css = _styles()

    weights = traitlets.List().tag(sync=True)
    hessian = traitlets.List().tag(sync=True)
    bits = traitlets.Int(3).tag(sync=True)
    damping = traitlets.Float(0.01).tag(sync=True)
    compensate = traitlets.Bool(True).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)

    def __init__(
        self, weights: Sequence, hessian: Sequence, **settings: object
    ) -> None:
        rows, square = _lists(weights), _lists(hessian)
        _check_shapes(rows, square)
        _check_settings(settings, len(square))
        super().__init__(weights=rows, hessian=square, **settings)
        self.states()  # a matrix without an inverse is refused before it is drawn

    def settings(self) -> dict[str, int | float | bool]:
        """Return the settings by name."""
        return {name: getattr(self, name) for name in _SETTINGS}

    def states(self) -> list[State]:
        """Return the slice before the first column and after each one."""
        s = self.settings()
        return states(
            self.weights, self.hessian, s["bits"], s["damping"], s["compensate"]
        )

    def __repr__(self) -> str:
        """Return the state in words: what a viewer without widgets shows."""
        said = sentence(self.weights, self.hessian, settings=self.settings())
        return f"GPTQ column by column. {said}"


_SETTINGS = ("bits", "damping", "compensate", "step")


def _lists(matrix: Sequence) -> Matrix:
    """Return a matrix as lists of floats.

    Raises: ValueError if it is no matrix of finite numbers.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError("Give matrices of finite numbers with rows and columns.")
    return values.tolist()


def _check_shapes(weights: Matrix, hessian: Matrix) -> None:
    """Raise ValueError if the two do not belong together or are too large to show."""
    rows, cols = len(weights), len(weights[0])
    if [len(hessian), len(hessian[0])] != [cols, cols]:
        raise ValueError(
            f"The weights have {cols} columns, so the matrix of the inputs must be "
            f"({cols}, {cols}); got ({len(hessian)}, {len(hessian[0])})."
        )
    if rows > MOST_ROWS or cols > MOST_COLS:
        raise ValueError(
            f"At most {MOST_ROWS} rows and {MOST_COLS} columns can be shown; got "
            f"{rows} and {cols}. Give a slice."
        )


def _check_settings(settings: dict[str, object], cols: int) -> None:
    """Raise ValueError for a setting that does not exist or is out of range."""
    unknown = sorted(set(settings) - set(_SETTINGS))
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)} is no setting; the settings are "
            f"{', '.join(_SETTINGS)}."
        )
    if settings.get("bits", 3) not in BITS:
        raise ValueError(f"bits must be one of {BITS}, got {settings['bits']}.")
    if not 0 <= settings.get("damping", 0.01) <= 1000:
        raise ValueError(f"damping must be 0 to 1000, got {settings['damping']}.")
    if not 0 <= settings.get("step", 0) <= cols:
        raise ValueError(f"step must be 0 to {cols}, got {settings['step']}.")
