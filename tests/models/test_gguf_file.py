"""Our GGUF file against the gguf package, and against the file it came from."""

import numpy as np
import pytest
from gguf import GGUFReader
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.models import fetch, gguf_file, gguf_header
from course_utils.models.dequantize import hf_name, unpermute

SKIPPED = ("GGUF.", gguf_file.FILE_TYPE)


@pytest.fixture(scope="module")
def source():
    return fetch.gguf_file()


@pytest.fixture(scope="module")
def small(source):
    """Return a random llama with the source's vocabulary and an output matrix."""
    config = LlamaConfig(
        vocab_size=gguf_header.read_header(source).count(gguf_file.TOKENS),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=777,
        rope_parameters={"rope_type": "default", "rope_theta": 4321.0},
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).float().eval()


@pytest.fixture(scope="module")
def written(small, source, tmp_path_factory):
    return gguf_file.write(small, source, tmp_path_factory.mktemp("gguf") / "f32.gguf")


@pytest.fixture(scope="module")
def reader(written):
    return GGUFReader(written)


def test_every_weight_is_in_the_file_bit_for_bit(small, reader):
    state = small.state_dict()
    heads = {"self_attn.q_proj.weight": 4, "self_attn.k_proj.weight": 2}
    seen = set()
    for tensor in reader.tensors:
        is_output = tensor.name == "output.weight"
        name = "lm_head.weight" if is_output else hf_name(tensor.name)
        w = np.asarray(tensor.data)
        for ending, n in heads.items():
            w = unpermute(w, n) if name.endswith(ending) else w
        np.testing.assert_array_equal(w, state[name].numpy(), err_msg=name)
        seen.add(name)
    assert seen == set(state)


def test_shape_comes_from_the_model_and_the_rest_from_the_source(source, reader):
    before = GGUFReader(source)
    own = {
        "llama.block_count": 2,
        "llama.embedding_length": 32,
        "llama.feed_forward_length": 48,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.rope.dimension_count": 8,
        "llama.context_length": 777,
        "llama.rope.freq_base": 4321.0,
    }
    for name, field in before.fields.items():
        if name.startswith(SKIPPED):
            continue
        expected = own.get(name, field.contents())
        if name == "llama.attention.layer_norm_rms_epsilon":
            # The model's own value, as float32 holds it.
            expected = float(np.float32(1e-6))
        assert reader.fields[name].contents() == expected, name
    assert reader.fields[gguf_file.FILE_TYPE].contents() == gguf_file.F32


@pytest.mark.parametrize("which", ["source", "written"])
def test_header_agrees_with_the_gguf_package(which, request):
    path = request.getfixturevalue(which)
    expected = {
        t.name: (t.tensor_type.name, tuple(map(int, reversed(t.shape))), int(t.n_bytes))
        for t in GGUFReader(path).tensors
    }
    found = gguf_file.tensors(path)
    assert {n: (t.kind, t.shape, t.n_bytes) for n, t in found.items()} == expected
    assert gguf_file.tensor_types(path) == {n: e[0] for n, e in expected.items()}


def test_permute_and_unpermute_are_inverse_and_not_the_identity():
    w = np.arange(48.0).reshape(24, 2)
    assert not np.array_equal(gguf_file.permute(w, 3), w)
    np.testing.assert_array_equal(unpermute(gguf_file.permute(w, 3), 3), w)
    # Rows i and i + half of a head become neighbours.
    np.testing.assert_array_equal(gguf_file.permute(w, 3)[:4, 0], w[[0, 4, 1, 5], 0])


def test_another_vocabulary_is_refused(source, tmp_path):
    config = LlamaConfig(
        vocab_size=100,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    model = LlamaForCausalLM(config)
    with pytest.raises(ValueError, match="100 tokens"):
        gguf_file.write(model, source, tmp_path / "no.gguf")
    assert not (tmp_path / "no.gguf").exists()


def test_another_architecture_is_refused(small, source, monkeypatch):
    assert gguf_file.unsupported(small, source) == ""
    monkeypatch.setattr(small.config, "model_type", "opt")
    assert "opt" in gguf_file.unsupported(small, source)


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"not a model at all, but long enough"]
)
def test_a_file_of_another_kind_is_refused(content, tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a GGUF file"):
        gguf_file.tensors(path)


def test_another_version_is_refused(source, tmp_path):
    path = tmp_path / "old.gguf"
    path.write_bytes(b"GGUF\x02\0\0\0" + source.read_bytes()[8:64])
    with pytest.raises(ValueError, match="version 2"):
        gguf_file.tensors(path)


def test_a_missing_array_is_named(source):
    with pytest.raises(ValueError, match=r"general\.name"):
        gguf_header.read_header(source).count("general.name")
