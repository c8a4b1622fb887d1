"""From a llama.cpp GGUF file to float32 weights under transformers' names.

A GGUF file stores each matrix as blocks of 32 weights along a row:

    Q4_1   w = d * q + m     q in 0..15   d, m float16, then 16 bytes of codes
    Q8_0   w = d * q         q in -127..127    d float16, then 32 signed bytes

In Q4_1 byte i holds the codes of weight i (low half) and weight i + 16 (high half).

llama.cpp rotates neighbouring pairs of a head's rows where transformers rotates row
i with row i + head_dim / 2, so its converter interleaves the two halves of each
head in the query and key matrices. `unpermute` undoes that.

Source: the block layouts are those of ggml-common.h. Left out: every block type
that the embedded model does not use.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader

BLOCK = 32

TENSOR_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}
# transformers' configuration key -> GGUF field
CONFIG_FIELDS = {
    "vocab_size": "llama.vocab_size",
    "hidden_size": "llama.embedding_length",
    "intermediate_size": "llama.feed_forward_length",
    "num_hidden_layers": "llama.block_count",
    "num_attention_heads": "llama.attention.head_count",
    "num_key_value_heads": "llama.attention.head_count_kv",
    "head_dim": "llama.rope.dimension_count",
    "max_position_embeddings": "llama.context_length",
    "rms_norm_eps": "llama.attention.layer_norm_rms_epsilon",
    "rope_theta": "llama.rope.freq_base",
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
    "pad_token_id": "tokenizer.ggml.padding_token_id",
}


def from_q4_1(blocks: np.ndarray) -> np.ndarray:
    """Return the weights of Q4_1 blocks.

    Shapes: blocks (n, 20) uint8 -> (n, 32) float32.
    """
    d = blocks[:, 0:2].view(np.float16).astype(np.float32)
    m = blocks[:, 2:4].view(np.float16).astype(np.float32)
    codes = blocks[:, 4:]
    q = np.concatenate([codes & 0x0F, codes >> 4], axis=1)
    return d * q.astype(np.float32) + m


def from_q8_0(blocks: np.ndarray) -> np.ndarray:
    """Return the weights of Q8_0 blocks.

    Shapes: blocks (n, 34) uint8 -> (n, 32) float32.
    """
    d = blocks[:, 0:2].view(np.float16).astype(np.float32)
    return d * blocks[:, 2:].view(np.int8).astype(np.float32)


# GGUF block type -> (bytes per block, decoder)
DECODERS: dict[GGMLQuantizationType, tuple[int, Callable]] = {
    GGMLQuantizationType.Q4_1: (20, from_q4_1),
    GGMLQuantizationType.Q8_0: (34, from_q8_0),
}


def dequantize(data: np.ndarray, kind: GGMLQuantizationType) -> np.ndarray:
    """Return the float32 weights of one stored tensor.

    Shapes: data (rows, bytes per row) uint8 -> (rows, cols); float32 as it is.
    Raises: ValueError for a block type without a decoder.
    """
    if kind == GGMLQuantizationType.F32:
        return np.asarray(data, dtype=np.float32)
    if kind not in DECODERS:
        known = ", ".join(k.name for k in DECODERS)
        raise ValueError(f"No decoder for {kind.name} blocks; known are {known}, F32.")
    size, decode = DECODERS[kind]
    blocks = np.ascontiguousarray(data).reshape(-1, size)
    return decode(blocks).reshape(data.shape[0], -1)


def unpermute(w: np.ndarray, n_heads: int) -> np.ndarray:
    """Return query or key rows in transformers' order.

    Shapes: w (n_heads * head_dim, cols) -> same.
    """
    half = w.shape[0] // n_heads // 2
    pairs = w.reshape(n_heads, half, 2, -1)  # (head, i, which half, cols)
    return pairs.swapaxes(1, 2).reshape(w.shape)


@dataclass(frozen=True)
class GgufModel:
    """A llama-type GGUF file, its tensors decoded one at a time.

    Attributes:
        path: The file.
        reader: The open file.
    """

    path: Path
    reader: GGUFReader

    @classmethod
    def open(cls, path: Path) -> "GgufModel":
        """Open `path`.

        Raises: ValueError if it holds another architecture than llama.
        """
        model = cls(path, GGUFReader(path))
        if (kind := model.field("general.architecture")) != "llama":
            raise ValueError(f"{path} holds a {kind} model; this reader knows llama.")
        return model

    def field(self, name: str) -> object:
        """Return the value of a metadata field."""
        return self.reader.fields[name].contents()

    def config(self) -> dict:
        """Return transformers' configuration of this model."""
        config = {key: self.field(name) for key, name in CONFIG_FIELDS.items()}
        tied = all(tensor.name != "output.weight" for tensor in self.reader.tensors)
        return config | {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": tied,
            "torch_dtype": "float32",
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return every tensor's name and shape, in the file's order."""
        # GGUF writes the fastest axis first, numpy last.
        return {
            hf_name(t.name): tuple(int(n) for n in reversed(t.shape))
            for t in self.reader.tensors
        }

    def weights(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (name, float32 array) for every tensor, in the order of `shapes`."""
        heads = {
            "self_attn.q_proj.weight": self.field(CONFIG_FIELDS["num_attention_heads"]),
            "self_attn.k_proj.weight": self.field(CONFIG_FIELDS["num_key_value_heads"]),
        }
        for tensor in self.reader.tensors:
            name = hf_name(tensor.name)
            w = dequantize(tensor.data, tensor.tensor_type)
            for ending, n_heads in heads.items():
                if name.endswith(ending):
                    w = unpermute(w, n_heads)
            yield name, w


def hf_name(name: str) -> str:
    """Return transformers' name of a GGUF tensor of a llama model.

    Raises: ValueError for a name that llama models do not have.
    """
    if name in OUTER_NAMES:
        return OUTER_NAMES[name]
    parts = name.split(".")  # blk.0.attn_q.weight
    if len(parts) != 4 or parts[0] != "blk" or parts[2] not in TENSOR_NAMES:
        raise ValueError(f"Unknown GGUF tensor name: {name}.")
    return f"model.layers.{parts[1]}.{TENSOR_NAMES[parts[2]]}.{parts[3]}"
