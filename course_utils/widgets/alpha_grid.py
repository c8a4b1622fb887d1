"""AWQ's alpha on a slider: what the grid of the search found, and the factors it means.

The errors come from a search that has run; the factors are computed in JavaScript, so
the widget needs no kernel. A test holds them equal to `methods.awq.scales`.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import anywidget
import torch
import traitlets
from torch import Tensor

from course_utils.methods import awq
from course_utils.widgets.number_line import fixed

HERE = Path(__file__).parent
SHOWN = 48  # channels


def place_of(name: str, s_X: Tensor, found: awq.Search) -> dict[str, object]:
    """Return one place as the widget's state holds it.

    The magnitudes are up to 48 channels, loudest first, evenly over the ranks; the
    loudest and the quietest are among them. Errors are relative to alpha 0.
    """
    order = s_X.sort(descending=True).values
    ranks = torch.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().long()
    errors = list(found.losses.values())
    return {
        "name": name,
        "magnitudes": [float(f"{v:.6g}") for v in order[ranks].tolist()],
        "errors": [float(f"{e / errors[0]:.6g}") for e in errors],
    }


def factors(magnitudes: Sequence[float], alpha: float) -> list[float]:
    """Return the factors of `methods.awq.scales`, in the float64 of a browser."""
    s = [max(m**alpha, awq.SMALLEST) for m in magnitudes]
    middle = math.sqrt(max(s) * min(s))
    return [v / middle for v in s]


class AlphaGrid(anywidget.AnyWidget):
    """The error over alpha, and which factors each channel gets.

    Args:
        searched: Name of a place -> magnitudes of its inputs (cols,), and its search.
        place: Which place is shown first.

    Raises:
        ValueError: If there is no place, or none of that number.
    """

    _esm = HERE / "alpha_grid.js"
    _css = HERE / "alpha_sweep.css"

    places = traitlets.List().tag(sync=True)
    place = traitlets.Int(0).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)

    def __init__(
        self, searched: Mapping[str, tuple[Tensor, awq.Search]], *, place: int = 0
    ) -> None:
        if not 0 <= place < len(searched):
            raise ValueError(
                f"There are {len(searched)} places and {place} was asked for; give one "
                "search or more, and count places from 0."
            )
        places = [place_of(name, *found) for name, found in searched.items()]
        errors = places[place]["errors"]
        best = errors.index(min(errors))
        super().__init__(places=places, place=place, step=best)

    def factors(self) -> list[float]:
        """Return s of the channels shown."""
        shown = self.places[self.place]
        alpha = self.step / (len(shown["errors"]) - 1)
        return factors(shown["magnitudes"], alpha)

    def __repr__(self) -> str:
        """Return the state in words: what a viewer without widgets shows."""
        return f"AWQ's search. {sentence(self)}"


def sentence(widget: AlphaGrid) -> str:
    """Return what the widget shows, in the words of its status line."""
    shown = widget.places[widget.place]
    errors, last, s = shown["errors"], len(shown["errors"]) - 1, widget.factors()
    least = min(errors)
    return (
        f"{shown['name']}, alpha {fixed(widget.step / last, 2)}, step {widget.step} of "
        f"{last}. Output error: {fixed(100 * errors[widget.step], 0)} % of plain "
        f"rounding. The least is {fixed(100 * least, 0)} %, at alpha "
        f"{fixed(errors.index(least) / last, 2)}. The loudest channel is multiplied by "
        f"{fixed(s[0], 2)}, the quietest by {fixed(s[-1], 2)}."
    )
