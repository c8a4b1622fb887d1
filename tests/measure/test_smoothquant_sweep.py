"""The measurement `smoothquant`: its settings, its baseline, its record."""

from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.measure import records, tasks
from course_utils.measure import smoothquant_sweep as sweep
from course_utils.models import smoothing


@pytest.fixture
def small():
    """The measurement with a llama model of two layers in place of the real one."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(5)  # a fresh model guesses evenly, and rounding would not show
    tokens = torch.randint(0, 64, (256,))
    measurement = sweep.Measurement()
    found = {"loaded": SimpleNamespace(model=model), "tokens": tokens}
    found["maxima"] = smoothing.input_maxima(model, tokens.reshape(2, 128))
    measurement.__dict__.update(found)
    return measurement


def steps(measurement):
    return {step.name: step.run for step in measurement.steps()}


def test_every_setting_has_a_name_of_its_own():
    found = sweep.settings()
    assert len(found) == 3 + 11
    assert found["token_norms_30"] == ("token", 0.3)
    assert found["static_plain"] == ("static", None)


@pytest.mark.parametrize("first", ["weights", "token_plain", "token_norms_50"])
def test_the_baseline_is_the_model_in_float32_whichever_step_comes_first(small, first):
    found = steps(small)[first]()
    # A baseline read while the weights are rounded would agree with itself.
    assert found["kl"] > 0
    exact = sweep.comparison.itself(small.baseline).perplexity
    ratio = found["perplexity"] / exact
    assert found["ratio"]["value"] == pytest.approx(ratio, rel=1e-5)


def test_a_step_leaves_the_model_as_it_was(small):
    model = small.loaded.model
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for name in ("weights", "static_plain", "token_norms_50"):
        steps(small)[name]()
    now = dict(model.named_parameters())
    assert now.keys() == before.keys()
    assert all(torch.equal(now[name], before[name]) for name in before)


def test_values_hold_every_setting_with_its_interval(small):
    spread = {"low": 0.9, "high": 1.1, "kind": "95% interval"}
    pair = {"value": 1.0, "unit": "", "n": 255, "spread": spread}
    result = {"perplexity": 20.0, "ratio": pair, "kl": 0.1, "top1": 0.9}
    names = ("weights", *sweep.settings())
    values = small.values({name: result | {"n": 255} for name in names})
    assert len(values) == 1 + 3 * len(names)
    ratio = values["ratio_token_norms_50"]
    assert (ratio["value"], ratio["spread"]["low"]) == (1.0, 0.9)
    assert values["ppl_weights"]["n"] == 255


def test_the_record_is_whole_and_its_slice_repeats(loaded):
    record = records.read("smoothquant")
    names = ("weights", *sweep.settings())
    wanted = {f"{kind}_{name}" for kind in ("ppl", "ratio", "kl") for name in names}
    assert record["values"].keys() == wanted | {"baseline"}
    assert tasks.check_slice("smoothquant") == []
