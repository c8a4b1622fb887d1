"""llama.cpp computes what we compute, and what is missing or wrong is said."""

import copy
import math
import sys
from pathlib import Path

import pytest
import torch

from course_utils.measure.agreement import logits_of
from course_utils.models import fetch, gguf_file, llama_cpp, texts
from course_utils.models.cache import ModelError

built = pytest.mark.skipif(not llama_cpp.available(), reason=llama_cpp.MISSING)
N = 48


@pytest.fixture(scope="module")
def tokens(embedded_tokenizer):
    return texts.evaluation_tokens(embedded_tokenizer, n=N)


@pytest.fixture(scope="module")
def f32_file(embedded_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("llama") / "f32.gguf"
    yield gguf_file.write(embedded_model, fetch.gguf_file(), path)
    path.unlink()


def log_likelihoods(logits, tokens):
    log_p = logits.double().log_softmax(dim=-1)
    return log_p[:-1].gather(1, tokens[1:, None]).squeeze(1)


@pytest.fixture(scope="module")
def ours(embedded_model, tokens):
    """Return our float32 log-likelihoods and how far they may be from another's.

    The error of float32 is measured against float64. Another order of summation has an
    error of the same kind: in sums of n terms rounding errors grow with the square root
    of the number of terms that go into one partial sum, and the orders in use lie
    between blocks of 8 lanes and one sum over all 1,536 columns of the widest
    matrix. So the other one's error is at most sqrt(1536 / 8) times ours.
    """
    got = log_likelihoods(logits_of(embedded_model)(tokens), tokens)
    with torch.no_grad():
        exact_logits = copy.deepcopy(embedded_model).double()(tokens[None]).logits[0]
    own_error = (got - log_likelihoods(exact_logits, tokens)).abs().max().item()
    return got, own_error * (1 + math.sqrt(1536 / 8))


@built
def test_log_likelihoods_of_a_float32_file_equal_ours(f32_file, ours, tokens):
    expected, tolerance = ours
    with llama_cpp.open_file(f32_file) as file:
        got = log_likelihoods(file.logits(tokens), tokens)
    assert (got - expected).abs().max().item() <= tolerance
    assert tolerance < 1e-2  # nats: far below what rounding weights does


@built
def test_the_comparison_would_notice_16_bit_keys_and_8_bit_weights(
    f32_file, ours, tokens, tmp_path
):
    expected, tolerance = ours
    with llama_cpp.open_file(f32_file, kv_bits=16) as file:
        halved = log_likelihoods(file.logits(tokens), tokens)
    assert (halved - expected).abs().max().item() > tolerance
    path = llama_cpp.quantize(f32_file, tmp_path / "q8.gguf", "Q8_0")
    with llama_cpp.open_file(path) as file:
        rounded = log_likelihoods(file.logits(tokens), tokens)
    assert (rounded - expected).abs().max().item() > tolerance


@built
def test_windows_do_not_see_each_other(f32_file, tokens):
    with llama_cpp.open_file(f32_file) as file:
        first = file.logits(tokens[:20])
        file.logits(tokens[20:])
        again = file.logits(tokens[:20])
    assert torch.equal(first, again)


@built
def test_reading_in_parts_gives_the_last_row_and_writing_follows_it(f32_file, tokens):
    with llama_cpp.open_file(f32_file) as file:
        row = file.logits(tokens[:20])[-1]
    with llama_cpp.open_file(f32_file, every_row=False, kv_bits=32) as file:
        file.read(tokens[:12])
        assert file.n_past == 12
        parts = file.read(tokens[12:20])
        # Other shapes of the same products: float32 rounding of logits near 20.
        assert torch.allclose(parts, row, atol=1e-3)
        assert torch.equal(
            file.last_logits([tokens[:20]]).argmax(dim=1), row.argmax()[None]
        )
        words = file.write(tokens[:20], 3)
        assert words.shape == (3,)
        assert words[0] == row.argmax()
        longer = torch.cat([tokens[:20], words[:2]])
        assert file.last_logits([longer]).argmax() == words[2]


@built
def test_types_in_the_file_are_those_asked_for(f32_file, tmp_path):
    path = llama_cpp.quantize(f32_file, tmp_path / "q.gguf", "Q8_0")
    kinds = gguf_file.tensor_types(path)
    matrices = {kind for name, kind in kinds.items() if "norm" not in name}
    assert matrices == {"Q8_0"}
    assert {kind for name, kind in kinds.items() if "norm" in name} == {"F32"}


@built
def test_q4_k_m_falls_back_where_rows_are_not_whole_blocks(f32_file, tmp_path):
    path = llama_cpp.quantize(f32_file, tmp_path / "q.gguf", "Q4_K_M")
    for name, tensor in gguf_file.tensors(path).items():
        if tensor.kind in ("Q4_K", "Q6_K"):
            assert tensor.shape[-1] % 256 == 0, name
        if len(tensor.shape) == 2 and tensor.shape[-1] % 256 == 0:
            assert tensor.kind in ("Q4_K", "Q6_K"), name


@built
def test_an_unknown_type_is_answered_with_the_list(f32_file, tmp_path):
    with pytest.raises(ModelError, match=r"Q9_Z.*Q4_K_M"):
        llama_cpp.quantize(f32_file, tmp_path / "q.gguf", "Q9_Z")
    assert "Q4_K_M" in llama_cpp.type_names()


@built
def test_a_refusal_of_the_library_leaves_no_file(f32_file, tmp_path):
    with pytest.raises(ModelError, match="IQ2_XS"):
        llama_cpp.quantize(f32_file, tmp_path / "q.gguf", "IQ2_XS")
    assert not (tmp_path / "q.gguf").exists()


@built
def test_nothing_is_printed(f32_file, tmp_path, capfd):
    path = llama_cpp.quantize(f32_file, tmp_path / "q.gguf", "Q8_0")
    with llama_cpp.open_file(path, every_row=False) as file:
        file.read(torch.tensor([1, 2]))
    assert capfd.readouterr() == ("", "")


@built
def test_windows_that_do_not_fit_are_refused(f32_file):
    with llama_cpp.open_file(f32_file) as file:
        for window in (torch.tensor([], dtype=torch.long), torch.ones(513).long()):
            with pytest.raises(ValueError, match="512"):
                file.logits(window)
    with (
        llama_cpp.open_file(f32_file, every_row=False) as file,
        pytest.raises(ValueError, match="every_row"),
    ):
        file.logits(torch.tensor([1, 2]))
    with (
        pytest.raises(ValueError, match="kv_bits"),
        llama_cpp.open_file(f32_file, kv_bits=8),
    ):
        pass


@built
def test_a_missing_file_is_named(tmp_path):
    with (
        pytest.raises(ModelError, match=r"no\.gguf"),
        llama_cpp.open_file(tmp_path / "no.gguf"),
    ):
        pass


def test_where_llama_cpp_is_hidden_a_sentence_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, llama_cpp.PACKAGE, None)
    assert llama_cpp.missing() == llama_cpp.MISSING
    assert not llama_cpp.available()
    with pytest.raises(ModelError, match="make llama"):
        llama_cpp.quantize(tmp_path / "a", tmp_path / "b", "Q8_0")
    with pytest.raises(ModelError, match="make llama"), llama_cpp.open_file(tmp_path):
        pass


@pytest.fixture
def no_library(monkeypatch):
    """A package that knows one type and must not be called further."""
    monkeypatch.setattr(llama_cpp, "_file_types", lambda: {"Q8_0": 7})
    monkeypatch.setattr(llama_cpp, "_library", lambda: pytest.fail("called"))


def test_a_source_that_is_not_there_is_named(no_library, tmp_path):
    for source in (tmp_path / "no.gguf", tmp_path):
        with pytest.raises(ModelError, match="There is no file") as raised:
            llama_cpp.quantize(source, tmp_path / "q.gguf", "Q8_0")
        assert str(source) in str(raised.value)


def test_a_file_is_not_quantized_into_itself(no_library, tmp_path, monkeypatch):
    source = tmp_path / "f32.gguf"
    source.write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    for target in (source, tmp_path / "." / "f32.gguf", Path("f32.gguf")):
        with pytest.raises(ModelError, match="source and target"):
            llama_cpp.quantize(source, target, "Q8_0")
    assert source.read_bytes() == b"weights"
