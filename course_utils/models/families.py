"""What a decoder layer consists of, family by family: names and shapes as data.

    path      where the list of decoder layers hangs in transformers' model
    linear    name inside a layer -> (output, input) channels, in the order in which
              a token passes through them

Channels are named by what they are, so that one row serves every size of a family:

    hidden       width of the residual stream
    query        query heads times channels of a head
    key_value    key-value heads times channels of a head
    qkv          query and twice key_value, in one matrix
    inner        width inside the MLP
    gate_up      twice inner, in one matrix

This module needs neither torch nor transformers.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Where the linear layers of one model type are, and their shapes.

    Attributes:
        path: Of the list of decoder layers.
        linear: Name in a layer -> names of its (output, input) channels.
    """

    path: str
    linear: dict[str, tuple[str, str]]


_LLAMA = Family(
    "model.layers",
    {
        "self_attn.q_proj": ("query", "hidden"),
        "self_attn.k_proj": ("key_value", "hidden"),
        "self_attn.v_proj": ("key_value", "hidden"),
        "self_attn.o_proj": ("hidden", "query"),
        "mlp.gate_proj": ("inner", "hidden"),
        "mlp.up_proj": ("inner", "hidden"),
        "mlp.down_proj": ("hidden", "inner"),
    },
)
_PHI3 = Family(
    "model.layers",
    {
        "self_attn.qkv_proj": ("qkv", "hidden"),
        "self_attn.o_proj": ("hidden", "query"),
        "mlp.gate_up_proj": ("gate_up", "hidden"),
        "mlp.down_proj": ("hidden", "inner"),
    },
)
_OPT = Family(
    "model.decoder.layers",
    {
        "self_attn.q_proj": ("query", "hidden"),
        "self_attn.k_proj": ("key_value", "hidden"),
        "self_attn.v_proj": ("key_value", "hidden"),
        "self_attn.out_proj": ("hidden", "query"),
        "fc1": ("inner", "hidden"),
        "fc2": ("hidden", "inner"),
    },
)
_GPT2 = Family(
    "transformer.h",
    {
        "attn.c_attn": ("qkv", "hidden"),
        "attn.c_proj": ("hidden", "query"),
        "mlp.c_fc": ("inner", "hidden"),
        "mlp.c_proj": ("hidden", "inner"),
    },
)

# Model type in the configuration -> family.
FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "phi3": _PHI3,
    "opt": _OPT,
    "gpt2": _GPT2,
}


def family(model_type: str) -> Family:
    """Return the family of a model type.

    Raises: ValueError for a model type that FAMILIES does not list.
    """
    if model_type not in FAMILIES:
        raise ValueError(
            f"No layer names for model type {model_type!r}; known are "
            f"{', '.join(FAMILIES)}. Add a row to FAMILIES."
        )
    return FAMILIES[model_type]
