"""Our GGUF file against the gguf package, and against the file it came from."""

import errno
import struct

import numpy as np
import pytest
import torch
from gguf import GGUFReader, GGUFValueType
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
    "content", [b"", b"GGU", b"short", b"not a model at all, but long enough"]
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


WORDS = ["<s>", "</s>", "a", "b"]


def field_list(kind: GGUFValueType, n: int, values: bytes) -> bytes:
    """Return an array as GGUF stores it."""
    return struct.pack("<IQ", kind, n) + values


def front(architecture: str = "llama") -> dict:
    """Return the fields of a tiny file: scalars, strings and arrays of both."""
    string, array, u32 = (GGUFValueType[n] for n in ("STRING", "ARRAY", "UINT32"))
    words = b"".join(map(gguf_header.packed_string, WORDS))
    kinds = struct.pack("<4i", 3, 3, 1, 1)
    n = len(WORDS)
    return {
        "general.architecture": (string, gguf_header.packed_string(architecture)),
        "llama.block_count": (u32, struct.pack("<I", 1)),
        gguf_file.TOKENS: (array, field_list(string, n, words)),
        "tokens.kinds": (array, field_list(GGUFValueType.INT32, n, kinds)),
    }


def tiny_file(path, fields=None, rows: int = 3):
    """Write a GGUF file with two tensors and return its path."""
    fields = fields or front()
    first = gguf_header.StoredTensor("Q8_0", (1, 32), 0)
    second = gguf_header.StoredTensor("F32", (rows, 2), 64)
    content = gguf_header.START.pack(gguf_header.MAGIC, 3, 2, len(fields))
    for name, field in fields.items():
        content += gguf_header.packed_field(name, *field)
    content += gguf_header.packed_tensor("one", first)
    content += gguf_header.packed_tensor("two", second)
    content += bytes(-len(content) % gguf_header.ALIGNMENT)
    path.write_bytes(content + bytes(64 + second.n_bytes))
    return path


def test_a_tiny_file_is_read(tmp_path):
    path = tiny_file(tmp_path / "tiny.gguf")
    header = gguf_header.read_header(path)
    assert header.fields == front()
    assert header.text("general.architecture") == "llama"
    assert header.text("llama.block_count") == ""
    assert header.count(gguf_file.TOKENS) == len(WORDS)
    assert {n: (t.shape, t.n_bytes) for n, t in header.tensors.items()} == {
        "one": ((1, 32), 34),
        "two": ((3, 2), 24),
    }


def test_a_file_cut_anywhere_is_one_sentence(tmp_path):
    content = tiny_file(tmp_path / "tiny.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    for n in range(len(gguf_header.MAGIC), len(content)):
        path.write_bytes(content[:n])
        with pytest.raises(ValueError, match="is cut or damaged") as raised:
            gguf_header.read_header(path)
        assert str(raised.value).startswith("cut.gguf is cut or damaged; "), n


def test_the_first_5000_bytes_of_a_larger_file(tmp_path):
    whole = tiny_file(tmp_path / "whole.gguf", rows=1000)
    gguf_header.read_header(whole)
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"^cut\.gguf is cut or damaged"):
        gguf_header.read_header(path)


def test_damage_is_a_value_error_or_harmless(tmp_path):
    """Every byte of the front in turn becomes 255: lengths, kinds, offsets, names."""
    content = tiny_file(tmp_path / "tiny.gguf").read_bytes()
    path, refused = tmp_path / "damaged.gguf", 0
    for n in range(8, len(content) - 88):  # behind magic and version, before the data
        path.write_bytes(content[:n] + b"\xff" + content[n + 1 :])
        try:
            gguf_header.read_header(path)
        except ValueError as error:
            assert str(error).startswith("damaged.gguf is cut or damaged")
            refused += 1
    # At least the two counts, the length of each name and both offsets: 8 bytes each.
    assert refused >= 8 * (2 + len(front()) + 2 + 2)


def test_data_may_be_aligned_differently(tmp_path):
    value = (GGUFValueType.UINT32, struct.pack("<I", 64))
    path = tiny_file(tmp_path / "a.gguf", {**front(), "general.alignment": value})
    assert gguf_header.read_header(path).alignment() == 64
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(ValueError, match="cut or damaged"):
        gguf_header.read_header(path)


def tiny_llama(**options) -> LlamaForCausalLM:
    """Return a llama with the vocabulary of the tiny file."""
    values = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    return LlamaForCausalLM(LlamaConfig(**{**values, **options}))


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 512,
}


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"attention_bias": True}, "has biases"),
        ({"mlp_bias": True}, "has biases"),
        ({"rope_parameters": LLAMA3}, "(llama3)"),
        ({"head_dim": 4}, "heads are 8 channels wide"),
        ({"hidden_act": "gelu"}, "means silu"),
    ],
)
def test_what_the_file_has_no_place_for_is_refused(tmp_path, options, part):
    source = tiny_file(tmp_path / "source.gguf")
    for tied in (False, True):
        assert gguf_file.unsupported(tiny_llama(tie_word_embeddings=tied), source) == ""
        model = tiny_llama(tie_word_embeddings=tied, **options)
        said = gguf_file.unsupported(model, source)
        assert part in said
        assert ". " not in said  # one sentence
        with pytest.raises(ValueError, match="use llama"):
            gguf_file.write(model, source, tmp_path / "f32.gguf")
    assert [p.name for p in tmp_path.iterdir()] == ["source.gguf"]


def test_weights_that_a_llama_does_not_have_are_named(tmp_path):
    source = tiny_file(tmp_path / "source.gguf")
    model = tiny_llama()
    model.model.layers[0].mlp.register_buffer("factors", torch.ones(3))
    assert "model.layers.0.mlp.factors" in gguf_file.unsupported(model, source)
    model = tiny_llama()
    del model.model.layers[0].mlp.up_proj
    assert "model.layers.0.mlp.up_proj" in gguf_file.unsupported(model, source)


def test_the_tokenizer_of_another_architecture_is_refused(tmp_path):
    source = tiny_file(tmp_path / "source.gguf", front("qwen2"))
    said = gguf_file.unsupported(tiny_llama(), source)
    assert "source.gguf" in said
    assert "'qwen2'" in said


def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path, monkeypatch):
    source = tiny_file(tmp_path / "source.gguf")
    path = tmp_path / "f32.gguf"
    path.write_bytes(b"old")
    weights = gguf_file._weights

    def full(model):
        yield next(weights(model))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gguf_file, "_entries", lambda _: {})
    monkeypatch.setattr(gguf_file, "_weights", full)
    with pytest.raises(OSError, match="No space"):
        gguf_file.write(tiny_llama(), source, path)
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f32.gguf", "source.gguf"]
    monkeypatch.undo()
    assert gguf_file.write(tiny_llama(), source, path) == path
    assert len(gguf_file.tensors(path)) == 12
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f32.gguf", "source.gguf"]
