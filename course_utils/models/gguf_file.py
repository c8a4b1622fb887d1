"""Writing a llama-type model as a float32 GGUF file, and reading what a file holds.

A GGUF file is a container: metadata (shape, tokenizer, chat template), then tensors,
each with a type of its own. llama.cpp quantizes such a file into others, so one float32
file of the model in memory is where every comparison with llama.cpp begins.

The tokenizer comes from another GGUF file of the same family, byte for byte; the shape
comes from the model. Query and key rows are interleaved again, which is what llama.cpp
expects (`dequantize.unpermute` is the way back).

Left out: other architectures than llama, biases, scaled rotations, and heads that
together are wider or narrower than the model. Each is refused in a sentence.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf import GGUFValueType
from torch import Tensor
from transformers import PreTrainedModel

from course_utils.models.dequantize import CONFIG_FIELDS, OUTER_NAMES, TENSOR_NAMES
from course_utils.models.gguf_header import (
    ALIGNMENT,
    MAGIC,
    SCALARS,
    START,
    VERSION,
    Header,
    StoredTensor,
    packed_field,
    packed_tensor,
    read_header,
)

ARCHITECTURE = "llama"
CONVERTER = "llama.cpp's convert_hf_to_gguf.py"
TOKENS = "tokenizer.ggml.tokens"
FILE_TYPE, F32 = "general.file_type", 0
HEAD = "lm_head.weight"
ROTATED = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}


def tensors(path: Path) -> dict[str, StoredTensor]:
    """Return every tensor of a GGUF file by name, in the file's order.

    Raises: ValueError if it is no GGUF file.
    """
    return read_header(path).tensors


def tensor_types(path: Path) -> dict[str, str]:
    """Return name -> type name of every tensor of a GGUF file."""
    return {name: tensor.kind for name, tensor in tensors(path).items()}


def unsupported(model: PreTrainedModel, source: Path) -> str:
    """Return why `model` cannot be written with the tokenizer of `source`, or ""."""
    return _unsupported(model, read_header(source), source.name)


def _unsupported(model: PreTrainedModel, source: Header, name: str) -> str:
    config = model.config
    if config.model_type != ARCHITECTURE:
        return (
            f"A {config.model_type} model is not written as GGUF here; use {CONVERTER}."
        )
    if (found := source.text("general.architecture")) != ARCHITECTURE:
        return (
            f"{name} holds a model of architecture {found!r}; give a GGUF file of a "
            f"{ARCHITECTURE} model."
        )
    if config.vocab_size != source.count(TOKENS):
        return (
            f"The model has {config.vocab_size} tokens and the tokenizer of {name} has "
            f"{source.count(TOKENS)}; give a GGUF file of the same family."
        )
    return _unwritable(model)


def _unwritable(model: PreTrainedModel) -> str:
    """Return which part of a llama model has no place in the file, or ""."""
    config = model.config
    if (kind := _rope(config.to_dict()).get("rope_type", "default")) != "default":
        return (
            f"The model scales its rotation ({kind}), which is not written here; use "
            f"{CONVERTER}."
        )
    width = config.head_dim * config.num_attention_heads
    if width != config.hidden_size:
        return (
            f"The model's heads are {width} channels wide and its hidden state has "
            f"{config.hidden_size}, which is not written here; use {CONVERTER}."
        )
    if config.hidden_act != "silu":
        return (
            f"The model's MLP uses {config.hidden_act} and a GGUF file of a llama "
            f"means silu; use {CONVERTER}."
        )
    here = set(model.state_dict())
    if config.tie_word_embeddings:
        here -= {HEAD}
    different = sorted(here ^ set(_names(model).values()))
    if any(weight.endswith(".bias") for weight in different):
        return f"The model has biases, which are not written here; use {CONVERTER}."
    if different:
        return (
            f"The weight {different[0]} is either new to a llama or missing; give a "
            "llama model without changed layers."
        )
    return ""


def write(model: PreTrainedModel, source: Path, path: Path) -> Path:
    """Write `model` as a float32 GGUF file and return its path.

    Args:
        model: A llama-type model.
        source: A GGUF file whose tokenizer and chat template are the model's.
        path: The file to write.

    Raises: ValueError if model and source do not belong together.
    """
    header = read_header(source)
    if reason := _unsupported(model, header, source.name):
        raise ValueError(reason)
    # A full disk or a killed process leaves no half file under the file's name.
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        _write(partial, _fields(header, model), model)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _write(
    path: Path, fields: dict[str, tuple[GGUFValueType, bytes]], model: PreTrainedModel
) -> None:
    """Write metadata, list of tensors and tensors."""
    entries = _entries(model)
    with path.open("wb") as file:
        file.write(START.pack(MAGIC, VERSION, len(entries), len(fields)))
        file.write(b"".join(packed_field(n, *field) for n, field in fields.items()))
        file.write(b"".join(packed_tensor(n, entry) for n, entry in entries.items()))
        for _, w in _weights(model):
            # Both the list before the data and every tensor end at the alignment.
            file.write(b"\0" * (-file.tell() % ALIGNMENT))
            file.write(np.ascontiguousarray(w, dtype="<f4").data)


def permute(w: np.ndarray, n_heads: int) -> np.ndarray:
    """Return query or key rows in llama.cpp's order.

    Shapes: w (n_heads * head_dim, cols) -> same.
    """
    half = w.shape[0] // n_heads // 2
    halves = w.reshape(n_heads, 2, half, -1)  # (head, which half, i, cols)
    return halves.swapaxes(1, 2).reshape(w.shape)


def _fields(
    source: Header, model: PreTrainedModel
) -> dict[str, tuple[GGUFValueType, bytes]]:
    """Return the source's metadata; fields of the shape take the model's values."""
    own = {**_shape(model), FILE_TYPE: F32}
    fields = dict(source.fields)
    for name, value in own.items():
        if name in fields:
            kind = fields[name][0]
            fields[name] = (kind, struct.pack("<" + SCALARS[kind], value))
    return fields


def _shape(model: PreTrainedModel) -> dict[str, float]:
    """Return GGUF field -> value for what the model's configuration says."""
    config = model.config.to_dict()
    # Versions of transformers keep the base of the rotation in two places.
    config["rope_theta"] = _rope(config).get("rope_theta") or config.get("rope_theta")
    return {
        field: config[key]
        for key, field in CONFIG_FIELDS.items()
        if field.startswith(ARCHITECTURE) and config.get(key) is not None
    }


