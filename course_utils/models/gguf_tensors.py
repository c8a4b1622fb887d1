"""The tensors of a GGUF file: read one into weights, write a file in other types.

    float32 file -> quantize -> the same file in a mixture, by our own encoders
    any file     -> read     -> one tensor as float32

Metadata is copied byte for byte, the list of tensors is written anew, and the tensors
follow one by one, so that a model is never in memory as a whole.

The types are those of `gguf_mix`, and the bytes those of llama.cpp, but for the types
whose encoders search: there a few bytes differ.
"""

import os
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_utils.formats import gguf_blocks
from course_utils.models import gguf_mix
from course_utils.models.gguf_header import (
    MAGIC,
    START,
    UINT32,
    VERSION,
    Header,
    StoredTensor,
    packed_field,
    packed_tensor,
    read_header,
)

# What general.file_type says of a mixture, by llama.cpp's numbers.
FILE_TYPES = {
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q5_1": 9,
    "Q4_K_M": 15,
    "Q6_K": 18,
}
QUANTIZATION_VERSION = 2
FLOATS = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}


def read(path: Path, name: str) -> Tensor:
    """Return one tensor of a file as weights.

    Shapes: as torch writes it, rows first; float32.
    Raises: ValueError if the file is damaged, has no such tensor, or stores it in a
        type that is not decoded here.
    """
    header = read_header(path)
    if name not in header.tensors:
        raise ValueError(f"{path.name} has no tensor {name}.")
    return _weights(path, header, name)


def _weights(path: Path, header: Header, name: str) -> Tensor:
    tensor = header.tensors[name]
    if tensor.kind not in FLOATS and tensor.kind not in gguf_blocks.TYPES:
        raise ValueError(
            f"{name} is stored as {tensor.kind}; decoded here are "
            f"{', '.join([*FLOATS, *gguf_blocks.TYPES])}."
        )
    start = _data_start(header) + tensor.offset
    raw = np.fromfile(path, np.uint8, tensor.n_bytes, offset=start)
    if tensor.kind in FLOATS:
        w = torch.from_numpy(raw.view(FLOATS[tensor.kind]).astype(np.float32))
    else:
        rows = torch.from_numpy(raw).reshape(-1, gguf_blocks.TYPES[tensor.kind].n_bytes)
        w = gguf_blocks.decode(rows, tensor.kind)
    return w.reshape(tensor.shape)


def _data_start(header: Header) -> int:
    """Return where the data begins, in bytes from the start of the file."""
    size = len(_front(header))
    return size + -size % header.alignment()


def _front(header: Header) -> bytes:
    """Return everything before the data, without its padding."""
    start = START.pack(MAGIC, VERSION, len(header.tensors), len(header.fields))
    fields = b"".join(packed_field(n, *f) for n, f in header.fields.items())
    return (
        start
        + fields
        + b"".join(packed_tensor(n, tensor) for n, tensor in header.tensors.items())
    )


def quantize(source: Path, target: Path, name: str) -> Path:
    """Write a float file once more in a mixture, by our own encoders.

    Args:
        source: A GGUF file in float32 or float16.
        target: The file to write.
        name: Of the mixture, such as Q4_K_M.

    Raises: ValueError on an unknown mixture, or if a tensor is already quantized.
    """
    header = read_header(source)
    if name not in FILE_TYPES:
        raise ValueError(
            f"{name} is not written here; choose one of {', '.join(FILE_TYPES)}."
        )
    for tensor_name, tensor in header.tensors.items():
        if tensor.kind not in FLOATS:
            raise ValueError(
                f"{tensor_name} is stored as {tensor.kind}; quantize from a file in "
                "float32 or float16."
            )
    planned = _planned(header, name)
    # A full disk or a killed process leaves no half file under the file's name.
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        _write(source, partial, header, planned)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _planned(header: Header, name: str) -> Header:
    """Return the header of the file to write."""
    shapes = {n: tensor.shape for n, tensor in header.tensors.items()}
    types = gguf_mix.predict(shapes, name).types
    tensors, end = {}, 0
    for tensor_name in sorted(shapes, key=_place):
        tensors[tensor_name] = StoredTensor(
            types[tensor_name], shapes[tensor_name], end
        )
        end += tensors[tensor_name].n_bytes
        end += -end % header.alignment()
    own = {
        gguf_mix.VERSION_FIELD: QUANTIZATION_VERSION,
        gguf_mix.FILE_TYPE: FILE_TYPES[name],
    }
    fields = {n: (UINT32, struct.pack("<I", value)) for n, value in own.items()}
    return Header({**header.fields, **fields}, tensors)


def _place(name: str) -> tuple[int, str]:
    """Return what llama.cpp sorts tensors by: layer, then name; the others first."""
    parts = name.split(".")
    return (int(parts[1]) if parts[0] == "blk" else -1), name


def _write(source: Path, path: Path, header: Header, planned: Header) -> None:
    alignment = header.alignment()
    with path.open("wb") as file:
        file.write(_front(planned))
        for name, tensor in planned.tensors.items():
            file.write(b"\0" * (-file.tell() % alignment))
            file.write(_stored(_weights(source, header, name), tensor.kind))
        file.write(b"\0" * (-file.tell() % alignment))


def _stored(w: Tensor, kind: str) -> memoryview:
    """Return the bytes of a tensor in a type."""
    if kind in FLOATS:
        return w.numpy().astype(FLOATS[kind]).data.cast("B")
    return gguf_blocks.encode(w, kind).numpy().data.cast("B")
