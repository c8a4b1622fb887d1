"""The embedded model's tokenizer, read from its GGUF file.

Byte-level BPE. Text is first cut into single digits and the rest, then by GPT-2's
rule into words with their leading space, and each piece is merged on its own. The
GGUF file names this cutting `smollm`; it holds the pieces and the merges. A few control
bytes have no piece: such characters are dropped. All assigned characters have one.

transformers' own GGUF reader leaves out the cutting at digits, takes the start
token for the end token and sets no padding token, so we do not use it.
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from course_utils.models.dequantize import GgufModel

CONTROL = 3  # GGUF's token type for tokens that text never spells


def build(gguf: GgufModel) -> Tokenizer:
    """Return the tokenizer that the GGUF file describes.

    Raises: ValueError for another kind of tokenizer.
    """
    kind = gguf.field("tokenizer.ggml.model"), gguf.field("tokenizer.ggml.pre")
    if kind != ("gpt2", "smollm"):
        raise ValueError(f"{gguf.path} has a {kind} tokenizer; expected gpt2, smollm.")
    tokens = gguf.field("tokenizer.ggml.tokens")
    merges = [tuple(m.split(" ")) for m in gguf.field("tokenizer.ggml.merges")]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    types = gguf.field("tokenizer.ggml.token_type")
    tokenizer.add_special_tokens(
        [
            AddedToken(token, normalized=False, special=True)
            for token, kind in zip(tokens, types, strict=True)
            if kind == CONTROL
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def save(gguf: GgufModel, folder: Path) -> None:
    """Write the tokenizer's files so that transformers loads them."""
    build(gguf).save(str(folder / "tokenizer.json"))
    tokens = gguf.field("tokenizer.ggml.tokens")

    def special(name: str) -> str:
        return tokens[gguf.field(f"tokenizer.ggml.{name}_token_id")]

    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": special("bos"),
        "eos_token": special("eos"),
        "unk_token": special("unknown"),
        "pad_token": special("padding"),
        "model_max_length": gguf.field("llama.context_length"),
        "clean_up_tokenization_spaces": False,
        "chat_template": gguf.field("tokenizer.chat_template"),
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
