"""Writing a safetensors file one tensor at a time.

    8 bytes     length of the header, little endian
    header      JSON: name -> dtype, shape, start and end within the data
    data        the tensors, little endian, one after the other

The library's own writer needs all tensors in memory at once and copies them; this
one holds a single tensor. Reading is left to the library.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

ALIGNMENT = 8


def write(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    tensors: Iterable[tuple[str, np.ndarray]],
) -> None:
    """Write `tensors` as float32.

    Args:
        path: The file.
        shapes: Name and shape of every tensor, in the order of `tensors`.
        tensors: Name and values; float64 is rounded to nearest.

    Raises: ValueError if a tensor is not the one that `shapes` announces.
    """
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for (name, shape), (got, w) in zip(shapes.items(), tensors, strict=True):
            if got != name or w.shape != tuple(shape):
                raise ValueError(
                    f"Expected tensor {name} of shape {tuple(shape)}, "
                    f"got {got} of shape {w.shape}."
                )
            file.write(np.ascontiguousarray(w, dtype="<f4").data)
