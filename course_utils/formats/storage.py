"""Bits per weight: the codes, and what is stored beside them.

    bits per weight = bits + (scale_bits + zero_bits) / group_size

A scale belongs to a group of weights, so each weight carries a share of it. What there
is once per tensor (the offset of double quantization, a shape) is not counted.
"""


def bits_per_weight(
    bits: float, *, group_size: int, scale_bits: int = 16, zero_bits: int = 0
) -> float:
    """Return the bits stored for a weight, its share of scale and zero point included.

    Units: bits.
    Raises: ValueError on a group size below 1 or a negative width.
    """
    if group_size < 1:
        raise ValueError(
            f"group_size must be at least 1, got {group_size}; a scale per row is a "
            "group of all its columns."
        )
    if min(bits, scale_bits, zero_bits) < 0:
        raise ValueError("bits, scale_bits and zero_bits must not be negative.")
    return bits + (scale_bits + zero_bits) / group_size


def nf4_bits(block_size: int = 64, *, double: bool = True, nested: int = 256) -> float:
    """Return the bits of a weight in bitsandbytes' NF4 or FP4.

    Without double quantization a block has a float32 absmax. With it, absmax has 8 bits
    and shares a float32 scale with `nested` others.

    Units: bits.
    Raises: ValueError on a block size below 1.
    Source: dettmers2023qlora, section 3.
    """
    absmax = bits_per_weight(8, group_size=nested, scale_bits=32) if double else 32
    return bits_per_weight(4, group_size=block_size, scale_bits=0) + absmax / block_size


def block_bits(n_bytes: int, *, block_size: int) -> float:
    """Return the bits of a weight in a file format of fixed blocks.

    An example is Q4_0 of llama.cpp: 32 codes of 4 bits and an FP16 scale in 18 bytes.

    Units: bits.
    Raises: ValueError on a block size below 1 or a negative size.
    """
    return bits_per_weight(0, group_size=block_size, scale_bits=8 * n_bytes)
