"""ggml's own block encoders, called through the library that llama.cpp brings.

One function of the C library turns rows of float32 into blocks of any type. It is the
oracle for the types whose encoders search, and for which gguf has a decoder only.

Left out: importance matrices, so the types that demand one are refused.
"""

import ctypes
import sys
from functools import cache
from pathlib import Path

import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from torch import Tensor

from course_utils.models import llama_cpp
from course_utils.models.cache import ModelError

LIBRARY = {"darwin": "libggml-base.dylib", "win32": "ggml-base.dll"}
OTHERWISE = "libggml-base.so"


@cache
def _library() -> ctypes.CDLL:
    """Return the C library with the one function declared.

    Raises: ModelError if llama.cpp is missing.
    """
    if reason := llama_cpp.missing():
        raise ModelError(reason)
    package = Path(sys.modules["llama_cpp"].__file__).parent
    path = package / "lib" / LIBRARY.get(sys.platform, OTHERWISE)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ModelError(f"{path.name} does not load ({error}).") from error
    floats, size = ctypes.POINTER(ctypes.c_float), ctypes.c_int64
    chunk = library.ggml_quantize_chunk
    chunk.argtypes = [ctypes.c_int, floats, ctypes.c_void_p, size, size, size, floats]
    chunk.restype = ctypes.c_size_t
    library.ggml_quantize_requires_imatrix.argtypes = [ctypes.c_int]
    library.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    return library


def encode(w: Tensor, name: str) -> Tensor:
    """Return the bytes that ggml makes of a matrix.

    Shapes: w (rows, cols) -> (rows, cols // block_size * n_bytes), uint8.
    Raises: ModelError without llama.cpp; ValueError if the type has no block, needs an
        importance matrix, or its blocks do not divide the rows.
    """
    library = _library()
    kind = GGMLQuantizationType[name]
    block, n_bytes = GGML_QUANT_SIZES[kind]
    if block == 1 or library.ggml_quantize_requires_imatrix(kind):
        raise ValueError(
            f"{name} is no block type, or needs an importance matrix; neither is here."
        )
    # The C code checks nothing: a wrong shape or a NaN would end the process.
    if w.ndim != 2 or not w.numel() or w.shape[1] % block:
        raise ValueError(
            f"{name} stores rows in blocks of {block} weights; shape {tuple(w.shape)} "
            "does not divide into them."
        )
    if not torch.isfinite(w).all():
        raise ValueError("The weights hold NaN or infinity; repair them first.")
    rows = w.detach().to("cpu", torch.float32).contiguous()
    raw = torch.empty(len(rows), rows.shape[1] // block * n_bytes, dtype=torch.uint8)
    source = ctypes.cast(rows.data_ptr(), ctypes.POINTER(ctypes.c_float))
    library.ggml_quantize_chunk(
        kind, source, raw.data_ptr(), 0, len(rows), rows.shape[1], None
    )
    return raw
