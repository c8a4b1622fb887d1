"""Adapters in small models: frozen, trained, merged and taken out again."""

import pytest
import torch
from small_models import KINDS, small, tokens

from course_utils.methods import qlora
from course_utils.models import layers
from course_utils.models import qlora as adapting

SETTINGS = {"r": 2, "alpha": 4}


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=ids).logits


def sgd(found, rate=0.5):
    return torch.optim.SGD(adapting.parameters(found), lr=rate)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_before_training_the_float_base_is_unchanged(kind):
    model, ids = small(kind), tokens()
    before = logits(model, ids)
    with adapting.adapted(model, four_bits=False, **SETTINGS) as found:
        assert set(found) == set(layers.linear_layers(model))
        # B is 0, so the adapters add 0; a bias is added in another call.
        torch.testing.assert_close(logits(model, ids), before, rtol=0, atol=1e-5)
    assert torch.equal(logits(model, ids), before)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_merged_model_is_the_adapted_one(kind):
    model, ids = small(kind), tokens()
    with adapting.adapted(model, **SETTINGS) as found:
        start = logits(model, ids)
        for _ in range(3):
            adapting.train_step(model, ids, sgd(found))
        beside = logits(model, ids)
    with layers.swapped(model, adapting.merged(adapting.bases(found), found)):
        inside = logits(model, ids)
    change = (beside - start).norm()
    assert change > 0.01 * start.norm()
    # Float32 rounding against a change of a per cent and more.
    assert (beside - inside).norm() < 1e-3 * change


def test_only_adapters_are_trained_and_all_comes_back():
    model, ids = small(), tokens()
    model.get_input_embeddings().weight.requires_grad_(False)
    flags = {n: p.requires_grad for n, p in model.named_parameters()}
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    with adapting.adapted(model, **SETTINGS) as found:
        trainable = [p for p in model.parameters() if p.requires_grad]
        assert {id(p) for p in trainable} == {id(p) for p in adapting.parameters(found)}
        codes = {n: a.base.packed.clone() for n, a in found.items()}
        losses = [adapting.train_step(model, ids, sgd(found)) for _ in range(5)]
        assert losses[-1] < losses[0]
        assert all(torch.equal(a.base.packed, codes[n]) for n, a in found.items())
        # B is 0 at first, so A has its first gradient in the second step.
        assert all(a.B.any() for a in found.values())
    assert flags == {n: p.requires_grad for n, p in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])


def test_some_layers_alone_can_be_adapted():
    model = small()
    names = [n for n in layers.linear_layers(model) if ".2.mlp." in n]
    with adapting.adapted(model, names=names, **SETTINGS) as found:
        assert list(found) == names
        q_proj = model.get_submodule("model.layers.0.self_attn.q_proj")
        assert isinstance(q_proj, torch.nn.Linear)
        adapting.train_step(model, tokens(), sgd(found))


def test_the_model_comes_back_after_an_error():
    model, ids = small(), tokens()
    before = logits(model, ids)
    with (
        pytest.raises(RuntimeError, match="stop"),
        adapting.adapted(model, **SETTINGS),
    ):
        raise RuntimeError("stop")
    assert torch.equal(logits(model, ids), before)


def test_an_adapter_on_the_wrong_base_is_off_by_the_rounding():
    """Merged into the floats, the model differs by what NF4 had changed."""
    model = small()
    with adapting.adapted(model, **SETTINGS) as found:
        adapting.train_step(model, tokens(), sgd(found))
    weights = {
        n: layers.weight_of(m).detach() for n, m in layers.linear_layers(model).items()
    }
    bases = adapting.bases(found)
    on_floats, on_codes = (adapting.merged(w, found) for w in (weights, bases))
    for name, w in weights.items():
        gap = (on_floats[name] - on_codes[name]) - (w - bases[name])
        assert gap.abs().max() < 1e-6
        assert torch.equal(bases[name], qlora.rebuilt(qlora.freeze(w)))


def test_bad_input_is_refused():
    model, ids = small(), tokens()
    with (
        pytest.raises(ValueError, match="no linear layer 'lm_head'"),
        adapting.adapted(model, names=["lm_head"], **SETTINGS),
    ):
        pass
    with adapting.adapted(model, **SETTINGS) as found:
        next(iter(found.values())).A.data[0, 0] = torch.inf
        kept = {n: a.B.detach().clone() for n, a in found.items()}
        with pytest.raises(ValueError, match="no step was taken"):
            adapting.train_step(model, ids, sgd(found))
        assert all(torch.equal(a.B, kept[n]) for n, a in found.items())
    with pytest.raises(ValueError, match="give the weights of the adapted model"):
        adapting.merged({}, found)
