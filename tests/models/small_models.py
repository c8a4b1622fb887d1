"""Models of a few thousand weights, one for each family, built from their shape."""

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

VOCAB = 97
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
    "attention_dropout": 0.5,
}
KINDS = {
    "llama": (LlamaForCausalLM, LlamaConfig, SIZES),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, SIZES),
    "phi3": (Phi3ForCausalLM, Phi3Config, {**SIZES, "pad_token_id": 0}),
    "opt": (
        OPTForCausalLM,
        OPTConfig,
        {
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "ffn_dim": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 64,
            "word_embed_proj_dim": 32,
            "init_std": 0.3,
        },
    ),
    "gpt2": (
        GPT2LMHeadModel,
        GPT2Config,
        {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 3, "n_head": 4},
    ),
}


def small(kind="llama", **changes):
    """Return a random model of a family, in evaluation mode."""
    model, config, sizes = KINDS[kind]
    torch.manual_seed(7)
    return model(config(**{**sizes, **changes})).float().eval()


def tokens(n_windows=6, length=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB, (n_windows, length), generator=generator)
