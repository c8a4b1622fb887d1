import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from course_utils.models import tokenizer as module
from course_utils.models.texts import evaluation_text


@pytest.fixture(scope="module")
def backend(gguf_model) -> Tokenizer:
    return module.build(gguf_model)


@settings(deadline=None)
@given(
    text=st.text(
        st.characters(exclude_categories=["Cc", "Cn", "Cs"], include_characters="\t\n")
    )
)
def test_any_text_comes_back(backend, text):
    """Of assigned characters, tab and newline: some control bytes have no piece."""
    assert backend.decode(backend.encode(text).ids) == text


def test_digits_are_cut_one_by_one(backend):
    tokens = backend.encode("in 2024 and 1.25").tokens
    assert tokens == ["in", "Ġ", "2", "0", "2", "4", "Ġand", "Ġ", "1", ".", "2", "5"]


def test_special_tokens(embedded_tokenizer):
    t = embedded_tokenizer
    assert (t.eos_token, t.eos_token_id) == ("<|im_end|>", 2)
    assert (t.pad_token, t.pad_token_id) == ("<|im_end|>", 2)
    assert (t.bos_token, t.bos_token_id) == ("<|im_start|>", 1)
    assert (t.unk_token, t.unk_token_id) == ("<|endoftext|>", 0)
    assert len(t) == 49_152


def test_no_start_token_is_added(embedded_tokenizer):
    assert (
        embedded_tokenizer("The sea")["input_ids"]
        == (embedded_tokenizer("The sea", add_special_tokens=False)["input_ids"])
    )


def test_the_loaded_tokenizer_is_the_one_of_the_file(backend, embedded_tokenizer):
    text = evaluation_text()
    ids = embedded_tokenizer(text, verbose=False)["input_ids"]
    assert ids == backend.encode(text).ids
    assert embedded_tokenizer.decode(ids) == text


def test_the_chat_template_is_carried(embedded_tokenizer):
    text = embedded_tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert text.startswith("<|im_start|>system\n")
    assert text.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")


def test_special_tokens_in_text_are_single_tokens(embedded_tokenizer):
    assert embedded_tokenizer("<|im_start|>user")["input_ids"][0] == 1
