"""The answer to "will it fit?": `python -m course_utils memory MODEL`.

The maths is `measure.footprint`; this module finds the card and words the result. It
downloads nothing, so it also answers for gated models, and it imports no torch, so
it answers at once.

This module is a tool above the layers of the package and may import any of them.
"""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from course_utils.measure.footprint import DEVICES, Footprint, footprint
from course_utils.models.card import CARDS, ModelCard, similar

GB = 10**9
GIB = 2**30
WIDTH = 78
LEFT_OUT = "The rest is not counted: activations and the CUDA context."


@dataclass(frozen=True)
class Answer:
    """A card, the settings that `footprint` was asked with, and what it counted."""

    card: ModelCard
    settings: Mapping[str, float | None]
    counted: Footprint


def find(name: str) -> ModelCard:
    """Return the card of a model by its name, its owner and case left out or not.

    Raises: ValueError if there is none; the message lists the names.
    """
    if name in CARDS:
        return CARDS[name]
    wanted = name.lower()
    for known, card in CARDS.items():
        if wanted in (known.lower(), known.lower().rpartition("/")[2]):
            return card
    raise ValueError(f"No model card is named {name!r}; there are {', '.join(CARDS)}.")


def answer(name: str, **settings: float | None) -> Answer:
    """Count the memory of a model; settings are those of `footprint`.

    Raises: ValueError for an unknown model, and as `footprint` does.
    """
    card = find(name)
    return Answer(card, settings, footprint(card, **settings))


def _rows(found: Answer) -> dict[str, int]:
    """Return label -> bytes, in the order in which they are printed."""
    counted, setting = found.counted, found.settings
    rank = setting["rank"]
    use = "in training" if setting["training"] else "in use"
    rows = {
        f"linear weights, {setting['bits']:g} bits": counted.weights,
        "scales and zero points": counted.scales,
        f"other parameters, {setting['keep_bits']:g} bits": counted.kept,
        f"key-value cache, {setting['kv_bits']:g} bits": counted.kv_cache,
        f"adapters of rank {rank}, {use}": counted.adapters,
    }
    present = {label: size for label, size in rows.items() if size}
    return {**present, "total": counted.total}


def _table(rows: Mapping[str, int]) -> list[str]:
    """Return the lines of a table in GB and GiB; the last row stands apart."""
    width = max(map(len, rows))
    lines = [f"{'':{width}}  {'GB':>9}  {'GiB':>9}"]
    for label, size in rows.items():
        lines.append(f"{label:<{width}}  {size / GB:9.3f}  {size / GIB:9.3f}")
    return [*lines[:-1], "-" * len(lines[-1]), lines[-1]]


def _groups(group_size: int | None) -> str:
    """Say which weights share a scale."""
    if group_size is None:
        return "one scale a row"
    return f"groups of {group_size}" if group_size else "one scale a matrix"


def _heading(found: Answer) -> list[str]:
    """Say what was counted, and what a reader should know about the model."""
    card, setting = found.card, found.settings
    bits = (found.counted.weights + found.counted.scales) * 8 / card.linear_parameters
    grid = f", {_groups(setting['group_size'])}" if found.counted.scales else ""
    lines = [
        f"{card.id}: {card.n_params:,} parameters",
        f"{bits:.4g} bits per linear weight{grid}; "
        f"{setting['batch']:,} x {setting['context']:,} tokens",
    ]
    if card.gated:
        lines.append(
            "Loading it needs an accepted licence; the nearest in size without one is "
            f"{similar(card.n_params)}."
        )
    if card.max_context and setting["context"] > card.max_context:
        lines.append(f"It was made to read at most {card.max_context:,} tokens.")
    return lines


def _verdict(total: int) -> list[str]:
    """Say which devices hold `total` bytes, and what stays free on them."""
    room = {name: (size - total) / GB for name, size in DEVICES.items()}
    fits = [f"{name} {left:.1f}" for name, left in room.items() if left >= 0]
    small = [name for name, left in room.items() if left < 0]
    lines = []
    if fits:
        lines.append(f"Fits, with so many GB left for the rest: {', '.join(fits)}.")
    if small:
        lines.append(f"Does not fit: {', '.join(small)}.")
    return lines


def render(found: Answer) -> str:
    """Return the answer as lines to read."""
    table = _table(_rows(found))
    heading, verdict = map(_wrapped, (_heading(found), _verdict(found.counted.total)))
    return "\n".join([*heading, "", *table, "", *verdict, LEFT_OUT])


def _wrapped(lines: list[str]) -> list[str]:
    """Return the lines broken where they are too wide; what goes on is indented."""
    return [textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines]


def as_json(found: Answer) -> str:
    """Return the answer as JSON; sizes in bytes."""
    total = found.counted.total
    content = {
        "model": found.card.id,
        "parameters": found.card.n_params,
        "settings": dict(found.settings),
        "bytes": {**asdict(found.counted), "total": total},
        "fits": {name: size >= total for name, size in DEVICES.items()},
        "left_out": LEFT_OUT,
    }
    return json.dumps(content, indent=2)
