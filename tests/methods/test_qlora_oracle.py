"""Oracles: bitsandbytes for the frozen bytes, peft for the layer and its gradients."""

import logging

import pytest
import torch
from peft import LoraConfig, get_peft_model

from course_utils.methods import lora, qlora
from course_utils.models import layers

NAMES = ("model.layers.10.self_attn.q_proj", "model.layers.28.mlp.down_proj")
R, ALPHA, TOKENS = 4, 8, 32


@pytest.fixture(scope="module")
def bnb():
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    return pytest.importorskip("bitsandbytes")


@pytest.fixture(scope="module", params=NAMES)
def matrix(request, loaded):
    return layers.linear_layers(loaded.model)[request.param].weight.detach()


def linear4bit(bnb, W, double=True):
    layer = bnb.nn.Linear4bit(*reversed(W.shape), bias=False, compute_dtype=W.dtype)
    layer.weight = bnb.nn.Params4bit(
        W, requires_grad=False, quant_type="nf4", compress_statistics=double
    )
    return layer.to("cpu")


@pytest.mark.parametrize("double", [False, True])
def test_the_bytes_are_those_of_bitsandbytes(bnb, matrix, double):
    ours, weight = qlora.freeze(matrix, double=double), linear4bit(bnb, matrix, double)
    state = weight.weight.quant_state
    assert torch.equal(ours.packed, weight.weight.data.flatten())
    if not double:
        assert torch.equal(ours.absmax, state.absmax)
        return
    assert torch.equal(ours.absmax.codes, state.absmax)
    assert torch.equal(ours.absmax.scale, state.state2.absmax)
    assert ours.absmax.offset == state.offset
    # peft rebuilds by this function before it merges.
    theirs = bnb.functional.dequantize_4bit(weight.weight.data, state)
    assert torch.equal(qlora.rebuilt(ours), theirs)


def of_peft(layer):
    """Return the layer with an adapter whose B is not 0, and its A and B."""
    model = torch.nn.Sequential()
    model.add_module("layer", layer)
    model.is_loaded_in_4bit = True
    config = LoraConfig(r=R, lora_alpha=ALPHA, target_modules=["layer"])
    wrapped = get_peft_model(model, config).base_model.model.layer.train()
    A, B = (x["default"].weight for x in (wrapped.lora_A, wrapped.lora_B))
    with torch.no_grad():
        B.normal_(generator=torch.Generator().manual_seed(1))
    return wrapped, A, B


@pytest.mark.parametrize("four_bits", [False, True])
def test_output_and_gradients_are_those_of_peft(bnb, matrix, four_bits):
    if four_bits:
        layer, frozen, rule = linear4bit(bnb, matrix), qlora.freeze(matrix), qlora
    else:
        layer = torch.nn.Linear(*reversed(matrix.shape), bias=False)
        layer.weight.data, frozen, rule = matrix, matrix, lora
    theirs, *parameters = of_peft(layer)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(TOKENS, matrix.shape[1], generator=generator)
    G = torch.randn(TOKENS, matrix.shape[0], generator=generator)

    def run(function, parameters):
        leaves = [t.detach().clone().requires_grad_() for t in (x, *parameters)]
        out = function(*leaves)
        return [out.detach(), *torch.autograd.grad(out, leaves, G)]

    def of_theirs(x, A, B):
        given = {"lora_A.default.weight": A, "lora_B.default.weight": B}
        return torch.func.functional_call(theirs, given, (x,))

    ours = run(lambda x, A, B: rule.forward(x, frozen, A, B, alpha=ALPHA), parameters)
    for name, a, b in zip(
        ("output", "x", "A", "B"), ours, run(of_theirs, parameters), strict=True
    ):
        # Both take float32 products of the same numbers, summed in another order: n
        # terms, 2**-24 of each, twice in a row for the adapter.
        n = max(matrix.shape) + R
        assert (a - b).norm() <= 2 * n**0.5 * 2**-23 * b.norm(), name


def test_delta_is_that_of_peft(matrix):
    layer = torch.nn.Linear(*reversed(matrix.shape), bias=False)
    theirs, A, B = of_peft(layer)
    expected = theirs.get_delta_weight("default").detach()
    ours = lora.delta(A.detach(), B.detach(), alpha=ALPHA)
    # Sums of R products, rounded to 2**-24 in one order or another.
    assert (ours - expected).norm() <= R * 2**-23 * expected.norm()


def test_the_start_has_the_range_of_peft(matrix):
    layer = torch.nn.Linear(*reversed(matrix.shape), bias=False)
    _, A, _ = of_peft(layer)
    ours = lora.start(*matrix.shape, r=R)[0]
    bound = matrix.shape[1] ** -0.5
    for found in (A.detach(), ours):
        # Of over 2000 draws the largest is within 1 % of the bound all but surely.
        assert 0.99 * bound < found.abs().max() <= bound * (1 + 1e-6)
