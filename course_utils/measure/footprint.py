"""Will it fit? The bytes of a model in use, counted from its shape alone.

    weights   linear weights of the decoder * bits / 8
    scales    groups * (scale_bits + zero_bits) / 8
    kept      every other parameter * keep_bits / 8: embedding, output matrix, norms
    kv_cache  2 * layers * n_kv_heads * head_dim * context * batch * kv_bits / 8
    adapters  layers * rank * sum of (in + out) * bytes per parameter

At 16 bits and more there are no scales. An adapter parameter takes 2 bytes in use; in
training it takes 16: weight, gradient and AdamW's two moments, 4 bytes each. The base
model is frozen then and has neither gradient nor moments.

Each part is rounded up to a whole byte. Units are bytes throughout; 1 GB is 10^9 of
them and 1 GiB 2^30.

Left out, and to be added: activations, the CUDA context, scales of a quantized cache,
and what a library pads or duplicates. This module imports no torch.
"""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from course_utils.models.card import ModelCard

ADAPTER_BYTES = 2
TRAINING_BYTES = 16

# Memory as the maker names it, in units of 10^9 bytes. The chips hold about as many
# GiB, of which the driver keeps some back, so this is a cautious reading.
DEVICES: dict[str, int] = {
    "T4": 16 * 10**9,
    "L4": 24 * 10**9,
    "RTX 4090": 24 * 10**9,
    "A100 40 GB": 40 * 10**9,
    "L40S": 48 * 10**9,
    "A100 80 GB": 80 * 10**9,
    "H100": 80 * 10**9,
    "H200": 141 * 10**9,
}


@dataclass(frozen=True)
class Footprint:
    """Bytes of a model in use, part by part.

    Attributes:
        weights: Linear weights of the decoder, as codes.
        scales: Scales and zero points of the groups.
        kept: Parameters that keep their precision.
        kv_cache: Keys and values of every token in context.
        adapters: LoRA adapters; in training with gradients and moments.
    """

    weights: int
    scales: int
    kept: int
    kv_cache: int
    adapters: int

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return self.weights + self.scales + self.kept + self.kv_cache + self.adapters


def _bytes(bits: float) -> int:
    """Return the whole bytes that hold `bits` bits."""
    return math.ceil(bits / 8)


def _check(kind: type, least: float, **values: float) -> None:
    """Refuse the first value that is not of `kind`, not finite or below `least`."""
    words = "whole" if kind is Integral else "finite"
    for name, value in values.items():
        if not isinstance(value, kind) or not -math.inf < value < math.inf:
            raise ValueError(f"{name} must be a {words} number, got {value}.")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")


def groups(shapes: dict[str, tuple[int, int]], group_size: int | None) -> int:
    """Return how many groups of weights share a scale in layers of these shapes.

    Args:
        shapes: Name -> (out, in).
        group_size: Weights per scale along a row; None is a whole row, 0 the whole
            matrix.

    Raises: ValueError if group_size does not divide the columns of every layer.
    """
    if group_size == 0:
        return len(shapes)
    if group_size is None:
        return sum(rows for rows, _ in shapes.values())
    for name, (_, cols) in shapes.items():
        if cols % group_size:
            raise ValueError(
                f"group_size {group_size} does not divide the {cols} columns of "
                f"{name}; choose one of {_choices(shapes)}."
            )
    return sum(rows * cols // group_size for rows, cols in shapes.values())


def _choices(shapes: dict[str, tuple[int, int]]) -> str:
    """Return the group sizes that divide all columns, those of use for a start."""
    common = math.gcd(*(cols for _, cols in shapes.values()))
    divisors = [d for d in range(1, common + 1) if common % d == 0]
    useful = [d for d in divisors if d >= 16] or divisors
    return ", ".join(map(str, useful))


def footprint(  # noqa: PLR0913 -- settings of one calculator, each by its name
    card: "ModelCard",
    *,
    bits: float = 4,
    group_size: int | None = 64,
    zero_bits: float = 0,
    scale_bits: float = 16,
    keep_bits: float = 16,
    context: int = 8192,
    batch: int = 1,
    kv_bits: float = 16,
    rank: int = 0,
    training: bool = False,
) -> Footprint:
    """Return the bytes of a model in use.

    Args:
        card: The model's shape.
        bits: Of a linear weight of the decoder; 16 and more have no scales.
        group_size: Weights per scale along a row; None is a whole row, 0 the whole
            matrix.
        zero_bits: Of the zero point of a group; 0 where the grid is symmetric.
        scale_bits: Of the scale of a group.
        keep_bits: Of every other parameter.
        context: Tokens of each sequence in the cache; 0 for no cache.
        batch: Sequences at once.
        kv_bits: Of a number in the cache.
        rank: Of LoRA adapters on every linear layer of the decoder; 0 for none.
        training: True adds gradients and AdamW's moments of the adapters.

    Units: bytes; nothing for activations and the CUDA context.
    Raises: ValueError on a value that is none of these, or a size that does not divide.
    """
    _check(Real, 1, bits=bits, keep_bits=keep_bits, kv_bits=kv_bits)
    _check(Real, 0, zero_bits=zero_bits, scale_bits=scale_bits)
    _check(Integral, 1, batch=batch)
    size = 0 if group_size is None else group_size
    _check(Integral, 0, context=context, rank=rank, group_size=size)
    if training and rank == 0:
        raise ValueError("training is that of adapters; give a rank above 0.")
    shapes = card.linear_shapes()
    n_groups = card.n_layers * groups(shapes, group_size) if bits < 16 else 0
    per_rank = card.n_layers * sum(rows + cols for rows, cols in shapes.values())
    return Footprint(
        weights=_bytes(card.linear_parameters * bits),
        scales=_bytes(n_groups * (scale_bits + zero_bits)),
        kept=_bytes((card.n_params - card.linear_parameters) * keep_bits),
        kv_cache=math.ceil(card.kv_bytes(context, batch, kv_bits)) if context else 0,
        adapters=per_rank * rank * (TRAINING_BYTES if training else ADAPTER_BYTES),
    )
