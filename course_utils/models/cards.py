"""The models of the book as data: what their configurations on the hub say.

Gated models are here for their shapes alone: memory can be counted without a
download. Parameter counts are not here; `card` computes them from the shapes.

Source: config.json of each repository. A test builds every model from its row in
transformers, without weights, and counts.
"""

EMBEDDED = "embedded"
ORIGINAL = "HuggingFaceTB/SmolLM2-135M-Instruct"

# The embedded model is pinned to these: how its weights are made, and their sha256.
# Rescaling is exact enough to give the same bytes on every machine.
FORMAT = "off-grid-1"
WEIGHTS_SHA256 = "cb5171b18796ed1b1a4cf271ea165e0685a92a674b75b25fe088be3ccd4dbce7"

_FIELDS = (
    *("model_type", "n_layers", "hidden_size", "intermediate_size", "n_heads"),
    *("n_kv_heads", "head_dim", "vocab_size", "max_context", "tied", "licence"),
)


def _row(text: str, **more: object) -> dict:
    """Return the fields of one line of the tables below."""
    model_type, *numbers, tied, licence = text.split()
    values = [model_type, *map(int, numbers), tied == "tied", licence]
    return dict(zip(_FIELDS, values, strict=True)) | more


# Model type, layers, hidden size, intermediate size, query heads, key-value heads,
# channels of a head, vocabulary, longest context, output matrix, licence.
SMOLLM2_135M = _row("llama 30 576 1536 9 3 64 49152 8192 tied Apache-2.0")

UNGATED: dict[str, dict] = {
    ORIGINAL: SMOLLM2_135M,
    "HuggingFaceTB/SmolLM2-360M-Instruct": _row(
        "llama 32 960 2560 15 5 64 49152 8192 tied Apache-2.0"
    ),
    "Qwen/Qwen2.5-0.5B-Instruct": _row(
        "qwen2 24 896 4864 14 2 64 151936 32768 tied Apache-2.0", qkv_bias=True
    ),
    "Qwen/Qwen3-0.6B": _row(
        "qwen3 28 1024 3072 16 8 128 151936 40960 tied Apache-2.0", qk_norm=True
    ),
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": _row(
        "llama 22 2048 5632 32 4 64 32000 2048 own Apache-2.0"
    ),
    "Qwen/Qwen2.5-1.5B-Instruct": _row(
        "qwen2 28 1536 8960 12 2 128 151936 32768 tied Apache-2.0", qkv_bias=True
    ),
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": _row(
        "llama 24 2048 8192 32 32 64 49152 8192 tied Apache-2.0"
    ),
    "Qwen/Qwen2.5-3B-Instruct": _row(
        "qwen2 36 2048 11008 16 2 128 151936 32768 tied LicenseRef-Qwen-Research",
        qkv_bias=True,
    ),
    "Qwen/Qwen3-4B": _row(
        "qwen3 36 2560 9728 32 8 128 151936 40960 tied Apache-2.0", qk_norm=True
    ),
    "Qwen/Qwen2.5-7B-Instruct": _row(
        "qwen2 28 3584 18944 28 4 128 152064 32768 own Apache-2.0", qkv_bias=True
    ),
    "Qwen/Qwen3-8B": _row(
        "qwen3 36 4096 12288 32 8 128 151936 40960 own Apache-2.0", qk_norm=True
    ),
}

GATED: dict[str, dict] = {
    "meta-llama/Llama-3.2-1B": _row(
        "llama 16 2048 8192 32 8 64 128256 131072 tied LicenseRef-Llama-3.2"
    ),
    "meta-llama/Llama-3.2-3B": _row(
        "llama 28 3072 8192 24 8 128 128256 131072 tied LicenseRef-Llama-3.2"
    ),
    "meta-llama/Llama-2-7b-hf": _row(
        "llama 32 4096 11008 32 32 128 32000 4096 own LicenseRef-Llama-2"
    ),
    "meta-llama/Llama-3.1-8B": _row(
        "llama 32 4096 14336 32 8 128 128256 131072 own LicenseRef-Llama-3.1"
    ),
    "meta-llama/Llama-2-13b-hf": _row(
        "llama 40 5120 13824 40 40 128 32000 4096 own LicenseRef-Llama-2"
    ),
    "meta-llama/Llama-2-70b-hf": _row(
        "llama 80 8192 28672 64 8 128 32000 4096 own LicenseRef-Llama-2"
    ),
    "meta-llama/Llama-3.1-70B": _row(
        "llama 80 8192 28672 64 8 128 128256 131072 own LicenseRef-Llama-3.1"
    ),
}
