"""Rotating a model: the same function, the stream turned, the weights given back."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from course_utils.methods import rotation
from course_utils.models import activations
from course_utils.models.rotating import parameters, rotated

SIZES = {
    "vocab_size": 40,
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
SETTINGS = {
    "llama": {"head_dim": 8},
    "mistral": {"num_key_value_heads": 4, "head_dim": 8},
    "qwen2": {"num_attention_heads": 3, "num_key_value_heads": 1},
    "qwen3": {"head_dim": 16},
}
# About 40 operations in a row, each rounding sums of at most 48 terms to 2**-24.
CLOSE = 40 * 48 * 2**-24


def tiny(kind, *, tied=False, bias=False):
    """A random model with uneven gains and, if asked for, biases everywhere."""
    torch.manual_seed(0)
    config = {**SIZES, **SETTINGS[kind], "tie_word_embeddings": tied}
    if bias:
        config |= {"attention_bias": True, "mlp_bias": True}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **config))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and name.endswith("weight"):
            parameter.data = torch.rand_like(parameter) + 0.5
        elif parameter.ndim == 1:
            parameter.data = torch.randn_like(parameter)
        else:
            parameter.data = 0.2 * torch.randn_like(parameter)
    return model.float().eval()


def window():
    return torch.randint(40, (2, 9), generator=torch.Generator().manual_seed(1))


def logits(model):
    with torch.no_grad():
        return model(window()).logits


def turns(model):
    """Return a rotation of the stream and one of a head."""
    head_dim = model.model.layers[0].self_attn.head_dim
    return (
        rotation.random_orthogonal(model.config.hidden_size, 0),
        rotation.random_orthogonal(head_dim, 1),
    )


def state(model):
    return dict(model.named_parameters(remove_duplicate=False))


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("tied", [True, False])
def test_a_rotated_model_is_the_same_function(kind, tied):
    model = tiny(kind, tied=tied)
    exact = logits(model)
    Q, R = turns(model)
    for settings in (
        {},
        {"head_rotation": R},
        {"online": True},
        {"head_rotation": R, "online": True},
    ):
        for turn in (None, Q):
            with rotated(model, turn, **settings):
                error = (logits(model) - exact).abs().max() / exact.abs().max()
            assert error < CLOSE, settings


def test_biases_are_rotated_with_what_they_are_added_to():
    model = tiny("llama", bias=True)
    exact = logits(model)
    Q, R = turns(model)
    with rotated(model, Q, head_rotation=R, online=True):
        assert (logits(model) - exact).abs().max() < CLOSE * exact.abs().max()


@pytest.mark.parametrize("tied", [True, False])
def test_the_parameters_come_back_as_they_were(tied):
    model = tiny("llama", tied=tied)
    before = state(model)
    values = {name: p.detach().clone() for name, p in before.items()}
    Q, R = turns(model)
    with pytest.raises(KeyError), rotated(model, Q, head_rotation=R, online=True):
        assert model.lm_head.weight is not model.model.embed_tokens.weight
        raise KeyError
    after = state(model)
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    assert all(torch.equal(after[name], values[name]) for name in values)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) is tied
    assert not model.model.layers[0].mlp.down_proj._forward_pre_hooks


def seen(model, site, layer):
    """Return what stands at a site of a layer."""
    kept = {}

    def see(s, i, x):
        kept[s, i] = x

    with activations.watched(model, see):
        logits(model)
    return kept[site, layer]


def test_the_stream_is_turned_by_q_and_down_proj_s_input_by_the_transform():
    model = tiny("llama")
    stream, inner = seen(model, "stream", 1), seen(model, "down", 1)
    Q, _ = turns(model)
    with rotated(model, Q, online=True):
        turned, transformed = seen(model, "stream", 1), seen(model, "down", 1)
    wanted = rotation.transform(inner)
    assert torch.allclose(turned, stream @ Q, atol=CLOSE * stream.abs().max().item())
    assert torch.allclose(transformed, wanted, atol=CLOSE * inner.abs().max().item())
    assert not torch.allclose(turned, stream, atol=0.1)


def test_values_are_turned_inside_their_heads():
    model = tiny("llama")
    before = seen(model, "output", 0)
    _, R = turns(model)
    with rotated(model, None, head_rotation=R):
        after = seen(model, "output", 0)
    wanted = (before.unflatten(-1, (-1, 8)) @ R).flatten(-2)
    assert torch.allclose(after, wanted, atol=CLOSE * before.abs().max().item())


def test_gains_left_in_the_norms_make_another_model():
    model = tiny("llama")
    exact = logits(model)
    Q, _ = turns(model)
    with rotated(model, Q, fold_gains=False):
        assert (logits(model) - exact).abs().max() > 0.05 * exact.abs().max()


def test_parameters_change_nothing():
    model = tiny("llama")
    values = {name: p.detach().clone() for name, p in state(model).items()}
    found = parameters(model, turns(model)[0])
    assert all(torch.equal(p, values[name]) for name, p in state(model).items())
    assert (found["model.norm.weight"] == 1).all()
    assert (found["model.layers.1.input_layernorm.weight"] == 1).all()


def test_the_real_model_is_the_same_function(embedded_model):
    model, tokens = embedded_model
    with torch.no_grad():
        exact = model(tokens).logits
        Q = rotation.randomized_hadamard(576, 0)
        R = rotation.randomized_hadamard(64, 0)
        with rotated(model, Q, head_rotation=R, online=True):
            found = model(tokens).logits
    # About 300 operations in a row, each rounding sums of up to 1,536 terms to
    # 2**-24, whose errors add like the root of their number; and as much again for
    # the rotated weights.
    bound = 2 * (300 * 1536) ** 0.5 * 2**-24
    assert (found - exact).norm() < bound * exact.norm()
    assert not torch.equal(found, exact)


@pytest.fixture(scope="module")
def embedded_model():
    """The embedded model and 32 tokens of text."""
    from course_utils import models  # noqa: PLC0415 -- needs the environment of tests
    from course_utils.models.texts import evaluation_tokens  # noqa: PLC0415

    model, tokenizer, _ = models.load("embedded")
    return model, evaluation_tokens(tokenizer, n=32)[None]


def test_refusals_come_before_any_change():
    model = tiny("llama")
    values = {name: p.detach().clone() for name, p in state(model).items()}
    Q, _ = turns(model)
    for turn, settings, said in (
        (
            torch.eye(8),
            {},
            r"shape \(8, 8\); the hidden size is 24, so give \(24, 24\)",
        ),
        (1.01 * Q, {}, "Q is no rotation"),
        (Q * float("nan"), {}, "Q is no rotation"),
        (Q, {"head_rotation": torch.eye(4)}, "the head size is 8"),
    ):
        with pytest.raises(ValueError, match=said), rotated(model, turn, **settings):
            pass
    assert all(torch.equal(p, values[name]) for name, p in state(model).items())


def test_families_with_other_norms_are_refused():
    config = AutoConfig.for_model("gpt2", vocab_size=40, n_embd=24, n_layer=1, n_head=2)
    model = AutoModelForCausalLM.from_config(config)
    with (
        pytest.raises(
            ValueError, match="'gpt2' cannot be rotated here; known are llama"
        ),
        rotated(model, torch.eye(24)),
    ):
        pass
