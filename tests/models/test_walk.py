"""The walk: each layer's inputs are those of the whole model's own pass."""

import pytest
import torch
from small_models import KINDS, small, tokens
from torch import nn

from course_utils.methods.statistics import Statistics
from course_utils.models.layers import linear_layers
from course_utils.models.walk import walk


def hidden_states(model, ids):
    """Return what each decoder layer reads, from transformers' own pass."""
    with torch.no_grad():
        return model(input_ids=ids, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_are_those_of_the_model(kind):
    model, ids = small(kind), tokens()
    expected = hidden_states(model, ids)
    blocks = []
    for block in walk(model, ids, batch=4):
        found = torch.cat(block.inputs)
        # The same operations on other batch sizes: float32 rounding of sums.
        torch.testing.assert_close(found, expected[block.index], rtol=1e-4, atol=1e-4)
        blocks.append(block)
    assert [block.index for block in blocks] == [0, 1, 2]
    names = [block.name(name) for block in blocks for name in block.linear]
    assert names == list(linear_layers(model))


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_those_of_the_inputs_of_each_linear_layer(kind):
    model, ids = small(kind), tokens()
    seen, hooks = {}, []
    for name, module in linear_layers(model).items():
        seen[name] = Statistics()
        hooks.append(
            module.register_forward_pre_hook(
                lambda _, args, name=name: seen[name].add(args[0])
            )
        )
    with torch.no_grad():
        model(input_ids=ids)
    for hook in hooks:
        hook.remove()
    for block in walk(model, ids, batch=4):
        for name, found in block.statistics().items():
            expected = seen[block.name(name)].result()
            assert found.n == expected.n == ids.numel()
            for part in ("second_moment", "abs_mean", "abs_max"):
                got, want = getattr(found, part), getattr(expected, part)
                torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)


def test_layers_with_one_input_share_its_statistics():
    block = next(walk(small(), tokens()))
    found = block.statistics()
    q, k, v, o, gate, up, down = (found[name] for name in block.linear)
    assert q is k is v
    assert gate is up
    assert len({id(x) for x in (q, o, gate, down)}) == 4
    few = block.statistics(["mlp.up_proj", "self_attn.k_proj"], keep_inputs=3)
    assert list(few) == ["mlp.up_proj", "self_attn.k_proj"]
    assert few["mlp.up_proj"].inputs.shape == (3, 32)
    assert torch.equal(few["self_attn.k_proj"].second_moment, k.second_moment)


def test_a_changed_layer_gives_the_next_its_inputs():
    model, ids = small(), tokens()
    plain = [torch.cat(block.inputs) for block in walk(model, ids)]
    changed = []
    for block in walk(model, ids):
        changed.append(torch.cat(block.inputs))
        if block.index == 0:
            block.linear["mlp.down_proj"].weight.data *= 1.5
    assert torch.equal(changed[0], plain[0])
    assert not torch.allclose(changed[1], plain[1])
    expected = hidden_states(model, ids)[2]
    torch.testing.assert_close(changed[2], expected, rtol=1e-4, atol=1e-4)


def test_run_is_the_layer():
    model, ids = small(), tokens(4)
    blocks = walk(model, ids)
    first = next(blocks)
    out = first.run(first.inputs[0])
    assert torch.equal(out, next(blocks).inputs[0])
    with pytest.raises(ValueError, match=r"shape \(1, 3, 32\); give one of the inputs"):
        first.run(torch.zeros(1, 3, 32))


def test_modes_gradients_and_hooks_are_as_before():
    model = small().train()
    model.model.layers[1].eval()
    modes = [module.training for module in model.modules()]
    for block in walk(model, tokens()):
        assert torch.is_grad_enabled()
        assert not block.inputs[0].requires_grad
        block.statistics()
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_dropout_is_off():
    model, ids = small().train(), tokens()
    runs = [[torch.cat(b.inputs) for b in walk(model, ids)] for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_hooks_are_gone_after_an_error():
    model = small()
    model.model.layers[0].mlp.down_proj.weight.data[0, 0] = torch.nan
    blocks = walk(model, tokens())
    next(blocks)
    with pytest.raises(ValueError, match="hold NaN or infinity"):
        next(blocks).statistics()
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_one_layers_inputs_are_held_at_a_time():
    blocks = walk(small(), tokens())
    first = next(blocks)
    inputs = first.inputs
    assert next(blocks).inputs is inputs


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (["...", ...], "got a list; `calibration.windows` makes one"),
        ([...], "got a list"),
        (torch.zeros(0, 5, dtype=torch.int64), r"shape \(0, 5\)"),
        (torch.zeros(5, dtype=torch.int64), r"shape \(5,\)"),
        (torch.zeros(2, 5), "float32"),
        (torch.ones(2, 5, dtype=torch.bool), "bool"),
        (torch.full((2, 5), 97), "run from 97 to 97; this model has 0 to 96"),
        (torch.full((2, 5), -1), "run from -1 to -1"),
    ],
)
def test_tokens_that_are_none_are_refused(bad, words):
    with pytest.raises(ValueError, match=words):
        next(walk(small(), bad))


def test_other_refusals():
    with pytest.raises(ValueError, match="batch must be at least 1"):
        next(walk(small(), tokens(), batch=0))
    with pytest.raises(ValueError, match="no linear layer 'fc1'; it has self_attn"):
        next(walk(small(), tokens())).statistics(["fc1"])
    mixed = small("qwen2")
    mixed.config.layer_types = ["full_attention", "sliding_attention"]
    with pytest.raises(ValueError, match="layers of this model differ"):
        next(walk(mixed, tokens()))
    other = small()
    other.config.model_type = "unheard-of"
    with pytest.raises(ValueError, match="No layer names for model type"):
        next(walk(other, tokens()))
    assert isinstance(other, nn.Module)
