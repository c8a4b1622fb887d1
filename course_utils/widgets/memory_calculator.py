"""What a model in use takes, part by part, and whether a device holds it.

The widget computes in JavaScript, so it needs no kernel; models and devices travel in
its state. Here the bytes come from `course_utils.measure.footprint`; a test compares
both over 10,000 inputs inside a browser, to the byte.
"""

from pathlib import Path

import anywidget
import traitlets

from course_utils.measure.footprint import DEVICES, Footprint, footprint
from course_utils.models.card import CARDS, ModelCard
from course_utils.widgets.number_line import fixed

HERE = Path(__file__).parent

NOT_COUNTED = (
    "Not counted: activations, the CUDA context, and scales of a quantized cache."
)


def card_facts(card: ModelCard) -> dict:
    """Return what the widget needs to know of a model, as JSON holds it."""
    return {
        "params": card.n_params,
        "layers": card.n_layers,
        "shapes": [list(shape) for shape in card.linear_shapes().values()],
        "kv": int(card.kv_bytes(context=1, batch=1, bits=8)),  # numbers per token
        "context": card.max_context,
    }


def amount(count: int, unit: str) -> str:
    """Return bytes as a number of GB (10^9 bytes) or GiB (2^30 bytes)."""
    value = count / (10**9 if unit == "GB" else 2**30)
    return fixed(value, 3 if value < 10 else 2 if value < 100 else 1)


def sentence(parts: Footprint, settings: dict) -> str:
    """Return what the widget shows, in the words of its status line.

    Args:
        parts: Bytes of the parts.
        settings: The widget's settings by name.
    """
    card, name = CARDS[settings["model"]], settings["device"]
    text = f"{settings['model']}, {_weights(parts, card, settings)}, "
    text += f"{settings['batch']} \u00d7 {settings['context']:,} tokens"
    if settings["rank"]:
        text += f", adapters of rank {settings['rank']}"
        text += " in training" if settings["training"] else ""
    text += f": {amount(parts.total, 'GB')} GB ({amount(parts.total, 'GiB')} GiB). "
    device = DEVICES[name]
    left = device - parts.total
    size = f"in {device / 10**9:g} GB, {amount(device, 'GiB')} GiB ({name})"
    if left >= 0:
        text += f"It fits {size}, with {amount(left, 'GB')} GB left. "
    else:
        text += f"It does not fit {size}: {amount(-left, 'GB')} GB too much. "
    if 0 < card.max_context < settings["context"]:
        text += f"The model was made for {card.max_context:,} tokens. "
    return text + NOT_COUNTED


def _weights(parts: Footprint, card: ModelCard, settings: dict) -> str:
    """Return how the weights are stored, in words."""
    bits, group_size = settings["bits"], settings["group_size"]
    if bits >= 16:
        return f"{bits}-bit weights"
    words = {None: "a scale per row", 0: "a scale per matrix"}
    grouping = words.get(group_size, f"groups of {group_size}")
    stored = 8 * (parts.weights + parts.scales) / card.linear_parameters
    return f"{bits}-bit weights, {grouping} ({fixed(stored, 3)} bits a weight)"


class MemoryCalculator(anywidget.AnyWidget):
    """The bytes of a model in use as a stacked bar, with a control for each setting.

    Args:
        settings: model (one of `CARDS`), bits, group_size (None is a row, 0 a
            matrix), zero_bits, scale_bits, keep_bits, context, batch, kv_bits,
            rank, training, and device (one of `footprint.DEVICES`); see `footprint`.

    Raises:
        ValueError: If there is no such model or device, or a setting is out of range.
    """

    _esm = HERE / "memory_calculator.js"
    _css = HERE / "widgets.css"

    cards = traitlets.Dict().tag(sync=True)
    devices = traitlets.Dict().tag(sync=True)
    model = traitlets.Unicode("Qwen/Qwen3-8B").tag(sync=True)
    bits = traitlets.Int(4).tag(sync=True)
    group_size = traitlets.Int(64, allow_none=True).tag(sync=True)
    zero_bits = traitlets.Int(0).tag(sync=True)
    scale_bits = traitlets.Int(16).tag(sync=True)
    keep_bits = traitlets.Int(16).tag(sync=True)
    context = traitlets.Int(8192).tag(sync=True)
    batch = traitlets.Int(1).tag(sync=True)
    kv_bits = traitlets.Int(16).tag(sync=True)
    rank = traitlets.Int(0).tag(sync=True)
    training = traitlets.Bool(False).tag(sync=True)
    device = traitlets.Unicode("T4").tag(sync=True)

    def __init__(self, **settings: object) -> None:
        unknown = set(settings) - set(_SETTINGS)
        if unknown:
            raise ValueError(
                f"{', '.join(sorted(unknown))} is no setting; the settings are "
                f"{', '.join(_SETTINGS)}."
            )
        _check_name("model", settings.get("model"), CARDS)
        _check_name("device", settings.get("device"), DEVICES)
        facts = {name: card_facts(card) for name, card in CARDS.items()}
        super().__init__(cards=facts, devices=dict(DEVICES), **settings)
        self.footprint()  # settings out of range are refused before they are drawn

    def settings(self) -> dict:
        """Return the settings by name."""
        return {name: getattr(self, name) for name in _SETTINGS}

    def footprint(self) -> Footprint:
        """Return the bytes of the parts under the present settings."""
        return parts_of(self.settings())

    def __repr__(self) -> str:
        """Return the state in words: what a viewer without widgets shows."""
        return f"Memory. {sentence(self.footprint(), self.settings())}"


_SETTINGS = (
    *("model", "bits", "group_size", "zero_bits", "scale_bits", "keep_bits"),
    *("context", "batch", "kv_bits", "rank", "training", "device"),
)


def parts_of(settings: dict) -> Footprint:
    """Return the bytes of the parts under the widget's settings.

    Raises: ValueError as `footprint`.
    """
    rest = {k: v for k, v in settings.items() if k not in ("model", "device")}
    return footprint(CARDS[settings["model"]], **rest)


def _check_name(what: str, name: object, known: dict) -> None:
    """Raise ValueError for a name that is not in the table."""
    if name is not None and name not in known:
        raise ValueError(f"No {what} {name!r}; choose one of {', '.join(known)}.")
