import pytest
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)
from transformers.pytorch_utils import Conv1D

from course_utils.models.card import from_config
from course_utils.models.families import FAMILIES
from course_utils.models.layers import linear_layers, swap, swapped, weight_of

# What the configurations of the families call the same sizes.
LLAMA_SIZES = {
    "vocab_size": 20,
    "hidden_size": 16,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SIZES = {
    "opt": {
        "vocab_size": 20,
        "hidden_size": 16,
        "word_embed_proj_dim": 16,
        "ffn_dim": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    },
    "gpt2": {
        "vocab_size": 20,
        "n_embd": 16,
        "n_inner": 40,
        "n_layer": 2,
        "n_head": 4,
    },
    # Its usual padding token lies outside so small a vocabulary.
    "phi3": {**LLAMA_SIZES, "pad_token_id": 0},
    # Heads wider than hidden_size / num_attention_heads, as in the real ones.
    "qwen3": {**LLAMA_SIZES, "head_dim": 8},
}


def tiny_of(kind: str) -> PreTrainedModel:
    """Return a small random model of a family."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **SIZES.get(kind, LLAMA_SIZES))
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).eval()


def test_every_linear_layer_but_the_output_in_order(embedded_model):
    layers = linear_layers(embedded_model)
    every = {
        name: module
        for name, module in embedded_model.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    }
    assert layers == every
    assert len(layers) == 7 * 30
    assert list(layers)[:2] == [
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.self_attn.k_proj",
    ]
    assert list(layers)[-1] == "model.layers.29.mlp.down_proj"


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_has_all_its_linear_layers_in_order(kind):
    model = tiny_of(kind)
    layers = linear_layers(model)
    every = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and name != "lm_head"
    }
    assert set(layers) == set(every)
    assert all(layers[name] is module for name, module in every.items())
    # The order is that of a token's way through the model.
    called = []
    for name, module in layers.items():
        module.register_forward_hook(lambda *_, name=name: called.append(name))
    model(torch.tensor([[1, 2, 3]]))
    assert list(layers) == called


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_card_knows_the_shapes_of_every_family(kind):
    model = tiny_of(kind)
    card = from_config(
        model.config.to_dict(), name=kind, n_params=1, revision="", source=""
    )
    shapes = [tuple(weight_of(m).shape) for m in linear_layers(model).values()]
    assert shapes == list(card.linear_shapes().values()) * card.n_layers
    assert card.linear_parameters == sum(n * m for n, m in shapes)
    cache = model(torch.tensor([[1, 2, 3, 4, 5]]), use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert held == card.kv_bytes(context=5, bits=32)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_weight_is_output_by_input(kind):
    model = tiny_of(kind)
    for module in linear_layers(model).values():
        w = weight_of(module)
        x = torch.randn(3, w.shape[1])
        bias = 0 if module.bias is None else module.bias
        # float32, sums of at most 40 products of size about 1e-2.
        torch.testing.assert_close(module(x), x @ w.T + bias, rtol=0, atol=1e-6)
        assert w.data_ptr() == module.weight.data_ptr()


@pytest.mark.parametrize("kind", FAMILIES)
def test_swapping_works_for_every_family(kind):
    model = tiny_of(kind)
    tokens = torch.tensor([[1, 2, 3]])
    layers = linear_layers(model)
    same = {name: weight_of(m).clone() for name, m in layers.items()}
    other = {name: -weight_of(m) for name, m in layers.items()}
    with torch.no_grad():
        logits = model(tokens).logits
        with swapped(model, same):
            assert torch.equal(model(tokens).logits, logits)
        with swapped(model, other):
            assert not torch.equal(model(tokens).logits, logits)
            assert all(torch.equal(weight_of(m), other[n]) for n, m in layers.items())
        assert torch.equal(model(tokens).logits, logits)


def test_another_architecture_is_refused(tiny):
    tiny.config.model_type = "mamba"
    with pytest.raises(ValueError, match="No layer names for model type 'mamba'"):
        linear_layers(tiny)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_other_modules_take_the_place_of_layers_and_go_again(kind):
    model = tiny_of(kind)
    tokens = torch.tensor([[1, 2, 3]])
    new = {}
    for name, module in linear_layers(model).items():
        w = weight_of(module)
        new[name] = nn.Linear(w.shape[1], w.shape[0], bias=module.bias is not None)
        new[name].weight.data = w.clone()
        if module.bias is not None:
            new[name].bias.data = module.bias.data.clone()
    with torch.no_grad():
        logits = model(tokens).logits
        old = swap(model, new)
        # The same sums in another order: float32, logits of size about 0.1.
        torch.testing.assert_close(model(tokens).logits, logits, rtol=0, atol=1e-6)
        assert all(linear_layers(model)[name] is m for name, m in new.items())
        assert swap(model, old) == new
        assert torch.equal(model(tokens).logits, logits)


def test_a_module_with_other_channels_changes_nothing(tiny):
    before = linear_layers(tiny)
    good = {"model.layers.0.mlp.up_proj": nn.Linear(16, 24)}
    bad = {"model.layers.1.mlp.up_proj": nn.Linear(16, 25)}
    with pytest.raises(ValueError, match=r"channels \(24, 16\)"):
        swap(tiny, good | bad)
    with pytest.raises(ValueError, match="no linear layer 'lm_head'"):
        swap(tiny, good | {"lm_head": nn.Linear(16, 20)})
    assert linear_layers(tiny) == before


def test_a_packed_weight_is_no_matrix():
    packed = nn.Linear(8, 4)
    packed.weight.data = torch.zeros(16, 1)
    with pytest.raises(ValueError, match="dequantize it first"):
        weight_of(packed)


def test_a_swap_acts_and_is_undone(tiny):
    tokens = torch.tensor([[1, 2, 3]])
    before = {name: w.clone() for name, w in tiny.state_dict().items()}
    with torch.no_grad():
        logits = tiny(tokens).logits
        zeros = {n: torch.zeros_like(m.weight) for n, m in linear_layers(tiny).items()}
        with swapped(tiny, zeros) as same:
            assert same is tiny
            assert not torch.equal(tiny(tokens).logits, logits)
            assert all((m.weight == 0).all() for m in linear_layers(tiny).values())
        assert torch.equal(tiny(tokens).logits, logits)
    assert all(torch.equal(w, before[name]) for name, w in tiny.state_dict().items())


def test_a_swap_is_undone_after_an_error(tiny):
    name = "model.layers.1.mlp.up_proj"
    before = linear_layers(tiny)[name].weight.clone()
    with pytest.raises(RuntimeError), swapped(tiny, {name: torch.zeros(24, 16)}):
        raise RuntimeError
    assert torch.equal(linear_layers(tiny)[name].weight, before)


def test_the_given_tensor_and_the_original_stay_apart(tiny):
    name = "model.layers.0.self_attn.q_proj"
    before = linear_layers(tiny)[name].weight.clone()
    mine = torch.zeros(16, 16)
    with swapped(tiny, {name: mine}), torch.no_grad():
        linear_layers(tiny)[name].weight.add_(1)
    assert (mine == 0).all()
    assert torch.equal(linear_layers(tiny)[name].weight, before)


def test_other_dtypes_are_converted(tiny):
    name = "model.layers.0.self_attn.q_proj"
    with swapped(tiny, {name: torch.ones(16, 16, dtype=torch.float64)}):
        assert linear_layers(tiny)[name].weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [("lm_head", (20, 16), "no linear layer"), ("", (24, 15), "has shape")],
)
def test_a_wrong_swap_changes_nothing(tiny, name, shape, message):
    before = {n: w.clone() for n, w in tiny.state_dict().items()}
    good = "model.layers.0.self_attn.q_proj"
    bad = name or "model.layers.0.mlp.up_proj"
    weights = {good: torch.zeros(16, 16), bad: torch.zeros(shape)}
    with pytest.raises(ValueError, match=message), swapped(tiny, weights):
        pass
    assert all(torch.equal(w, before[n]) for n, w in tiny.state_dict().items())
