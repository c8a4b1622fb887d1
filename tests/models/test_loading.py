import json
import subprocess
import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils import models
from course_utils.models import loading, profile
from course_utils.models.cache import ModelError


@pytest.fixture
def folder(tmp_path, embedded_tokenizer):
    """A tiny model saved as safetensors."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path)
    embedded_tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_without_a_name_it_is_the_profiles_model(embedded_model):
    model, tokenizer, card = models.load()
    assert card.id == "embedded/SmolLM2-135M-Instruct"
    assert tokenizer.eos_token == "<|im_end|>"
    assert model.dtype == torch.float32
    assert not model.training
    assert model is not embedded_model


def test_a_local_folder(folder, monkeypatch):
    monkeypatch.setenv("COURSE_MODEL", str(folder))
    model, tokenizer, card = loading.load()
    assert model.dtype == torch.float32
    assert card.id == str(folder)
    assert card.n_params == sum(p.numel() for p in model.parameters())
    assert tokenizer("hello")["input_ids"]


def test_pickled_weights_are_never_read(folder):
    weights = folder / "model.safetensors"
    torch.save({}, folder / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(ModelError, match="holds no model"):
        loading.load(str(folder))


def test_a_models_own_code_is_never_run(folder):
    text = (folder / "config.json").read_text()
    text = text.replace('"model_type": "llama"', '"model_type": "mine"')
    mapped = '"auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"},'
    (folder / "config.json").write_text("{" + mapped + text.lstrip()[1:])
    (folder / "mine.py").write_text("raise SystemExit('this code must not run')")
    with pytest.raises(ModelError, match="cannot be loaded") as raised:
        loading.load(str(folder))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["nonsense", "./nowhere", "a/b/c", "~/nowhere"])
def test_an_unknown_name_is_one_sentence(name):
    with pytest.raises(ModelError, match="There is no model") as raised:
        loading.load(name)
    assert "\n" not in str(raised.value)


def test_a_hub_name_without_a_hub_says_what_to_do(monkeypatch):
    monkeypatch.setattr(profile, "hub_reachable", lambda: False)
    with pytest.raises(ModelError, match="COURSE_MODEL=embedded"):
        loading.load("HuggingFaceTB/SmolLM2-135M-Instruct")


def test_the_package_alone_imports_neither_torch_nor_transformers():
    code = (
        "import sys, course_utils.models, course_utils.models.cache; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_progress_bars_come_back():
    from transformers.utils import logging  # noqa: PLC0415

    logging.enable_progress_bar()
    loading.load("embedded")
    assert logging.is_progress_bar_enabled()


def sentence(name: str) -> str:
    """Return the one sentence with which loading is refused."""
    with pytest.raises(ModelError) as raised:
        loading.load(name)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("kept", [0, 4, 100, -8])
def test_cut_weights_are_one_sentence(folder, kept):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    assert sentence(str(folder)) == (
        f"{folder} cannot be loaded: a safetensors file is damaged or cut; download it "
        "again."
    )


def changed(folder, **values):
    """Change values of a folder's configuration."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def test_weights_of_another_shape_are_one_sentence(folder):
    changed(folder, intermediate_size=32)
    assert sentence(str(folder)).startswith(
        f"{folder} cannot be loaded: the shapes of its weights differ"
    )


def test_any_other_failure_is_its_first_line(folder, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no more memory\nand details")

    monkeypatch.setattr(loading.AutoTokenizer, "from_pretrained", fails)
    assert sentence(str(folder)) == f"{folder} cannot be loaded: no more memory"


def test_an_unknown_family_is_one_sentence(folder, monkeypatch):
    monkeypatch.setattr(loading, "from_config", _no_family)
    assert sentence(str(folder)) == "no such family"


def _no_family(*_, **__):
    raise ValueError("no such family")


def test_an_empty_name_is_refused_and_not_the_profiles_model(monkeypatch):
    monkeypatch.setattr(loading, "_load_embedded", lambda _: pytest.fail("loaded"))
    for asked in (loading.load, loading.source):
        with pytest.raises(ModelError, match="name of the model is empty"):
            asked("")


def test_a_home_folder_that_is_not_known_is_one_sentence():
    assert "full path" in sentence("~no-such-user-here/model")
