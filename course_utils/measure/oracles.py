"""Other people's number formats, as oracles of ours.

    torch         its dtypes, by conversion and by reading bytes as them
    ml_dtypes     6-bit and 4-bit formats that torch has no arithmetic for, and INT4
    bit mask      TF32, which is float32 with the last 13 bits cleared
    bitsandbytes  NF4, FP4 and the 8-bit map of double quantization, on a processor

Codes come and go as int64, whatever the library stores.
"""

from importlib import import_module
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

TORCH = {
    "FP32": torch.float32,
    "BF16": torch.bfloat16,
    "FP16": torch.float16,
    "E5M2": torch.float8_e5m2,
    "E4M3FN": torch.float8_e4m3fn,
    "E5M2FNUZ": torch.float8_e5m2fnuz,
    "E4M3FNUZ": torch.float8_e4m3fnuz,
    "E8M0": getattr(torch, "float8_e8m0fnu", None),  # since torch 2.7
    "INT8": torch.int8,
}
ML_DTYPES = {
    "BF16": "bfloat16",
    "E5M2": "float8_e5m2",
    "E4M3FN": "float8_e4m3fn",
    "E5M2FNUZ": "float8_e5m2fnuz",
    "E4M3FNUZ": "float8_e4m3fnuz",
    "E3M2": "float6_e3m2fn",
    "E2M3": "float6_e2m3fn",
    "E2M1": "float4_e2m1fn",
    "E8M0": "float8_e8m0fnu",
    "INT4": "int4",
}
WORDS = {8: torch.uint8, 16: torch.int16, 32: torch.int32}
TF32_DROPPED = 13  # bits of float32 that TF32 does not use


def library(name: str) -> ModuleType:
    """Return an oracle's module.

    Raises: ImportError in one sentence where it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{name} is not installed; run `make book`, which installs the oracles."
        ) from error


def torch_decode(codes: Tensor, name: str) -> Tensor:
    """Return what torch reads the codes as; float64."""
    dtype = TORCH[name]
    return codes.to(WORDS[8 * dtype.itemsize]).view(dtype).double()


def torch_encode(x: Tensor, name: str) -> Tensor:
    """Return the codes torch converts numbers to; int64."""
    dtype = TORCH[name]
    bits = 8 * dtype.itemsize
    return x.to(dtype).view(WORDS[bits]).to(torch.int64) & (2**bits - 1)


def ml_decode(codes: Tensor, name: str) -> Tensor:
    """Return what ml_dtypes reads the codes as; float64."""
    dtype = getattr(library("ml_dtypes"), ML_DTYPES[name])
    word = "uint16" if name == "BF16" else "uint8"
    with np.errstate(invalid="ignore"):  # NaN
        values = codes.numpy().astype(word).view(dtype).astype("float64")
    return torch.from_numpy(values)


def ml_encode(x: Tensor, name: str) -> Tensor:
    """Return the codes ml_dtypes converts numbers to; int64."""
    dtype = getattr(library("ml_dtypes"), ML_DTYPES[name])
    word = "uint16" if name == "BF16" else "uint8"
    with np.errstate(invalid="ignore"):  # NaN
        converted = x.numpy().astype(dtype)
    codes = torch.from_numpy(converted.view(word).astype("int64"))
    return codes & 0xF if name == "INT4" else codes


def mask_decode(codes: Tensor, name: str) -> Tensor:
    """Return TF32 codes read as float32 whose last bits are 0; float64."""
    del name
    return (codes << TF32_DROPPED).to(torch.int32).view(torch.float32).double()


def mask_encode(x: Tensor, name: str) -> Tensor:
    """Return float32 numbers as TF32 codes: ties to even in integers, then a mask."""
    del name
    word = x.float().view(torch.int32).to(torch.int64) & 0xFFFFFFFF
    last_kept = word >> TF32_DROPPED & 1
    rounded = word + 2 ** (TF32_DROPPED - 1) - 1 + last_kept
    # Adding could carry the payload of a NaN into the exponent.
    return torch.where(torch.isnan(x), word, rounded) >> TF32_DROPPED


def bnb_table(quant_type: str) -> Tensor:
    """Return the 16 values of bitsandbytes' "nf4" or "fp4"; float32."""
    functional = library("bitsandbytes.functional")
    return functional.get_4bit_type(quant_type, device="cpu")


def bnb_quantize(w: Tensor, quant_type: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return bytes, absmax and rebuilt weights in blocks of 64 by bitsandbytes.

    Nothing is rebuilt from an odd number of weights: bitsandbytes would take seconds
    to compile a program for them.
    """
    functional = library("bitsandbytes.functional")
    packed, state = functional.quantize_4bit(w, blocksize=64, quant_type=quant_type)
    if len(w) % 2:
        return packed.reshape(-1), state.absmax, None
    rebuilt = functional.dequantize_4bit(packed, state)
    return packed.reshape(-1), state.absmax, rebuilt.reshape(-1)


def bnb_nested(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return codes, scales and rebuilt absmax of double-quantized NF4 weights."""
    functional = library("bitsandbytes.functional")
    _, state = functional.quantize_4bit(
        w, blocksize=64, quant_type="nf4", compress_statistics=True
    )
    rebuilt = functional.dequantize_blockwise(state.absmax, state.state2)
    return state.absmax, state.state2.absmax, rebuilt + state.offset


def bnb_dynamic(x: Tensor) -> Tensor:
    """Return the codes of numbers from -1 to 1 in bitsandbytes' dynamic map; int64.

    Each block of 256 starts with a 1, so that it is scaled by 1.
    """
    functional = library("bitsandbytes.functional")
    rows = torch.nn.functional.pad(x, (0, -len(x) % 255)).reshape(-1, 255)
    blocks = torch.cat([torch.ones(len(rows), 1), rows], dim=1)
    codes, _ = functional.quantize_blockwise(blocks.reshape(-1), blocksize=256)
    return codes.reshape(-1, 256)[:, 1:].reshape(-1)[: len(x)].to(torch.int64)
