"""Smoothing factors against llm-compressor's own, and where its rule differs.

Options that differ from the paper, and so from ours:

    range of the inputs   max - min of a channel in place of max |X|
    range of the weights  2 max |W|, to match
    floor                 factors below 1e-5 are raised to it
    dead weights          a column of zeros takes the range of its inputs as factor
"""

import pytest
import torch
from torch import nn

from course_utils.methods.smoothquant import smoothing_factors
from course_utils.models.layers import linear_layers

LAYERS = ("model.layers.0", "model.layers.28")
EPS = 2.0**-24


@pytest.fixture(scope="module")
def library(apart):
    """The module of llm-compressor that smooths."""
    return apart("llmcompressor.modifiers.transform.smoothquant.base")


@pytest.fixture(scope="module")
def inputs(loaded):
    """What the query projections of two layers read, (tokens, cols)."""
    from course_utils.models.texts import calibration_tokens  # noqa: PLC0415

    found = {}
    layers = linear_layers(loaded.model)
    hooks = [
        layers[f"{i}.self_attn.q_proj"].register_forward_pre_hook(
            lambda _, args, i=i: found.update({i: args[0].flatten(0, 1).clone()})
        )
        for i in LAYERS
    ]
    with torch.no_grad():
        loaded.model(calibration_tokens()[:1], logits_to_keep=1)
    for hook in hooks:
        hook.remove()
    return found


def readers(loaded, layer):
    """Return the three projections behind the first norm of a layer."""
    found = linear_layers(loaded.model)
    return [found[f"{layer}.self_attn.{k}_proj"] for k in "qkv"]


def stacked(linears):
    """Return the rows of several layers below each other."""
    return torch.cat([x.weight.detach() for x in linears])


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.8, 1.0])
def test_given_its_ranges_our_factors_are_the_library_s(
    library, loaded, inputs, layer, alpha
):
    x, linears = inputs[layer], readers(loaded, layer)
    modifier = library.SmoothQuantModifier(smoothing_strength=alpha)
    span = x.amax(dim=0) - x.amin(dim=0)
    with torch.no_grad():
        theirs = modifier._calculate_smoothing_scales(linears, span)
    ours = smoothing_factors(span, 2 * stacked(linears), alpha=alpha)
    # The same powers of the same numbers; a power may be computed in another order.
    assert torch.allclose(ours, theirs, rtol=4 * EPS, atol=0)


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8])
def test_on_inputs_of_both_signs_it_is_the_paper_s_rule(library, loaded, inputs, alpha):
    x, linears = inputs[LAYERS[1]], readers(loaded, LAYERS[1])
    both = torch.cat([x, -x])  # then max - min is twice max |X|
    span = both.amax(dim=0) - both.amin(dim=0)
    modifier = library.SmoothQuantModifier(smoothing_strength=alpha)
    with torch.no_grad():
        theirs = modifier._calculate_smoothing_scales(linears, span)
    ours = smoothing_factors(both.abs().amax(dim=0), stacked(linears), alpha=alpha)
    # (2 a)^alpha / (2 b)^(1 - alpha): one factor for all channels, which no scale sees.
    # Two powers, a quotient and this product, each within 2 EPS on either side.
    expected = ours * 2 ** (2 * alpha - 1)
    assert torch.allclose(expected, theirs, rtol=16 * EPS, atol=0)


def test_the_library_leaves_a_large_constant_channel_alone(library):
    """The trap: inputs that stay near 60 have a range of 0.1 and a small factor."""
    x = torch.tensor([[60.0, 1.0], [60.1, -1.0]])
    w = nn.Linear(2, 2, bias=False)
    nn.init.ones_(w.weight)
    modifier = library.SmoothQuantModifier(smoothing_strength=0.5)
    with torch.no_grad():
        theirs = modifier._calculate_smoothing_scales(
            [w], x.amax(dim=0) - x.amin(dim=0)
        )
    ours = smoothing_factors(x.abs().amax(dim=0), w.weight.detach(), alpha=0.5)
    assert theirs[0] < theirs[1]
    assert ours[0] > 7 * ours[1]


def test_smoothed_norm_and_weights_are_the_library_s(library):
    """Oracle: what it writes into a norm and two readers, by its own hooks."""
    generator = torch.Generator().manual_seed(0)
    norm, a, b = nn.RMSNorm(16), nn.Linear(16, 8), nn.Linear(16, 4)
    x = torch.randn(32, 16, generator=generator)
    gain = torch.rand(16, generator=generator) * 20 + 0.1
    norm.weight.data = gain.clone()
    modifier = library.SmoothQuantModifier(smoothing_strength=0.5)
    modifier.resolved_mappings_ = [library.SmoothQuantMapping("norm", norm, [a, b])]
    modifier.scales_ = {}
    modifier._setup_scale_hooks()
    with torch.no_grad():
        read = torch.cat([norm(x), norm(-x)])  # both signs: the rules agree
        before = [a.weight.clone(), b.weight.clone()]
    modifier._apply_smoothing(None)
    modifier.remove_hooks()
    s = smoothing_factors(read.abs().amax(dim=0), torch.cat(before), alpha=0.5)
    close = {"rtol": 16 * EPS, "atol": 0.0}
    assert torch.allclose(norm.weight, gain / s, **close)
    assert torch.allclose(a.weight, before[0] * s, **close)
    assert torch.allclose(b.weight, before[1] * s, **close)
