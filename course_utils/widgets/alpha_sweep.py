"""SmoothQuant's alpha on a slider: channels of a real layer, and the whole model.

The channels are computed in JavaScript, so the widget needs no kernel; a test holds
its factors equal to `methods.smoothquant`. What the whole model loses comes from the
record `smoothquant` and travels in the widget's state.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

import anywidget
import torch
import traitlets
from torch import Tensor

from course_utils.measure import records
from course_utils.widgets.number_line import fixed

HERE = Path(__file__).parent
ALPHAS = tuple(k / 10 for k in range(11))
SHOWN = 48  # channels


def chosen(act_amax: Tensor, w_amax: Tensor) -> tuple[list[float], list[float]]:
    """Return up to 48 channels, largest input first, evenly over the ranks.

    Shapes: act_amax, w_amax (cols,).
    Raises: ValueError if they are not two rows of equal length with values.
    """
    if act_amax.ndim != 1 or act_amax.shape != w_amax.shape or not len(act_amax):
        raise ValueError(
            f"act_amax has shape {tuple(act_amax.shape)} and w_amax "
            f"{tuple(w_amax.shape)}; give one maximum of each for every channel."
        )
    order = act_amax.argsort(descending=True, stable=True)
    n = min(SHOWN, len(order))
    ranks = torch.linspace(0, len(order) - 1, n).round().long()
    picked = [t[order[ranks]].tolist() for t in (act_amax, w_amax)]
    # Six digits are enough to draw, and the same number in both languages.
    return tuple([float(f"{v:.6g}") for v in row] for row in picked)


def sweep() -> dict[str, dict[str, float]]:
    """Return the record's settings with a scale for each token, by name.

    Names are those of `measure.smoothquant_sweep`; without a record there are none.
    """
    try:
        values = records.read("smoothquant")["values"]
    except records.MissingRecordError:
        return {}
    names = [key.removeprefix("ratio_") for key in values if key.startswith("ratio_")]
    return {n: _setting(values, n) for n in names if n.startswith("token")}


def _setting(values: dict[str, records.Value], name: str) -> dict[str, float]:
    """Return perplexity, its ratio to the baseline with interval, and KL."""
    ratio = values[f"ratio_{name}"]
    return {
        "ppl": values[f"ppl_{name}"]["value"],
        "ratio": ratio["value"],
        "low": ratio["spread"]["low"],
        "high": ratio["spread"]["high"],
        "kl": values[f"kl_{name}"]["value"],
    }


def spread(values: Sequence[float]) -> float:
    """Return the largest value over the median; 0 where the median is 0."""
    middle = statistics.median(values)
    return max(values) / middle if middle else 0.0


def factors(act: Sequence[float], w: Sequence[float], alpha: float) -> list[float]:
    """Return the factors of `methods.smoothquant`, in the float64 of a browser."""
    return [
        x**alpha / v ** (1 - alpha) if x > 0 and v > 0 else 1.0
        for x, v in zip(act, w, strict=True)
    ]


class AlphaSweep(anywidget.AnyWidget):
    """Largest inputs and weights of channels under alpha, and the model's loss.

    Args:
        act_amax: Largest input of each channel of a layer, (cols,).
        w_amax: Largest weight of each of its columns, (cols,).
        alpha: Where the slider starts, a tenth from 0 to 1.

    Raises:
        ValueError: If the maxima do not fit, or alpha is no tenth.
    """

    _esm = HERE / "alpha_sweep.js"
    _css = HERE / "alpha_sweep.css"

    act = traitlets.List().tag(sync=True)
    w = traitlets.List().tag(sync=True)
    results = traitlets.Dict().tag(sync=True)
    alpha = traitlets.Float(0.5).tag(sync=True)

    def __init__(self, act_amax: Tensor, w_amax: Tensor, *, alpha: float = 0.5) -> None:
        if alpha not in ALPHAS:
            raise ValueError(f"Give alpha as a tenth from 0 to 1; got {alpha}.")
        act, w = chosen(act_amax.detach(), w_amax.detach())
        super().__init__(act=act, w=w, results=sweep(), alpha=alpha)

    def channels(self) -> tuple[list[float], list[float]]:
        """Return the maxima of inputs and weights after smoothing."""
        s = factors(self.act, self.w, self.alpha)
        act = [x / s_j for x, s_j in zip(self.act, s, strict=True)]
        return act, [v * s_j for v, s_j in zip(self.w, s, strict=True)]

    def __repr__(self) -> str:
        """Return the state in words: what a viewer without widgets shows."""
        return f"SmoothQuant. {sentence(self)}"


def _loss(found: dict[str, float] | None) -> str:
    """Return what the whole model loses in one setting, in words."""
    if found is None:
        return "not measured at this setting"
    ppl, kl = fixed(found["ppl"], 2), fixed(found["kl"], 4)
    ratio, low, high = (fixed(found[k], 3) for k in ("ratio", "low", "high"))
    return f"perplexity {ppl}, {ratio} times float32 ({low} to {high}), KL {kl} nats"


def sentence(widget: AlphaSweep) -> str:
    """Return what the widget shows, in the words of its status line."""
    name = f"token_norms_{round(100 * widget.alpha)}"
    smoothed, rough = (_loss(widget.results.get(n)) for n in (name, "token_plain"))
    before, after = (widget.act, widget.w), widget.channels()
    (x0, w0), (x1, w1) = ([fixed(spread(v), 1) for v in row] for row in (before, after))
    return (
        f"alpha {fixed(widget.alpha, 1)}. Whole model in W8A8, one scale per token, "
        f"smoothed behind norms: {smoothed}. Without smoothing: {rough}. In the layer "
        f"shown, largest over median channel: inputs {x1} "
        f"(before {x0}), weights {w1} (before {w0})."
    )
