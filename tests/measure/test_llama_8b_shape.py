"""The measurement `llama-8b-shape` on a tiny shape; its refusal without a GPU."""

import re
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig

from course_utils import paths
from course_utils.measure import llama_8b_shape as shape
from course_utils.measure import (
    quantizer_pairs,
    random_llama,
    records,
    storage,
    task,
    tasks,
)
from course_utils.models import layers
from course_utils.models.card import CARDS

CPU = torch.device("cpu")


@pytest.fixture
def config():
    return LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(shape, "N_PROMPT", 8)
    monkeypatch.setattr(shape, "N_NEW", 2)
    monkeypatch.setattr(shape, "RUNS", 2)


def maker():
    return random_llama.Maker(CPU, torch.bfloat16, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", shape.ALL_KINDS)
def test_the_model_reads_and_writes(config, short, kind):
    found = shape.measured(config, kind, make=maker())
    assert found["peak"] is None  # that of a GPU; there is none
    assert len(found["prefill"]) == len(found["decode"]) == 2
    assert min(found["prefill"] + found["decode"]) > 0


@pytest.mark.parametrize("kind", shape.KINDS)
def test_bytes_of_the_decoder_matrices(config, kind):
    parts = storage.stored_bytes(random_llama.build(config, kind, make=maker())).parts
    # A layer: q and o 64 x 64, k and v 32 x 64, three of the MLP 128 x 64.
    n = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64)
    bits = {"half": 16, "nf4": 4, "int8": 8}[kind]
    assert parts["linear"] == n * bits // 8
    assert parts["embedding"] == parts["output"] == 512 * 64 * 2
    assert (parts["scales"] > 0) == (kind != "half")


def test_kinds_are_the_layers_they_name(config):
    for kind, name in {
        "half": "Linear",
        "nf4": "Linear4bit",
        "int8": "Linear8bitLt",
    }.items():
        model = random_llama.build(config, kind, make=maker())
        kinds = {type(x).__name__ for x in layers.linear_layers(model).values()}
        assert kinds == {name}
        assert type(model.lm_head).__name__ == "Linear"
        assert not any(p.is_meta for p in model.parameters())
        assert not any(b.is_meta for b in model.buffers())
    with pytest.raises(ValueError, match="no kind 'fp4'; choose from half"):
        random_llama.build(config, "fp4", make=maker())


@pytest.mark.parametrize("kind", shape.TORCHAO)
def test_torchao_stores_8_bits_and_leaves_the_output_matrix(config, short, kind):
    found = shape.measured(config, kind, make=maker())
    half = shape.measured(config, "half", make=maker())
    n = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64)
    # A byte less for each weight, and a scale of at most 4 bytes for each row.
    rows = 2 * (2 * 64 + 2 * 32 + 2 * 128 + 64)
    assert half["weights"] - n < found["weights"] <= half["weights"] - n + 8 * rows


def test_without_torchao_it_is_one_sentence(monkeypatch, config, short):
    def missing(_name):
        raise ModuleNotFoundError("No module named 'torchao'")

    monkeypatch.setattr(quantizer_pairs, "import_module", missing)
    with pytest.raises(ValueError, match=r"^torchao is not installed"):
        shape.measured(config, "ao_int8", make=maker())


def test_nf4_is_nf4_with_double_quantization(config):
    model = random_llama.build(config, "nf4", make=maker())
    state = next(iter(layers.linear_layers(model).values())).weight.quant_state
    assert (state.quant_type, state.blocksize, state.nested) == ("nf4", 64, True)


def test_the_shape_is_that_of_the_card():
    card = CARDS[shape.CARD]
    assert shape.Measurement().slice()["values"]["parameters"] == card.n_params
    other = SimpleNamespace(id="x", model_type="qwen2")
    with pytest.raises(ValueError, match="choose a Llama"):
        random_llama.config_of(other)


def test_no_gpu_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(task.hardware, "busy_share", lambda: None)
    with pytest.raises(ValueError, match=r"^This needs a GPU, and torch finds none"):
        tasks.measure("llama-8b-shape", say=lambda _: None)


def test_a_whole_measurement_is_a_valid_record(config, short, tmp_path, monkeypatch):
    """The record of a tiny shape on the processor, through the same code."""
    (tmp_path / "book" / "texts").mkdir(parents=True)  # what makes it a checkout
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(task.hardware, "busy_share", lambda: None)
    monkeypatch.setattr(shape, "config_of", lambda _: config)
    monkeypatch.setattr(shape, "context_bytes", lambda _: 123)
    monkeypatch.setattr(shape.Measurement, "device", "cpu")
    task.run("llama-8b-shape", shape.Measurement(), say=lambda _: None)
    record = records.read("llama-8b-shape")
    assert record["values"]["context"]["value"] == 123
    assert record["values"]["nf4_weights"]["unit"] == "B"
    assert {f"{k}_decode" for k in shape.ALL_KINDS} <= record["values"].keys()
    assert record["model"] is None
    assert any("Weights are random" in note for note in record["notes"])


def test_a_kind_that_does_not_fit_is_said_so(monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(shape, "measured", full)
    measurement = shape.Measurement()
    results = {kind: measurement._measured(kind, CPU) for kind in shape.ALL_KINDS}
    values = measurement.values(results | {"context": 1})
    assert {k: v["value"] for k, v in values.items()} == {
        "context": 1,
        "half_fits": 0,
        "nf4_fits": 0,
        "int8_fits": 0,
        "ao_int8_fits": 0,
        "ao_fp8_fits": 0,
    }


@pytest.mark.parametrize(("arch", "dtype"), [("sm75", "float16"), ("sm90", "bfloat16")])
def test_the_architecture_chooses_the_half(monkeypatch, arch, dtype):
    monkeypatch.setenv("COURSE_ARCH", arch)
    measurement = shape.Measurement()
    assert measurement.dtype == getattr(torch, dtype)
    assert measurement.inputs()["dtype"] == f"torch.{dtype}"
    assert any(re.search(rf"half is {dtype};", note) for note in measurement.notes)
