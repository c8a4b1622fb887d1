"""Checkpoint folders: written, read, opened by transformers, refused when damaged."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor
from course_utils.models import layers, packed_checkpoint, packed_settings
from course_utils.models.packed_settings import Settings

GROUP = 32
LAYOUTS = ("gptq", "gptq_v2", "awq")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).float().eval()


@pytest.fixture(scope="module")
def found(model):
    """Every linear layer, quantized with scales that float16 holds."""
    return {
        name: quantized(layer.weight.detach())
        for name, layer in layers.linear_layers(model).items()
    }


def quantized(w):
    spec = QuantSpec(bits=4, group_size=GROUP)
    scale, zero_point = affine.choose_qparams(w, spec=spec)
    scale, zero_point = scale.half().float(), zero_point.clamp(min=1)
    q = affine.quantize(w, scale, zero_point, spec=spec)
    return QTensor(q.to(torch.uint8), scale, zero_point, spec)


@pytest.fixture(scope="module")
def written(model, found, tmp_path_factory):
    """Layout -> folder."""
    root = tmp_path_factory.mktemp("packed")
    return {
        layout: packed_checkpoint.write(root / layout, model, found, layout=layout)
        for layout in LAYOUTS
    }


@pytest.fixture
def copied(written, tmp_path):
    """A GPTQ checkpoint to damage."""
    return shutil.copytree(written["gptq"], tmp_path / "copy")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_is_read(layout, written, model, found):
    checkpoint = packed_checkpoint.read(written[layout])
    assert checkpoint.layers.keys() == found.keys()
    for name, expected in found.items():
        got = checkpoint.layers[name]
        assert torch.equal(got.q, expected.q), name
        assert torch.equal(got.dequantize(), expected.dequantize()), name
    version = 2 if layout == "gptq_v2" else 1
    method = "awq" if layout == "awq" else "gptq"
    assert checkpoint.settings == Settings(method, 4, GROUP, version=version)
    expected = {n for n in model.state_dict() if n.removesuffix(".weight") not in found}
    assert set(checkpoint.rest) == expected - {"lm_head.weight"}


def test_files_carry_the_names_that_others_look_for(written):
    tensors = load_file(written["gptq"] / "model.safetensors")
    parts = {n.rpartition(".")[2] for n in tensors if "q_proj" in n}
    assert parts == {"qweight", "qzeros", "scales", "g_idx"}
    own = json.loads((written["gptq"] / "quantize_config.json").read_text())
    config = json.loads((written["gptq"] / "config.json").read_text())
    assert own == config["quantization_config"]
    assert own["checkpoint_format"] == "gptq"
    assert own["quant_method"] == "gptq"
    assert (own["bits"], own["group_size"], own["desc_act"]) == (4, GROUP, False)
    awq = json.loads((written["awq"] / "quant_config.json").read_text())
    assert awq == {
        "w_bit": 4,
        "q_group_size": GROUP,
        "version": "GEMM",
        "zero_point": True,
    }


# AutoGPTQ 0.7.1 and AutoAWQ 0.2.9 write no other settings than these.
AUTOGPTQ = {
    "bits": 4,
    "group_size": 128,
    "damp_percent": 0.1,
    "desc_act": True,
    "static_groups": False,
    "sym": True,
    "true_sequential": True,
    "model_name_or_path": None,
    "model_file_base_name": "model",
}
AUTOAWQ = {"zero_point": True, "q_group_size": 128, "w_bit": 4, "version": "GEMM"}


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        (
            "quantize_config.json",
            AUTOGPTQ,
            Settings("gptq", 4, 128, act_order=True, symmetric=True),
        ),
        ("quant_config.json", AUTOAWQ, Settings("awq", 4, 128)),
        (
            "config.json",
            {"quantization_config": {**AUTOGPTQ, "checkpoint_format": "gptq_v2"}},
            Settings("gptq", 4, 128, version=2, act_order=True, symmetric=True),
        ),
    ],
)
def test_settings_of_three_programs_are_read(file, content, expected, tmp_path):
    (tmp_path / file).write_text(json.dumps(content))
    assert packed_settings.read_settings(tmp_path) == expected


def test_a_checkpoint_with_autogptqs_files_is_read(copied, found):
    """Its settings have no version and no method, and its weights another name."""
    (copied / "model.safetensors").rename(copied / "gptq_model-4bit-32g.safetensors")
    settings = AUTOGPTQ | {"group_size": GROUP, "desc_act": False, "sym": False}
    (copied / "quantize_config.json").write_text(json.dumps(settings))
    (copied / "config.json").unlink()
    checkpoint = packed_checkpoint.read(copied)
    assert checkpoint.settings.version == 1
    for name, expected in found.items():
        assert torch.equal(checkpoint.layers[name].dequantize(), expected.dequantize())


def test_act_order_is_in_the_file_and_comes_back(model, found, tmp_path):
    order = torch.arange(64).flip(0) // GROUP
    name, first = next((n, t) for n, t in found.items() if t.q.shape[1] == 64)
    moved = {**found, name: replace(first, group_of=order)}
    checkpoint = packed_checkpoint.read(
        packed_checkpoint.write(tmp_path / "new", model, moved)
    )
    assert checkpoint.settings.act_order
    assert torch.equal(checkpoint.layers[name].group_of, order)
    assert torch.equal(checkpoint.layers[name].dequantize(), moved[name].dequantize())
    with pytest.raises(ValueError, match="no g_idx"):
        packed_checkpoint.write(tmp_path / "awq", model, moved, layout="awq")


def test_the_version_in_the_settings_decides(copied, found):
    """The same tensors under the other version are off by a step everywhere."""
    path = copied / "quantize_config.json"
    settings = json.loads(path.read_text()) | {"checkpoint_format": "gptq_v2"}
    path.write_text(json.dumps(settings))
    wrong = packed_checkpoint.read(copied).layers
    for name, expected in found.items():
        assert torch.equal(wrong[name].zero_point, expected.zero_point - 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ("[" * 100000, "is not JSON"),
        ("[]", "no settings of a quantized model"),
        ('{"bits": 4, "quant_method": "bitsandbytes"}', "method 'bitsandbytes'"),
        ('{"bits": 4, "checkpoint_format": "marlin"}', "format 'marlin'"),
        ('{"bits": "4"}', "bits '4'"),
        ('{"bits": true, "group_size": 32}', "bits True"),
        ('{"w_bit": 4, "version": "GEMV"}', "order 'gemv'"),
    ],
)
def test_settings_that_are_not_understood_are_refused(content, sentence, tmp_path):
    (tmp_path / "quantize_config.json").write_text(content)
    with pytest.raises(ValueError, match=sentence):
        packed_settings.read_settings(tmp_path)


def test_settings_that_contradict_the_tensors_are_refused(copied):
    path = copied / "quantize_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"group_size": 16}))
    with pytest.raises(ValueError, match="groups of 32 and the settings say 16"):
        packed_checkpoint.read(copied)
    path.write_text(json.dumps(settings | {"bits": 8}))
    with pytest.raises(
        ValueError, match=r"layer model\.layers.*cannot be read: qweight"
    ):
        packed_checkpoint.read(copied)


def test_missing_tensors_are_named(copied):
    path = copied / "model.safetensors"
    tensors = load_file(path)
    name = next(n for n in tensors if n.endswith(".scales"))
    save_file({n: w for n, w in tensors.items() if n != name}, path)
    with pytest.raises(ValueError, match="has no scales; the file is damaged"):
        packed_checkpoint.read(copied)
    layer = name.removesuffix(".scales")
    save_file({n: w for n, w in tensors.items() if n != f"{layer}.qweight"}, path)
    with pytest.raises(ValueError, match=f"{layer} has no qweight"):
        packed_checkpoint.read(copied)
    save_file({n: w for n, w in tensors.items() if "proj" not in n}, path)
    with pytest.raises(ValueError, match="holds no quantized layer"):
        packed_checkpoint.read(copied)
    path.unlink()
    with pytest.raises(ValueError, match=r"no \.safetensors file"):
        packed_checkpoint.read(copied)


def test_cut_and_changed_files_give_a_sentence_or_a_checkpoint(copied):
    """A fuzz of the whole reader: cut anywhere, any byte of the header changed."""
    path = copied / "model.safetensors"
    whole = path.read_bytes()
    n_header = 8 + int.from_bytes(whole[:8], "little")
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(0, n_header, (120,), generator=generator).tolist()
    cuts = [0, 4, 8, n_header - 1, n_header, n_header + 100, len(whole) - 1]
    refused = 0
    for case in [(cut, None) for cut in cuts] + [(len(whole), p) for p in places]:
        cut, place = case
        content = bytearray(whole[:cut])
        if place is not None:
            content[place] ^= 1 << place % 8
        path.write_bytes(content)
        try:
            packed_checkpoint.read(copied)
        except ValueError as error:
            refused += 1
            assert str(error).endswith(".")
        else:
            assert place is not None
    assert refused > len(cuts)


def test_nothing_is_written_half(model, found, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("No space left on device")

    with pytest.raises(ValueError, match="Unknown layout 'ggml'"):
        packed_checkpoint.write(tmp_path / "new", model, found, layout="ggml")
    other = {"no.such.layer": next(iter(found.values()))}
    with pytest.raises(ValueError, match=r"no layer no\.such\.layer"):
        packed_checkpoint.write(tmp_path / "new", model, other)
    mixed = {**found, **other}
    mixed["no.such.layer"] = quantized_with(QuantSpec(bits=8, group_size=GROUP))
    with pytest.raises(ValueError, match="one spec for all layers, got 2"):
        packed_checkpoint.write(tmp_path / "new", model, mixed)
    with pytest.raises(ValueError, match="got 0"):
        packed_checkpoint.write(tmp_path / "new", model, {})
    (tmp_path / "old").mkdir()
    with pytest.raises(ValueError, match="exists already"):
        packed_checkpoint.write(tmp_path / "old", model, found)
    monkeypatch.setattr(packed_checkpoint, "write_settings", fail)
    with pytest.raises(OSError, match="No space"):
        packed_checkpoint.write(tmp_path / "new", model, found)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def quantized_with(spec):
    w = torch.randn(64, 64)
    scale, zero_point = affine.choose_qparams(w, spec=spec)
    q = affine.quantize(w, scale, zero_point, spec=spec)
    return QTensor(q.to(torch.uint8), scale, zero_point, spec)


OPEN = """
import sys
import torch
from transformers import AutoModelForCausalLM
for folder in sys.argv[1:]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16)
    with torch.no_grad():
        logits = model(torch.arange(20)[None]).logits[0].float()
    torch.save(logits, folder + ".logits.pt")
