"""Our AWQ against llm-compressor's, on the same layers and the same inputs."""

import os

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from course_utils.formats.affine import QuantSpec
from course_utils.measure import awq_library
from course_utils.methods import awq
from course_utils.models.layers import weight_of
from course_utils.models.walk import walk

SPEC = QuantSpec(4, group_size=16)
TOKENS = torch.randint(0, 40, (3, 24), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", autouse=True)
def quiet():
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="module")
def model():
    """A random llama model with uneven channels, so that alpha matters."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data = torch.randn_like(parameter).mul(1.5).exp()
        else:
            parameter.data *= 5
    return model


@pytest.fixture(scope="module")
def compared(model, apart):
    apart("llmcompressor")
    return awq_library.compare(model, TOKENS, layers_of=(1, 3), spec=SPEC)


def test_factors_are_the_library_s_for_its_alpha(compared):
    # Sums over 72 tokens in another order, a power and a quotient: 20 roundings.
    assert compared["largest"] <= 20 * 2**-23


def test_rounded_weights_are_the_library_s(compared):
    # 2 layers of 2 * 32 * 32 + 2 * 16 * 32 + 3 * 32 * 64 weights.
    assert compared["codes"] == 2 * 9216
    # Both divide in float32; the library adds the zero point before it rounds, so only
    # a weight on a tie may differ, and float32 weights hardly ever lie on one.
    assert compared["different"] <= compared["codes"] / 10_000


def test_down_proj_has_the_same_alpha(compared):
    for name, place in compared["ours"].items():
        if name.endswith("up_proj"):
            assert place == compared["theirs"][name]


def test_the_alphas_are_no_trivial_ones(compared):
    assert 0 < max(compared["ours"].values()) < 19
    assert len(set(compared["ours"].values())) > 1


@torch.no_grad()
def test_with_the_library_s_loss_every_alpha_is_the_library_s(model, compared):
    """The attention's or MLP's output in place of that of the layers."""
    for block in walk(model, TOKENS):
        if block.index == 0:
            continue
        stats = block.statistics()
        places = {
            "input_layernorm": (block.layer.self_attn, "self_attn", "qkv"),
            "post_attention_layernorm": (block.layer.mlp, "mlp", ["gate", "up"]),
        }
        for source, (module, path, letters) in places.items():
            place = [f"{path}.{letter}_proj" for letter in letters]
            L = module_loss(block, module, place)
            found = awq.search(stats[place[0]].abs_mean, L)
            key = f"model.layers.{block.index - 1}.{source}"
            assert round(found.alpha * 19) == compared["theirs"][key]


def module_loss(block, module, names):
    """L(s) as the library has it: the mean squared error of a whole module."""
    seen = []
    # Never removed: the model is this test's own.
    module.register_forward_hook(lambda _m, _a, out: seen.append(out))
    weights = {name: weight_of(block.linear[name]).clone() for name in names}

    def outputs():
        seen.clear()
        for x in block.inputs:
            block.run(x)
        return torch.cat([o[0] if isinstance(o, tuple) else o for o in seen])

    wanted = outputs()

    def L(s):
        for name, W in weights.items():
            block.linear[name].weight.data = awq.scaled_rounding(W, s, spec=SPEC)
        error = (outputs() - wanted).square().mean().item()
        for name, W in weights.items():
            block.linear[name].weight.data = W
        return error

    return L
