"""GGUF block types by name: weights to bytes and back.

A row of weights is cut into blocks of 32, 64 or 256, and each block becomes the same
number of bytes, scale included. A type's name says how many bits its codes have; its
bits per weight are more, because of the scales:

    bits per weight = 8 * n_bytes / block_size

`TYPES` holds each type's sizes, its decoder, and its encoder where there is one here.
Encoders of Q4_0 to MXFP4 give ggml's bytes. Those of IQ4_NL, Q4_K and Q6_K search for
scales and compare sums of float32, whose rounding differs: a few bytes are others, the
error is the same.

Left out: types that need an importance matrix (IQ1 to IQ3), F16 and BF16 (casts), and
encoders of Q2_K, Q3_K, Q5_K, IQ4_XS and NVFP4.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.formats import gguf_basic as basic
from course_utils.formats import gguf_float4 as float4
from course_utils.formats import gguf_iq4 as iq4
from course_utils.formats import gguf_k as k
from course_utils.formats import gguf_k_encode as k_encode
from course_utils.formats import gguf_ternary as ternary
from course_utils.formats.storage import block_bits

PIECE = 2**18  # weights worked on at a time: they stay in the processor's cache

Blocks = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class BlockType:
    """How blocks of one type are stored.

    Attributes:
        name: As ggml writes it.
        block_size: Weights of a block.
        n_bytes: Bytes of a block.
        decode: Raw blocks (n, n_bytes) -> weights (n, block_size).
        encode: The inverse; None where there is none here.
    """

    name: str
    block_size: int
    n_bytes: int
    decode: Blocks
    encode: Blocks | None = None

    @property
    def bits_per_weight(self) -> float:
        """Stored bits of a weight, its share of the scales included."""
        return block_bits(self.n_bytes, block_size=self.block_size)


TYPES: dict[str, BlockType] = {
    row.name: row
    for row in (
        BlockType("Q4_0", 32, 18, basic.decode_q4_0, basic.encode_q4_0),
        BlockType("Q4_1", 32, 20, basic.decode_q4_1, basic.encode_q4_1),
        BlockType("Q5_0", 32, 22, basic.decode_q5_0, basic.encode_q5_0),
        BlockType("Q5_1", 32, 24, basic.decode_q5_1, basic.encode_q5_1),
        BlockType("Q8_0", 32, 34, basic.decode_q8_0, basic.encode_q8_0),
        BlockType("TQ1_0", 256, 54, ternary.decode_tq1_0, ternary.encode_tq1_0),
        BlockType("TQ2_0", 256, 66, ternary.decode_tq2_0, ternary.encode_tq2_0),
        BlockType("MXFP4", 32, 17, float4.decode_mxfp4, float4.encode_mxfp4),
        BlockType("NVFP4", 64, 36, float4.decode_nvfp4),
        BlockType("IQ4_NL", 32, 18, iq4.decode_iq4_nl, iq4.encode_iq4_nl),
        BlockType("IQ4_XS", 256, 136, iq4.decode_iq4_xs),
        BlockType("Q2_K", 256, 84, k.decode_q2_k),
        BlockType("Q3_K", 256, 110, k.decode_q3_k),
        BlockType("Q4_K", 256, 144, k.decode_q4_k, k_encode.encode_q4_k),
        BlockType("Q5_K", 256, 176, k.decode_q5_k),
        BlockType("Q6_K", 256, 210, k.decode_q6_k, k_encode.encode_q6_k),
    )
}


def lookup(name: str) -> BlockType:
    """Return the block type of that name.

    Raises: ValueError on an unknown name, with the names there are.
    """
    if name not in TYPES:
        raise ValueError(
            f"Unknown block type {name!r}; choose one of {', '.join(TYPES)}."
        )
    return TYPES[name]


def encode(w: Tensor, name: str) -> Tensor:
    """Return weights as the bytes that a GGUF file holds.

    Shapes: w (..., cols) -> (..., cols // block_size * n_bytes), uint8.
    Raises: ValueError on an unknown name or one without an encoder, if the block size
        does not divide cols, or on weights without a scale (NaN, infinity, too large).
    """
    kind = lookup(name)
    if kind.encode is None:
        able = [row.name for row in TYPES.values() if row.encode]
        raise ValueError(f"{name} is only decoded here; encode {', '.join(able)}.")
    if not w.ndim or not w.numel() or w.shape[-1] % kind.block_size:
        raise ValueError(
            f"{name} stores rows in blocks of {kind.block_size} weights; shape "
            f"{tuple(w.shape)} does not divide into them."
        )
    blocks = w.detach().to("cpu", torch.float32).reshape(-1, kind.block_size)
    pieces = blocks.split(max(1, PIECE // kind.block_size))
    raw = torch.cat([kind.encode(piece) for piece in pieces])
    return raw.reshape(*w.shape[:-1], -1)


def decode(raw: Tensor, name: str) -> Tensor:
    """Return the weights that bytes stand for.

    Shapes: raw (..., n), uint8 -> (..., n // n_bytes * block_size), float32.
    Raises: ValueError on an unknown name, or if the bytes are no whole blocks.
    """
    kind = lookup(name)
    if raw.dtype != torch.uint8:
        raise ValueError(f"Blocks are bytes (uint8), got {raw.dtype}.")
    if not raw.ndim or not raw.numel() or raw.shape[-1] % kind.n_bytes:
        raise ValueError(
            f"{name} stores blocks of {kind.n_bytes} bytes; shape {tuple(raw.shape)} "
            "does not divide into them."
        )
    blocks = raw.reshape(-1, kind.n_bytes)
    pieces = blocks.split(max(1, PIECE // kind.block_size))
    w = torch.cat([kind.decode(piece) for piece in pieces])
    return w.reshape(*raw.shape[:-1], -1)
