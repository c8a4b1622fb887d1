"""AWQ on a small model: places, folding, rounding, restoring."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.formats.affine import QuantSpec
from course_utils.methods import awq
from course_utils.models import awq_model, layers
from course_utils.models.walk import walk

SPEC = QuantSpec(3, group_size=8)
TOKENS = torch.randint(0, 20, (3, 12), generator=torch.Generator().manual_seed(0))
SIZES = {
    "vocab_size": 20,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def tiny(kv_heads):
    torch.manual_seed(0)
    config = LlamaConfig(**SIZES, num_key_value_heads=kv_heads)
    model = LlamaForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data = torch.randn_like(parameter).exp()
        else:
            parameter.data *= 10
    return model


def search(model):
    return awq_model.search_model(model, TOKENS, spec=SPEC, progress=lambda _: None)


@pytest.mark.parametrize(("kv_heads", "places"), [(4, 4), (2, 3)])
def test_a_layer_has_its_places(kv_heads, places):
    found = search(tiny(kv_heads))
    assert len(found) == 2 * places
    assert ("model.layers.0.self_attn.v_proj" in found) == (places == 4)


@torch.no_grad()
def test_the_rounded_model_is_that_of_each_layer_on_its_own():
    """Folding first and rounding then is Q(W diag(s)) diag(s)^-1, layer by layer."""
    model = tiny(4)
    found = search(model)
    block = next(iter(walk(model, TOKENS)))
    s = found["model.layers.0.input_layernorm"].s
    stats = block.statistics(["self_attn.q_proj"])["self_attn.q_proj"]
    W = block.linear["self_attn.q_proj"].weight.clone()
    with awq_model.folded_rounding(model, found, spec=SPEC) as codes:
        name = "model.layers.0.self_attn.q_proj"
        inside = layers.linear_layers(model)[name].weight
        assert torch.equal(inside, codes[name].dequantize())
        assert torch.equal(inside / s, awq.scaled_rounding(W, s, spec=SPEC))
        gain = model.model.layers[0].input_layernorm.weight.clone()
    assert torch.equal(gain, model.model.layers[0].input_layernorm.weight / s)
    assert stats.abs_mean.shape == s.shape


def test_layers_with_one_input_share_the_search():
    model = tiny(4)
    found = search(model)["model.layers.0.post_attention_layernorm"]
    block = next(iter(walk(model, TOKENS)))
    stats = block.statistics(["mlp.gate_proj"])["mlp.gate_proj"]
    weights = [block.linear[f"mlp.{n}_proj"].weight.detach() for n in ("gate", "up")]
    L = awq.output_loss(weights, stats.second_moment, spec=SPEC)
    assert found.losses == awq.search(stats.abs_mean, L).losses


def test_the_model_has_its_weights_again():
    model = tiny(4)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    found = search(model)
    with (
        pytest.raises(RuntimeError, match="stop"),
        awq_model.folded_rounding(model, found, spec=SPEC),
    ):
        raise RuntimeError("stop")
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())


def test_magnitudes_are_those_of_the_search():
    model = tiny(4)
    found = search(model)
    magnitudes = awq_model.magnitudes(model, TOKENS)
    assert list(found) == list(magnitudes)
    for name, one in found.items():
        assert torch.equal(awq.scales(magnitudes[name], one.alpha), one.s)


def test_what_is_no_calibration_text_is_refused():
    with pytest.raises(ValueError, match="token ids"):
        awq_model.search_model(tiny(4), [..., "one sentence"], spec=SPEC)
