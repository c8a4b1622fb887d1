"""Which type each tensor of a GGUF file gets, and how large the file becomes.

A name such as Q4_K_M is a mixture. llama.cpp chooses a type tensor by tensor:

    norms (one dimension)       F32
    output matrix               Q6_K, at 8 bits Q8_0; the embedding, where it is both
    attn_v, ffn_down            in half of the layers a larger type than the others
    every other matrix          the base type

The layers with the larger type are the first eighth, the last eighth, and every third
between them. A matrix whose rows the block size does not divide gets a substitute of
blocks of 32, which is larger: so a small model's "Q4_K_M" can be mostly Q5_0. A llama
of 80 layers whose query heads share values gets Q5_K where attn_v would be Q4_K.

    bits per weight = 8 * bytes of all tensors / number of all weights

Source: `llama_tensor_get_type` of llama.cpp; tests hold it to files that llama.cpp
writes and to published sizes. Left out: mixtures of IQ types, Q2_K and Q3_K, experts,
fused attention matrices, and importance matrices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from course_utils.models.card import ModelCard
from course_utils.models.gguf_header import (
    START,
    UINT32,
    Header,
    StoredTensor,
    packed_field,
    packed_tensor,
)

OUTPUT, EMBEDDING = "output.weight", "token_embd.weight"
LARGER = ("attn_v", "ffn_down")
# Types with blocks of 256 -> what a tensor gets whose rows they do not divide.
SUBSTITUTES = {
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
}
VERSION_FIELD, FILE_TYPE = "general.quantization_version", "general.file_type"


@dataclass(frozen=True)
class Mix:
    """A mixture.

    Attributes:
        base: Type of most matrices.
        larger: Type of attn_v and ffn_down in half of the layers.
        output: Type of the output matrix.
    """

    base: str
    larger: str
    output: str = "Q6_K"


MIXES: dict[str, Mix] = {
    "Q4_K_M": Mix("Q4_K", "Q6_K"),
    "Q5_K_M": Mix("Q5_K", "Q6_K"),
    "Q6_K": Mix("Q6_K", "Q6_K"),
    "Q8_0": Mix("Q8_0", "Q8_0", output="Q8_0"),
    "Q4_0": Mix("Q4_0", "Q4_0"),
    "Q4_1": Mix("Q4_1", "Q4_1"),
    "Q5_0": Mix("Q5_0", "Q5_0"),
    "Q5_1": Mix("Q5_1", "Q5_1"),
    "F16": Mix("F16", "F16", output="F16"),
}


def gets_larger(layer: int, n_layers: int) -> bool:
    """Return True if attn_v and ffn_down of this layer get the larger type."""
    eighth = n_layers // 8
    ends = layer < eighth or layer >= 7 * n_layers // 8
    return ends or (layer - eighth) % 3 == 2


def tensor_type(
    name: str, shape: tuple[int, ...], mix: Mix, *, n_layers: int, tied: bool
) -> str:
    """Return the type that a tensor gets.

    Args:
        name: Its name in the file, such as blk.3.attn_v.weight.
        shape: Rows first.
        mix: The mixture.
        n_layers: Layers of the model.
        tied: True if the file has no output matrix and the embedding serves as one.
    """
    if len(shape) < 2:
        return "F32"
    kind = mix.base
    if name == OUTPUT or (tied and name == EMBEDDING):
        kind = mix.output
    elif name.split(".")[-2] in LARGER and gets_larger(
        int(name.split(".")[1]), n_layers
    ):
        kind = mix.larger
    if kind == "Q4_K" and ".attn_v." in name and _is_70b(shape, n_layers):
        kind = "Q5_K"
    return _fitting(kind, name, shape)


def _is_70b(attn_v: tuple[int, ...], n_layers: int) -> bool:
    """Return True for what llama.cpp takes for a llama of 70 billion weights."""
    return n_layers == 80 and attn_v[0] < attn_v[1]


def _fitting(kind: str, name: str, shape: tuple[int, ...]) -> str:
    """Return `kind` or its substitute, whichever divides the rows."""
    for candidate in (kind, SUBSTITUTES.get(kind, kind), "F16"):
        if shape[-1] % GGML_QUANT_SIZES[GGMLQuantizationType[candidate]][0] == 0:
            return candidate
    raise AssertionError(f"F16 has no blocks, so it divides {name}")


@dataclass(frozen=True)
class Prediction:
    """What a mixture makes of a model.

    Attributes:
        types: Name of a tensor -> its type.
        n_weights: Numbers of all tensors.
        n_bytes: Bytes of all tensors, without metadata and padding.
    """

    types: dict[str, str]
    n_weights: int
    n_bytes: int

    @property
    def bits_per_weight(self) -> float:
        """Stored bits of a weight, averaged over all tensors."""
        return 8 * self.n_bytes / self.n_weights


def predict(shapes: Mapping[str, tuple[int, ...]], name: str) -> Prediction:
    """Return the types and bytes of a model's tensors under a mixture.

    Args:
        shapes: Name in the file -> shape, rows first.
        name: Of the mixture, such as Q4_K_M.

    Raises: ValueError on an unknown mixture.
    """
    if name not in MIXES:
        raise ValueError(f"Unknown mixture {name!r}; choose one of {', '.join(MIXES)}.")
    layers = {n.split(".")[1] for n in shapes if n.startswith("blk.")}
    types = {
        tensor: tensor_type(
            tensor,
            shape,
            MIXES[name],
            n_layers=len(layers),
            tied=OUTPUT not in shapes,
        )
        for tensor, shape in shapes.items()
    }
    n_bytes = sum(StoredTensor(types[n], s).n_bytes for n, s in shapes.items())
    return Prediction(types, sum(map(prod, shapes.values())), n_bytes)


def file_bytes(source: Header, name: str) -> int:
    """Return the size of the file that llama.cpp makes of another, in bytes.

    Args:
        source: The header of the file to quantize.
        name: Of the mixture.

    Raises: ValueError on an unknown mixture.
    """
    shapes = {n: tensor.shape for n, tensor in source.tensors.items()}
    types = predict(shapes, name).types
    fields = dict(source.fields)
    for own in (VERSION_FIELD, FILE_TYPE):  # rewritten or added, four bytes each
        fields[own] = (UINT32, bytes(4))
    size = START.size + sum(len(packed_field(n, *f)) for n, f in fields.items())
    stored = {n: StoredTensor(types[n], shape) for n, shape in shapes.items()}
    size += sum(len(packed_tensor(n, tensor)) for n, tensor in stored.items())
    alignment = source.alignment()
    for tensor in stored.values():
        size += -size % alignment
        size += tensor.n_bytes
    return size + -size % alignment


def llama_shapes(card: ModelCard) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a llama model as a GGUF file names them.

    Raises: ValueError if the model is no llama.
    """
    if card.model_type != "llama":
        raise ValueError(
            f"{card.id} is a {card.model_type} model; only llama tensors are listed "
            "here."
        )
    hidden, inner, kv = (
        card.hidden_size,
        card.intermediate_size,
        card.n_kv_heads * card.head_dim,
    )
    layer = {
        "attn_norm": (hidden,),
        "attn_q": (card.n_heads * card.head_dim, hidden),
        "attn_k": (kv, hidden),
        "attn_v": (kv, hidden),
        "attn_output": (hidden, card.n_heads * card.head_dim),
        "ffn_norm": (hidden,),
        "ffn_gate": (inner, hidden),
        "ffn_up": (inner, hidden),
        "ffn_down": (hidden, inner),
    }
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (card.vocab_size, hidden)}
    for i in range(card.n_layers):
        shapes |= {f"blk.{i}.{name}.weight": shape for name, shape in layer.items()}
    shapes["output_norm.weight"] = (hidden,)
    if not card.tied:
        shapes[OUTPUT] = (card.vocab_size, hidden)
    return shapes
