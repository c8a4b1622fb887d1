"""SmoothQuant on a whole model: maxima, factors by place, and W8A8 put in and out."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.methods.smoothquant import smoothing_factors
from course_utils.methods.w8a8 import W8A8Linear, quantize_weight
from course_utils.models import smoothing
from course_utils.models.folds import folded
from course_utils.models.layers import linear_layers

ATTENTION, MLP = "model.layers.1.self_attn", "model.layers.1.mlp"


@pytest.fixture(scope="module")
def model():
    """A llama model of two layers with grouped heads: 4 query, 2 key-value heads."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(0, 64, (3, 16), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def maxima(model, tokens):
    return smoothing.input_maxima(model, tokens)


def logits(model, tokens):
    with torch.no_grad():
        return model(tokens).logits


def state(model):
    """Return a copy of every parameter by name."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(model, before):
    """Return True if every parameter is what it was, bit for bit."""
    now = state(model)
    return now.keys() == before.keys() and all(
        torch.equal(now[name], before[name]) for name in now
    )


def test_maxima_are_over_all_tokens_of_all_windows(model, tokens, maxima):
    seen = {}
    name = f"{MLP}.down_proj"
    hook = linear_layers(model)[name].register_forward_pre_hook(
        lambda _, args: seen.update({"x": args[0].flatten(0, 1)})
    )
    logits(model, tokens)
    hook.remove()
    # One batch or window by window: sums of up to 48 float32 terms, each 2**-24 off.
    assert torch.allclose(maxima[name], seen["x"].abs().amax(dim=0), rtol=1e-4)
    assert maxima.keys() == linear_layers(model).keys()
    shared = [maxima[f"{ATTENTION}.{k}_proj"] for k in "qkv"]
    assert torch.equal(shared[0], shared[1])
    assert torch.equal(shared[0], shared[2])


def test_layers_behind_a_norm_share_the_paper_s_factors(model, maxima):
    s = smoothing.factors(model, maxima, alpha=0.7)
    assert len(s) == 4  # two norms in each of two layers
    layers = linear_layers(model)
    w = torch.cat([layers[f"{ATTENTION}.{k}_proj"].weight.detach() for k in "qkv"])
    wanted = smoothing_factors(maxima[f"{ATTENTION}.q_proj"], w, alpha=0.7)
    assert torch.equal(s["model.layers.1.input_layernorm"], wanted)


def test_a_value_channel_serves_all_its_query_heads(model, maxima):
    s = smoothing.factors(model, maxima, alpha=0.5, norms_only=False)
    assert len(s) == 8
    found = s[f"{ATTENTION}.v_proj"]
    # Channel c of key-value head g is read by query heads 2g and 2g + 1.
    x = maxima[f"{ATTENTION}.o_proj"]
    w = linear_layers(model)[f"{ATTENTION}.o_proj"].weight.detach().abs().amax(dim=0)
    for g in range(2):
        for c in range(8):
            columns = [8 * (2 * g + k) + c for k in range(2)]
            wanted = (x[columns].max() / w[columns].max()) ** 0.5
            # A root of a quotient against a quotient of roots: a few 2**-24.
            assert found[8 * g + c].item() == pytest.approx(wanted.item(), rel=1e-6)
    by_column = smoothing.reader_factors(model, s)[f"{ATTENTION}.o_proj"]
    assert by_column.shape == (32,)
    assert torch.equal(by_column[:8], by_column[8:16])
    assert torch.equal(by_column[:8], found[:8])


@pytest.mark.parametrize("norms_only", [True, False])
def test_a_smoothed_model_is_the_same_function(model, tokens, maxima, norms_only):
    before, exact = state(model), logits(model, tokens)
    s = smoothing.factors(model, maxima, alpha=0.8, norms_only=norms_only)
    with folded(model, s):
        assert not same(model, before)
        # About 20 operations in a row on sums of at most 48 terms: 20 * 48 * 2**-24.
        assert torch.allclose(logits(model, tokens), exact, atol=6e-5)
        found = smoothing.input_maxima(model, tokens)
    assert same(model, before)
    expected = smoothing.divided(maxima, smoothing.reader_factors(model, s))
    for name, amax in expected.items():
        assert torch.allclose(found[name], amax, rtol=1e-4), name


@pytest.mark.parametrize("per", ["token", "tensor", "static"])
def test_in_int8_runs_integer_layers_and_puts_the_others_back(
    model, tokens, maxima, per
):
    before, exact = state(model), logits(model, tokens)
    own = list(linear_layers(model).values())
    with smoothing.in_int8(model, per=per, maxima=maxima):
        now = linear_layers(model)
        assert all(type(layer) is W8A8Linear for layer in now.values())
        rough = logits(model, tokens)
        q, _ = quantize_weight(before[f"{MLP}.up_proj.weight"])
        assert torch.equal(now[f"{MLP}.up_proj"].q, q)
    assert list(linear_layers(model).values()) == own
    assert same(model, before)
    assert torch.equal(logits(model, tokens), exact)
    error = (rough - exact).norm() / exact.norm()
    # Rounding to 127 steps moves a value by about 1 part in 127 * 3, not by none and
    # not by a tenth.
    assert 1e-4 < error < 0.1


def test_originals_come_back_after_an_error(model):
    own = list(linear_layers(model).values())
    with pytest.raises(KeyError), smoothing.in_int8(model):
        raise KeyError
    assert list(linear_layers(model).values()) == own


def test_static_scales_are_those_of_the_maxima(model, maxima):
    with smoothing.in_int8(model, per="static", maxima=maxima):
        for name, layer in linear_layers(model).items():
            assert layer.per == pytest.approx(maxima[name].max().item() / 127)


def test_another_rule_is_used_where_it_is_given(model, maxima):
    def twos(act_amax, w, *, alpha):
        assert alpha == 0.5
        return torch.full_like(act_amax, 2.0)

    s = smoothing.factors(model, maxima, alpha=0.5, rule=twos)
    assert all((v == 2).all() for v in s.values())


def test_smoothing_helps_a_model_with_a_large_channel(model, tokens):
    """A gain of one channel is made 100 times as large, the weights as much smaller."""
    exact = logits(model, tokens)
    source = "model.layers.0.post_attention_layernorm"
    large = torch.ones(32)
    large[5] = 0.01
    errors = {}
    with folded(model, {source: large}):
        found = smoothing.input_maxima(model, tokens)
        for name, s in (
            ("plain", {}),
            ("smoothed", smoothing.factors(model, found, alpha=0.5)),
        ):
            with folded(model, s), smoothing.in_int8(model):
                errors[name] = (logits(model, tokens) - exact).norm().item()
    assert errors["smoothed"] < errors["plain"] / 2


def test_refusals_say_what_to_do(model, tokens):
    with pytest.raises(ValueError, match=r"\(n_windows, seq_len\), got shape \(16,\)"):
        smoothing.input_maxima(model, tokens[0])
    with pytest.raises(ValueError, match=r"got shape \(0, 16\)"):
        smoothing.input_maxima(model, tokens[:0])
    with (
        pytest.raises(ValueError, match="needs maxima"),
        smoothing.in_int8(model, per="static"),
    ):
        pass
    with (
        pytest.raises(ValueError, match="per must be one of token, tensor"),
        smoothing.in_int8(model, per="channel"),
    ):
        pass
    weight = model.model.norm.weight
    gain = model.model.layers[0].input_layernorm.weight
    kept = gain.data.clone()
    gain.data[3] = float("inf")
    try:
        with pytest.raises(ValueError, match="q_proj hold NaN or infinity"):
            smoothing.input_maxima(model, tokens)
    finally:
        gain.data = kept
    assert weight.isfinite().all()
