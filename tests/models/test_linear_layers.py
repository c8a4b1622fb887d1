import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from course_utils.models.layers import linear_layers, swapped


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


def test_another_architecture_is_refused():
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=9))
    with pytest.raises(ValueError, match="No layer names for model type 'gpt2'"):
        linear_layers(model)


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