"""


@pytest.fixture(scope="module")
def opened(written):
    """Layout -> logits of the model that transformers makes of the folder.

    In a process of its own: GPT-QModel changes the libraries it is used with.
    """
    folders = [str(folder) for folder in written.values()]
    done = subprocess.run(
        [sys.executable, "-c", OPEN, *folders],
        env={
            **os.environ,
            "GPTQMODEL_CPU_WORKERS": "2",
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(Path(sys.prefix) / "apart"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {
        layout: torch.load(folder.with_name(folder.name + ".logits.pt"))
        for layout, folder in written.items()
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_transformers_opens_it_and_computes_our_logits(layout, opened, model, found):
    weights = {name: t.dequantize() for name, t in found.items()}
    with layers.swapped(model, weights), torch.no_grad():
        expected = model(torch.arange(20)[None]).logits[0]
    # Its layers compute in float16: some ten roundings of 2**-11 in sequence, measured
    # against the largest logit. A wrong order or version changes logits altogether.
    error = (opened[layout] - expected).abs().max()
    assert error <= 10 * 2**-11 * expected.abs().max()
    flipped = {name: w.flip(0) for name, w in weights.items()}
    with layers.swapped(model, flipped), torch.no_grad():
        other = model(torch.arange(20)[None]).logits[0]
    assert (other - expected).abs().max() > 0.1 * expected.abs().max()