def _rope(config: dict) -> dict:
    """Return how a configuration describes the rotation of positions."""
    return config.get("rope_parameters") or config.get("rope_scaling") or {}


def _entries(model: PreTrainedModel) -> dict[str, StoredTensor]:
    """Return the list of tensors, their offsets filled in."""
    entries, end = {}, 0
    for name, w in _weights(model):
        entries[name] = StoredTensor("F32", w.shape, end)
        end += entries[name].n_bytes
        end += -end % ALIGNMENT
    return entries


def _weights(model: PreTrainedModel) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (GGUF name, float32 array) of every tensor."""
    state = model.state_dict()
    for name, hf in _names(model).items():
        w = _float32(state[hf])
        kind = name.removesuffix(".weight").rpartition(".")[2]
        if kind in ROTATED:
            w = permute(w, getattr(model.config, ROTATED[kind]))
        yield name, w


def _names(model: PreTrainedModel) -> dict[str, str]:
    """Return GGUF name -> transformers' name of every tensor, in the file's order."""
    names = dict(OUTER_NAMES)
    if not model.config.tie_word_embeddings:
        names["output.weight"] = HEAD
    for i in range(model.config.num_hidden_layers):
        for name, hf in TENSOR_NAMES.items():
            names[f"blk.{i}.{name}.weight"] = f"model.layers.{i}.{hf}.weight"
    return names


def _float32(weight: Tensor) -> np.ndarray:
    return weight.detach().float().cpu().numpy()
