"""The settings of the measurement `scales`: which weights share a scale, and its range.

A range is the data's own, clipped for the least error of the weights, or clipped for
the least error of the outputs (`methods.clipping`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor
from course_utils.methods import clipping
from course_utils.models import layers
from course_utils.models.evaluating import evaluating


@dataclass(frozen=True)
class Setting:
    """One way to choose every scale of the model.

    Attributes:
        key: Its name in the record.
        spec: Bits, symmetry and groups.
        clip: "" for the data's own range, "weights" or "outputs" for whose error is
            made small.
    """

    key: str
    spec: QuantSpec
    clip: str = ""


SIZES = {"tensor": 0, "row": None, "g192": 192, "g64": 64, "g32": 32}
SETTINGS = (
    *(Setting(f"{name}_asym", QuantSpec(4, False, g)) for name, g in SIZES.items()),
    *(Setting(f"{name}_sym", QuantSpec(4, True, SIZES[name])) for name in SIZES),
    Setting("row_weights", QuantSpec(4), "weights"),
    Setting("row_outputs", QuantSpec(4), "outputs"),
)
# What each clipped setting is compared with: the same grid over the data's own range.
UNCLIPPED = {
    s.key: next(t.key for t in SETTINGS if t.spec == s.spec and not t.clip)
    for s in SETTINGS
    if s.clip
}


def quantize(w: Tensor, h: Tensor | None, setting: Setting) -> QTensor:
    """Return one matrix under a setting; `h` is the mean square of its inputs.

    Shapes: w (rows, cols), h (cols,).
    """
    if setting.clip == "":
        scale, zero_point = affine.choose_qparams(w, spec=setting.spec)
    else:
        h = h if setting.clip == "outputs" else None
        scale, zero_point = clipping.search(w, h, spec=setting.spec)
    q = affine.quantize(w, scale, zero_point, spec=setting.spec)
    return QTensor(q, scale, zero_point, setting.spec)


def mean_squares(model: torch.nn.Module, tokens: Tensor) -> dict[str, Tensor]:
    """Return the mean square of every input of every linear layer.

    Shapes: tokens (n_windows, seq_len); (cols,) by layer name.
    """
    sums: dict[str, Tensor] = {}

    def add(name: str, x: Tensor) -> None:
        squares = x.square().sum(dim=(0, 1))
        sums[name] = sums[name] + squares if name in sums else squares

    hooks = [
        module.register_forward_pre_hook(lambda _, x, name=name: add(name, x[0]))
        for name, module in layers.linear_layers(model).items()
    ]
    try:
        with evaluating(model):
            for batch in tokens.split(8):
                model.base_model(batch.to(model.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: total / tokens.numel() for name, total in sums.items()}
