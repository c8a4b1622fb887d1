"""A model small enough to compute by hand, and one sequence of tokens for it."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

VOCAB = 97


@pytest.fixture(scope="session")
def tiny():
    """Return a random Llama with 3 layers; weights large enough to have opinions."""
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        initializer_range=0.3,
        attention_dropout=0.5,
    )
    torch.manual_seed(7)
    return LlamaForCausalLM(config).float().eval()


@pytest.fixture(scope="session")
def other(tiny):
    """Return another model with the same vocabulary."""
    torch.manual_seed(8)
    return LlamaForCausalLM(tiny.config).float().eval()


@pytest.fixture(scope="session")
def tokens():
    generator = torch.Generator().manual_seed(3)
    return torch.randint(VOCAB, (1300,), generator=generator)


class Words:
    """A tokenizer of one id per word; a word keeps the space before it."""

    def encode(self, text, *, add_special_tokens):
        assert not add_special_tokens
        words = text.replace(" ", "\0 ").split("\0")
        return [sum(map(ord, word)) % VOCAB for word in words if word]


@pytest.fixture
def words():
    return Words()
