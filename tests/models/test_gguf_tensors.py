"""Our own GGUF quantizer: llama.cpp's file from our encoders, and reading it back."""

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.models import (
    fetch,
    gguf_file,
    gguf_header,
    gguf_mix,
    gguf_tensors,
    llama_cpp,
)

built = pytest.mark.skipif(not llama_cpp.available(), reason=llama_cpp.MISSING)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A float32 file of a random llama whose rows blocks of 256 divide."""
    n_tokens = gguf_header.read_header(fetch.gguf_file()).count(gguf_file.TOKENS)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=n_tokens,
        hidden_size=256,
        intermediate_size=320,  # which 256 does not divide: ffn_down is substituted
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    path = tmp_path_factory.mktemp("tensors") / "f32.gguf"
    yield gguf_file.write(LlamaForCausalLM(config), fetch.gguf_file(), path)
    path.unlink()


def contents(path):
    """Return the header of a file and all its data."""
    header = gguf_header.read_header(path)
    raw = np.fromfile(path, np.uint8, offset=gguf_tensors._data_start(header))
    return header, raw


@built
@pytest.mark.parametrize("name", ["Q8_0", "F16"])
def test_metadata_and_data_are_llama_cpps_byte_for_byte(name, source, tmp_path):
    ours = gguf_tensors.quantize(source, tmp_path / "ours.gguf", name)
    theirs = llama_cpp.quantize(source, tmp_path / "theirs.gguf", name)
    (header, raw), (expected_header, expected) = contents(ours), contents(theirs)
    assert header == expected_header
    np.testing.assert_array_equal(raw, expected)


@built
@pytest.mark.parametrize("name", ["Q4_0", "Q4_K_M"])
def test_types_are_llama_cpps_and_the_error_too(name, source, tmp_path):
    ours = gguf_tensors.quantize(source, tmp_path / "ours.gguf", name)
    theirs = llama_cpp.quantize(source, tmp_path / "theirs.gguf", name)
    (header, raw), (expected_header, expected) = contents(ours), contents(theirs)
    assert header == expected_header
    for stored in header.tensors.values():
        part = slice(stored.offset, stored.offset + stored.n_bytes)
        if stored.kind not in ("Q4_K", "Q6_K"):
            np.testing.assert_array_equal(raw[part], expected[part])
    floats = gguf_header.read_header(source)
    for tensor in ("token_embd.weight", "blk.0.attn_v.weight", "blk.3.attn_v.weight"):
        w = gguf_tensors._weights(source, floats, tensor)
        errors = [
            (gguf_tensors._weights(path, header, tensor) - w).square().mean().item()
            for path in (ours, theirs)
        ]
        # 1 % of the root mean square is 2 % of the mean square.
        assert errors[0] == pytest.approx(errors[1], rel=0.02)


@built
def test_llama_cpp_runs_our_file(source, tmp_path):
    """The same logits as from llama.cpp's own file of the same bytes."""
    tokens = torch.arange(100, 116)
    logits = []
    for quantize in (gguf_tensors.quantize, llama_cpp.quantize):
        path = quantize(source, tmp_path / "q8.gguf", "Q8_0")
        with llama_cpp.open_file(path) as file:
            logits.append(file.logits(tokens))
    assert torch.equal(*logits)


def test_a_tensor_of_the_embedded_file_is_gguf_pys(gguf_model):
    path = fetch.gguf_file()
    reader = {tensor.name: tensor for tensor in gguf_model.reader.tensors}
    for name in (
        "blk.3.ffn_down.weight",
        "blk.0.attn_norm.weight",
        "token_embd.weight",
    ):
        kind = GGMLQuantizationType(reader[name].tensor_type)
        expected = dequantize(reader[name].data, kind)
        np.testing.assert_array_equal(gguf_tensors.read(path, name).numpy(), expected)


def test_refusals_leave_no_file(source, tmp_path):
    target = tmp_path / "out.gguf"
    with pytest.raises(ValueError, match="Q5_K_M is not written here"):
        gguf_tensors.quantize(source, target, "Q5_K_M")
    with pytest.raises(ValueError, match="quantize from a file in float32"):
        gguf_tensors.quantize(fetch.gguf_file(), target, "Q4_0")
    with pytest.raises(ValueError, match="has no tensor blk"):
        gguf_tensors.read(source, "blk.99.ffn_up.weight")
    with pytest.raises(ValueError, match="There is no file"):
        gguf_tensors.read(tmp_path / "none.gguf", "output.weight")
    assert not list(tmp_path.iterdir())
    assert set(gguf_tensors.FILE_TYPES) <= set(gguf_mix.MIXES)
