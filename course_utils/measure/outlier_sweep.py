"""The largest value of every channel, layer by layer.

    amax[h] = largest |x[t, h]| over the tokens t

It is taken twice: over all tokens, and over all but the first of each window. Many
models use the first token as a place to rest attention on, and give it values that no
other token has. What is typical of a tensor is the median of its channels' amax.

In a record, SITE_LAYER_cCHANNEL is the largest value of one of the three largest
channels, and SITE_LAYER_rest_cCHANNEL the same without first tokens, for the two
largest; _median and _rest_median belong to the channel in the middle, and _over counts
the channels that reach the threshold.

Left out: which token it was. A lesson looks at tokens on one window.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from course_utils.measure.inference import windows
from course_utils.models.activations import watched
from course_utils.models.evaluating import evaluating

TOP, TOP_REST = 3, 2
KEY = re.compile(r"([a-z]+)_(\d\d)_(?:(rest_)?c(\d+)|(median|rest_median|over))")


@dataclass(frozen=True)
class Peaks:
    """The largest magnitude of each channel at one place of the model.

    Attributes:
        amax: Over all tokens, (channels,).
        rest: Over all tokens but the first of each window, (channels,).
    """

    amax: Tensor
    rest: Tensor

    def joined(self, other: "Peaks") -> "Peaks":
        """Return the peaks over the tokens of both."""
        return Peaks(
            torch.maximum(self.amax, other.amax), torch.maximum(self.rest, other.rest)
        )

    def over(self, threshold: float) -> int:
        """Return the number of channels that reach the threshold in any token."""
        return int((self.amax >= threshold).sum())


def peaks_of(x: Tensor) -> Peaks:
    """Return the peaks of the activations of windows.

    Shapes: x (batch, tokens, channels), tokens at least 2.
    Raises: ValueError if x has another number of axes or a single token.
    """
    if x.ndim != 3 or x.shape[1] < 2:
        raise ValueError(
            f"Give (batch, tokens, channels) with 2 tokens or more, got "
            f"{tuple(x.shape)}."
        )
    magnitude = x.detach().float().abs()
    return Peaks(magnitude.amax(dim=(0, 1)), magnitude[:, 1:].amax(dim=(0, 1)))


def sweep(
    model: PreTrainedModel, tokens: Tensor, *, context: int = 512
) -> dict[tuple[str, int], Peaks]:
    """Return the peaks of every site and layer on a text.

    Shapes: tokens (n,), read in windows of `context` that do not overlap.
    Raises: ValueError as `watched` and `windows` do.
    """
    found: dict[tuple[str, int], Peaks] = {}

    def see(site: str, layer: int, x: Tensor) -> None:
        new = peaks_of(x)
        old = found.get((site, layer))
        found[site, layer] = new if old is None else old.joined(new)

    with evaluating(model), watched(model, see):
        for window in windows(tokens, context=context):
            # The outputs are not needed, so logits of one token are enough.
            model(window[None].to(model.device), use_cache=False, logits_to_keep=1)
    return found


def sweep_values(
    found: dict[tuple[str, int], Peaks], threshold: float
) -> dict[str, float]:
    """Return a sweep as numbers by key, as a record holds it; see this module."""
    values = {}
    for (site, layer), peaks in sorted(found.items()):
        key = f"{site}_{layer:02d}"
        plain = {
            f"{key}_median": peaks.amax.median().item(),
            f"{key}_rest_median": peaks.rest.median().item(),
        }
        plain |= _largest(f"{key}_c", peaks.amax, TOP)
        plain |= _largest(f"{key}_rest_c", peaks.rest, TOP_REST)
        values |= {name: float(f"{value:.5g}") for name, value in plain.items()}
        values[f"{key}_over"] = peaks.over(threshold)
    return values


def _largest(prefix: str, amax: Tensor, n: int) -> dict[str, float]:
    """Return the n largest channels, by prefix and channel."""
    values, channels = amax.topk(n)
    pairs = zip(channels.tolist(), values.tolist(), strict=True)
    return {f"{prefix}{channel}": value for channel, value in pairs}


def stored_sweep(values: Mapping[str, float]) -> dict[str, list[dict]]:
    """Return the sweep that `sweep_values` wrote: site -> one entry for each layer.

    An entry holds "median", "rest_median", "over", "channels" and, without the first
    tokens, "rest"; the last two are pairs of channel and largest value, descending.
    Values with other keys are passed over.
    """
    found: dict[str, dict[int, dict]] = {}
    for key, value in values.items():
        if not (match := KEY.fullmatch(key)):
            continue
        site, layer, rest, channel, name = match.groups()
        empty = {"channels": [], "rest": []}
        entry = found.setdefault(site, {}).setdefault(int(layer), empty)
        if channel is None:
            entry[name] = value
        else:
            entry["rest" if rest else "channels"].append([int(channel), value])
    for entry in (e for site in found.values() for e in site.values()):
        for name in ("channels", "rest"):
            entry[name].sort(key=lambda pair: -pair[1])
    return {site: [by[i] for i in sorted(by)] for site, by in found.items()}
