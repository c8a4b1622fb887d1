import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

from course_utils.models import dequantize


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0", "F32"])
def test_every_stored_tensor_decodes_as_the_gguf_package_does(gguf_model, kind):
    kind = GGMLQuantizationType[kind]
    tensors = [t for t in gguf_model.reader.tensors if t.tensor_type == kind]
    assert tensors
    for tensor in tensors:
        got = dequantize.dequantize(tensor.data, kind)
        want = quants.dequantize(tensor.data, kind)
        assert got.dtype == np.float32
        assert np.array_equal(got, want), tensor.name


def test_a_q4_1_block_by_hand():
    d, m = np.float16(0.5), np.float16(-1.0)
    codes = np.array([0x10 + 0x0F] + [0] * 15, dtype=np.uint8)
    head = np.array([d, m]).view(np.uint8)
    block = np.concatenate([head, codes])[None]
    w = dequantize.from_q4_1(block)[0]
    # Low half of byte 0 is weight 0 (15), high half is weight 16 (1), the rest 0.
    assert w[0] == 0.5 * 15 - 1
    assert w[16] == 0.5 * 1 - 1
    assert (np.delete(w, [0, 16]) == -1).all()


def test_unpermute_undoes_the_converter():
    """The converter interleaves the two halves of each head."""
    n_heads, head_dim, cols = 3, 8, 5
    w = np.arange(n_heads * head_dim * cols, dtype=np.float32)
    w = w.reshape(n_heads * head_dim, cols)
    halves = w.reshape(n_heads, 2, head_dim // 2, cols)
    stored = halves.swapaxes(1, 2).reshape(w.shape)
    assert not np.array_equal(stored, w)
    assert np.array_equal(dequantize.unpermute(stored, n_heads), w)


def test_another_block_type_is_refused():
    data = np.zeros((1, 18), dtype=np.uint8)
    with pytest.raises(ValueError, match="No decoder for Q4_0"):
        dequantize.dequantize(data, GGMLQuantizationType.Q4_0)


@pytest.mark.parametrize("name", ["blk.0.attn_qkv.weight", "rope_freqs.weight"])
def test_an_unknown_tensor_name_is_refused(name):
    with pytest.raises(ValueError, match="Unknown GGUF tensor name"):
        dequantize.hf_name(name)


def test_names_and_shapes(gguf_model):
    shapes = gguf_model.shapes()
    assert len(shapes) == 272
    assert shapes["model.layers.29.mlp.down_proj.weight"] == (576, 1536)
    assert shapes["model.layers.0.self_attn.k_proj.weight"] == (192, 576)
    assert shapes["model.embed_tokens.weight"] == (49_152, 576)
