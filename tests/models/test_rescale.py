import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.models import rescale

SHAPE = {
    "vocab_size": 50,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "tie_word_embeddings": True,
}


@pytest.fixture
def tiny():
    """A random llama model in float64, with uneven norm gains."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE)).double().eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data = torch.rand_like(parameter) + 0.5
        else:
            # Large enough for attention and MLP to matter beside the residual.
            parameter.data *= 5
    return model


def rescaled(model, scalings):
    copy = LlamaForCausalLM(model.config).double().eval()
    copy.load_state_dict(model.state_dict())
    for name, scaling in scalings.items():
        parameter = copy.get_parameter(name)
        parameter.data = torch.from_numpy(scaling.apply(parameter.detach().numpy()))
    return copy


@torch.inference_mode()
def logits(model):
    tokens = torch.arange(40).reshape(2, 20) % SHAPE["vocab_size"]
    return model(tokens).logits


def test_the_function_is_the_same(tiny):
    before = logits(tiny)
    after = logits(rescaled(tiny, rescale.scalings(SHAPE, seed=1)))
    # About 20 roundings follow each other in a layer, each of relative size
    # 2**-53; sums of up to 80 terms may add their square root.
    tolerance = 2**-53 * 20 * SHAPE["num_hidden_layers"] * 9 * before.abs().max()
    assert (before - after).abs().max() <= tolerance


@pytest.mark.parametrize("ending", ["v_proj", "o_proj", "up_proj", "q_proj", "norm"])
def test_leaving_out_one_side_changes_the_function(tiny, ending):
    scalings = rescale.scalings(SHAPE, seed=1)
    one_sided = {
        n: s for n, s in scalings.items() if not n.endswith(f"{ending}.weight")
    }
    assert len(one_sided) < len(scalings)
    difference = (logits(tiny) - logits(rescaled(tiny, one_sided))).abs().max()
    assert difference > 1e-3


def test_every_projection_gets_other_column_factors():
    scalings = rescale.scalings(SHAPE, seed=1)
    projections = [name for name in scalings if "proj" in name]
    assert len(projections) == 7 * SHAPE["num_hidden_layers"]
    for name in projections:
        factors = scalings[name].multiply_cols
        # 16 fractional bits leave 13,000 values: repeats come from shared heads only.
        groups = 3 if "o_proj" in name else 1
        assert len(np.unique(factors)) >= 0.95 * len(factors) / groups


def test_factors_are_in_range_exact_and_repeatable():
    a = rescale.factors(5000, rescale.random.Random(3))
    b = rescale.factors(5000, rescale.random.Random(3))
    assert np.array_equal(a, b)
    low, high = np.exp(-rescale.WIDTH), np.exp(rescale.WIDTH)
    half_step = 2.0**-17
    assert a.min() >= low - half_step
    assert a.max() <= high + half_step
    assert a.min() < low + 0.001
    assert a.max() > high - 0.001
    assert np.array_equal(a * 2**16, np.round(a * 2**16))


def test_another_seed_gives_other_factors():
    one = rescale.scalings(SHAPE, seed=1)["model.layers.0.mlp.up_proj.weight"]
    two = rescale.scalings(SHAPE, seed=2)["model.layers.0.mlp.up_proj.weight"]
    assert not np.array_equal(one.multiply_cols, two.multiply_cols)
