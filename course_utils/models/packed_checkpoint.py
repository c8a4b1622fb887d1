"""A folder with a quantized model, in the layout of GPTQ or of AWQ checkpoints.

    config.json           the model's shape, and `quantization_config`
    quantize_config.json  the same settings once more, where AutoGPTQ put them
    quant_config.json     the same, under AutoAWQ's names
    model.safetensors     NAME.qweight, NAME.qzeros, NAME.scales (GPTQ: NAME.g_idx) of
                          each quantized layer; every other tensor as it is

`formats.gptq_layout` and `formats.awq_layout` say what is in the tensors. A layer is
read into a QTensor, whoever wrote it.

The settings decide how the bits are read: bits, group size, and the version of the GPTQ
layout. A file whose settings are missing or contradict its tensors is refused.

Left out: pickled `.bin` files, which can run code when opened; layers with different
settings; AWQ's orders other than "gemm".
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from course_utils.formats import awq_layout, gptq_layout
from course_utils.formats.awq_layout import AwqTensors
from course_utils.formats.gptq_layout import GptqTensors
from course_utils.formats.qtensor import QTensor
from course_utils.models.packed_settings import (
    Settings,
    read_settings,
    settings_of,
    write_settings,
)

WEIGHTS = "model.safetensors"
TENSORS = {"gptq": GptqTensors, "awq": AwqTensors}


@dataclass(frozen=True)
class Checkpoint:
    """What a folder holds.

    Attributes:
        settings: How its layers are packed.
        layers: Name of a layer -> its quantized matrix.
        rest: Name -> every tensor that is not part of a quantized layer.
    """

    settings: Settings
    layers: dict[str, QTensor]
    rest: dict[str, Tensor]


def read(folder: Path) -> Checkpoint:
    """Return the layers and the other tensors of a checkpoint.

    Raises: ValueError if the folder holds no such checkpoint, or a damaged one.
    """
    settings = read_settings(folder)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{folder} has no .safetensors file.")
    tensors = {name: w for path in files for name, w in _tensors(path)}
    names = [n.removesuffix(".qweight") for n in tensors if n.endswith(".qweight")]
    if not names:
        raise ValueError(f"{folder} holds no quantized layer.")
    layers = {name: _layer(name, tensors, settings) for name in names}
    if left := [n for n in tensors if n.endswith((".qzeros", ".g_idx"))]:
        raise ValueError(
            f"The layer {left[0].rpartition('.')[0]} has no qweight; the file is "
            "damaged."
        )
    return Checkpoint(settings, layers, tensors)


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 -- not a dict
                yield name, file.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path.name} is cut or damaged; write or download it again."
        ) from error


def _layer(name: str, tensors: dict[str, Tensor], settings: Settings) -> QTensor:
    """Take the tensors of one layer out of `tensors` and return what they hold."""
    kind = TENSORS[settings.method]
    wanted = [field.name for field in fields(kind)]
    if missing := [part for part in wanted if f"{name}.{part}" not in tensors]:
        raise ValueError(f"The layer {name} has no {missing[0]}; the file is damaged.")
    parts = kind(**{part: tensors.pop(f"{name}.{part}") for part in wanted})
    try:
        if settings.method == "awq":
            found = awq_layout.unpack(parts)
        else:
            found = gptq_layout.unpack(
                parts, bits=settings.bits, version=settings.version
            )
    except ValueError as error:
        raise ValueError(f"The layer {name} cannot be read: {error}") from error
    expected = settings.group_size if settings.group_size > 0 else found.q.shape[1]
    if found.spec.group_size != expected:
        raise ValueError(
            f"The layer {name} has groups of {found.spec.group_size} and the settings "
            f"say {expected}; the file is damaged."
        )
    return found


def write(
    folder: Path,
    model: PreTrainedModel,
    found: Mapping[str, QTensor],
    *,
    layout: str = "gptq",
) -> Path:
    """Write `model` with quantized layers as a checkpoint and return the folder.

    Args:
        folder: A folder that does not exist yet.
        model: Its configuration and all tensors but the quantized ones are written.
        found: Name of a linear layer -> its quantized matrix, all of one spec.
        layout: gptq (version 1), gptq_v2 or awq.

    Raises: ValueError if something has no place in the layout; nothing is written.
    """
    settings = settings_of(found, layout)
    if folder.exists():
        raise ValueError(f"{folder} exists already; give a new folder.")
    tensors = _packed(model, found, settings)
    # A full disk or a killed process leaves no half checkpoint under its name.
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
        write_settings(partial, settings, model.config.to_dict())
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _packed(
    model: PreTrainedModel, found: Mapping[str, QTensor], settings: Settings
) -> dict[str, Tensor]:
    """Return every tensor of the checkpoint by its stored name."""
    tensors = dict(model.state_dict())
    if model.config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    for name, quantized in found.items():
        if tensors.pop(f"{name}.weight", None) is None:
            raise ValueError(f"The model has no layer {name}.")
        if settings.method == "awq":
            parts = awq_layout.pack(quantized)
        else:
            parts = gptq_layout.pack(quantized, version=settings.version)
        for field in fields(parts):
            tensors[f"{name}.{field.name}"] = getattr(parts, field.name)
    return {n: _stored(w) for n, w in tensors.items()}


def _stored(w: Tensor) -> Tensor:
    """Return a tensor as files hold it: weights in float16, on the processor."""
    w = w.detach().cpu().contiguous()
    return w.to(torch.float16) if w.dtype == torch.float32 else w
