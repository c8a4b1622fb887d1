"""Bytes as stored, against counts by hand on real layers."""

import copy

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.measure import quantizer_pairs
from course_utils.measure.storage import KINDS, file_bytes, stored_bytes

ROWS, COLS = 192, 320  # 61,440 weights: 960 blocks of 64, 3.75 blocks of 256 of those


def parts(module):
    """Return the kinds that are there."""
    return {kind: size for kind, size in stored_bytes(module).parts.items() if size}


def nf4(*, nested):
    import bitsandbytes  # noqa: PLC0415 -- seconds

    layer = bitsandbytes.nn.Linear4bit(
        COLS, ROWS, bias=True, compress_statistics=nested, quant_type="nf4"
    )
    torch.manual_seed(0)
    nn.init.normal_(layer.weight)
    return layer.to("cpu")  # where it is quantized


def int8():
    import bitsandbytes  # noqa: PLC0415 -- seconds

    layer = bitsandbytes.nn.Linear8bitLt(
        COLS, ROWS, bias=False, has_fp16_weights=False, threshold=0.0
    )
    nn.init.normal_(layer.weight)
    return layer.to("cpu").eval()


def test_nf4_holds_scales_and_a_table():
    codes = ROWS * COLS // 2
    scales = 960 * 4 + 16 * 4  # float32 scales; the 16 values of NF4
    expected = {"linear": codes, "scales": scales, "rest": ROWS * 4}
    assert parts(nf4(nested=False)) == expected
    assert stored_bytes(nf4(nested=False)).total == sum(expected.values())


def test_double_quantization_holds_scales_of_scales():
    # 8-bit scales; per block of 256 of them a float32; the 256 values of their map;
    # one float32 mean; the 16 values of NF4.
    scales = 960 + 4 * 4 + 256 * 4 + 4 + 16 * 4
    assert parts(nf4(nested=True))["scales"] == scales


def test_int8_holds_a_scale_a_row():
    assert parts(int8()) == {"linear": ROWS * COLS, "scales": ROWS * 4}


def test_int8_counts_the_same_after_its_scales_have_moved():
    layer = int8()
    before = parts(layer)
    with torch.no_grad():
        layer(torch.randn(3, COLS))
    assert layer.weight.SCB is None
    after = parts(layer)
    assert after["linear"] == before["linear"]
    # The layer also remembers which columns were outliers: none, or a few indices.
    assert 0 <= after["scales"] - before["scales"] <= 64


def test_a_tensor_made_of_tensors_is_looked_into():
    quantization = quantizer_pairs.library("torchao.quantization")
    model = nn.Sequential(nn.Linear(COLS, ROWS, bias=False))
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
    found = parts(model)
    assert found["linear"] == ROWS * COLS
    # A scale a row and, in some versions, a zero point of 1 byte.
    assert found["scales"] in (ROWS * 4, ROWS * 5)


def llama(*, tied, device="cpu"):
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=tied,
    )
    with torch.device(device):
        return LlamaForCausalLM(config)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("tied", [True, False])
def test_kinds_of_a_llama(tied, device):
    model = llama(tied=tied, device=device)
    matrices = 16 * 16 + 2 * 8 * 16 + 16 * 16 + 3 * 16 * 24
    found = parts(model)
    assert found.pop("linear") == 2 * matrices * 4
    assert found.pop("embedding") == 50 * 16 * 4
    assert found.pop("rest") == (2 * 2 + 1) * 16 * 4
    # The frequencies of 8 / 2 pairs of channels, and transformers' second copy.
    assert found.pop("buffers") in (4 * 4, 2 * 4 * 4)
    assert found == ({} if tied else {"output": 50 * 16 * 4})


def test_total_is_that_of_all_parameters_and_buffers():
    model = llama(tied=False)
    tensors = [*model.parameters(), *model.buffers()]
    expected = sum(t.numel() * t.element_size() for t in tensors)
    found = stored_bytes(model)
    assert found.total == sum(found.parts.values()) == expected
    assert tuple(found.parts) == KINDS


def test_half_the_width_is_half_the_bytes():
    whole, half = llama(tied=True), copy.deepcopy(llama(tied=True)).bfloat16()
    assert parts(half)["linear"] * 2 == parts(whole)["linear"]


def test_views_of_one_storage_count_once_and_whole():
    model = nn.Module()
    base = torch.zeros(100, 4)
    model.first = nn.Parameter(base[:10])
    model.second = nn.Parameter(base[10:20])
    assert stored_bytes(model).total == 100 * 4 * 4


def test_files_and_folders(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1000)
    (tmp_path / "config.json").write_bytes(b"x" * 30)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "part.safetensors").write_bytes(b"x" * 7)
    assert file_bytes(tmp_path / "config.json") == 30
    assert file_bytes(str(tmp_path)) == 1037
    assert file_bytes(tmp_path, pattern="*.safetensors") == 1007


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"no file \*.gguf"):
        file_bytes(tmp_path, pattern="*.gguf")
    with pytest.raises(ValueError, match=r"nothing\.bin; check the path"):
        file_bytes(tmp_path / "nothing.bin")
