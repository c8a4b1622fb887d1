"""The largest activations of a model, by place, layer and channel.

The numbers are the stored sweep of the record `outliers`; they travel in the widget's
state, so it needs no kernel. The arithmetic is done in JavaScript and here, and a test
compares both for every place and layer inside a browser.
"""

import math
from pathlib import Path

import anywidget
import traitlets

from course_utils.measure import records
from course_utils.measure.outlier_sweep import stored_sweep
from course_utils.widgets.number_line import fixed

HERE = Path(__file__).parent
RECORD = "outliers"
LARGEST_CODE = 127

# Place in the record -> what it is called in a sentence.
PLACES = {
    "stream": "the residual stream behind",
    "attention": "the input of the attention of",
    "output": "the input of the output projection of",
    "mlp": "the input of the MLP of",
    "down": "the input of the last projection of",
}


def sweep_and_channels() -> tuple[dict[str, list[dict]], dict[str, int]]:
    """Return the stored sweep and the number of channels of each place.

    Raises: RecordError if there is no such record.
    """
    values = records.read(RECORD)["values"]
    sweep = stored_sweep({key: entry["value"] for key, entry in values.items()})
    return sweep, {site: values[f"{site}_00_over"]["n"] for site in sweep}


def readable(x: float) -> str:
    """Return a magnitude with about three digits, and commas from a thousand on."""
    if x >= 1000:
        return f"{math.floor(x + 0.5):,}"
    return fixed(x, 0 if x >= 100 else 1 if x >= 10 else 2)


def levels(largest: float, middle: float) -> int:
    """Return how many values of an 8-bit grid lie within the middle channel's range.

    The grid is symmetric with one step, largest / 127, for all channels.
    """
    return 2 * math.floor(LARGEST_CODE * middle / largest + 0.5) + 1


def sentence(entry: dict, *, site: str, layer: int, rest: bool, n_channels: int) -> str:
    """Return what the widget shows, in the words of its status line.

    Args:
        entry: Of one place and layer, as `outlier_sweep.stored_sweep` returns it.
        site: The place.
        layer: The layer.
        rest: Whether the first token of each window is left out.
        n_channels: Channels of the place.
    """
    pairs = entry["rest" if rest else "channels"]
    middle = entry["rest_median" if rest else "median"]
    (channel, largest), *others = pairs
    also = " and ".join(f"channel {c} with {readable(v)}" for c, v in others)
    n = levels(largest, middle)
    left_out = ", first tokens left out" if rest else ""
    step, times = readable(largest / LARGEST_CODE), readable(largest / middle)
    text = (
        f"In {PLACES[site]} layer {layer}{left_out}, channel {channel} has the largest "
        f"value, {readable(largest)}, then come {also}. The channel in the middle "
        f"reaches {readable(middle)}: the largest is {times} times "
        f"that. One step of 8 bits for all would be {step}, and the channel in the "
        f"middle would have {n} of {2 * LARGEST_CODE + 1} values."
    )
    if rest:
        return text
    reach = "channel reaches" if entry["over"] == 1 else "channels reach"
    return f"{text} {entry['over']} of {n_channels} {reach} 6."


class OutlierExplorer(anywidget.AnyWidget):
    """The largest and the middle channel of every layer, and one layer in words.

    Args:
        site: One of `PLACES`.
        layer: The layer shown in words.
        rest: Whether the first token of each window is left out.

    Raises:
        ValueError: If there is no such place or layer.
    """

    _esm = HERE / "outlier_explorer.js"
    _css = HERE / "widgets.css"

    sweep = traitlets.Dict().tag(sync=True)
    channels = traitlets.Dict().tag(sync=True)
    places = traitlets.Dict().tag(sync=True)
    site = traitlets.Unicode("stream").tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    rest = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self, site: str = "stream", layer: int = 15, *, rest: bool = False
    ) -> None:
        sweep, channels = sweep_and_channels()
        if site not in PLACES:
            raise ValueError(f"No place {site!r}; choose one of {', '.join(PLACES)}.")
        if layer not in range(len(sweep[site])):
            raise ValueError(
                f"No layer {layer}; the sweep has layers 0 to {len(sweep[site]) - 1}."
            )
        super().__init__(
            sweep=sweep,
            channels=channels,
            places=dict(PLACES),
            site=site,
            layer=layer,
            rest=rest,
        )

    def __repr__(self) -> str:
        """Return the state in words: what a viewer without widgets shows."""
        words = sentence(
            self.sweep[self.site][self.layer],
            site=self.site,
            layer=self.layer,
            rest=self.rest,
            n_channels=self.channels[self.site],
        )
        return f"Outliers. {words}"
