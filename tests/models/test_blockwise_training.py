"""Training a tail: what it reads, what it leaves, that it helps, what it refuses."""

from functools import partial

import pytest
import torch
from small_models import VOCAB, small

from course_utils.formats.affine import QuantSpec
from course_utils.methods import clipping, gptq, observers
from course_utils.models import blockwise_training as training
from course_utils.models import layers, observing
from course_utils.models.quantize_model import quantize_model

SPEC = QuantSpec(2, group_size=16)


def text(n=6, length=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB, (n, length), generator=generator)


@pytest.fixture
def model():
    return small()


@pytest.fixture
def tail(model):
    return training.Tail(model, text())


def starts(tail, method=clipping.quantize):
    return {name: method(w, spec=SPEC) for name, w in tail.weights().items()}


def divergence(model, before, found, tokens):
    """Mean KL(before || with the weights of found), over all positions."""
    rebuilt = {name: t.dequantize() for name, t in found.items()}
    with layers.swapped(model, rebuilt), torch.no_grad():
        after = model(tokens).logits.log_softmax(-1)
    return (before.exp() * (before - after)).sum(-1).mean().item()


def test_the_tail_gives_the_logits_of_the_model(model, tail):
    with torch.no_grad():
        whole = model(text()).logits
    for window, expected in zip(text(), whole, strict=True):
        # The same operations on one window instead of six: sums of up to 64 products.
        assert torch.allclose(tail.logits(window), expected, atol=1e-4, rtol=1e-4)


def test_its_matrices_are_those_of_the_last_layers(tail):
    assert {name.split(".")[2] for name in tail.names} == {"1", "2"}
    assert len(tail.names) == 14


def test_a_window_that_it_did_not_read_is_refused(tail):
    for window in (text(seed=1)[0], text()[0][:5]):
        with pytest.raises(ValueError, match="other windows"):
            tail.logits(window)


@pytest.mark.parametrize("n", [0, 4])
def test_the_number_of_layers_is_checked(model, n):
    with pytest.raises(ValueError, match="1 to 3"):
        training.Tail(model, text(), n_layers=n)


def test_training_brings_unseen_text_nearer_and_leaves_the_model(model, tail):
    kept = {name: x.clone() for name, x in model.state_dict().items()}
    other = text(seed=1)
    with torch.no_grad():
        before = model(other).logits.log_softmax(-1)
    start, losses = starts(tail), []
    options = {"rate": 5e-3, "step_rate": 5e-3}
    found = training.train(
        tail, start, steps=60, report=lambda _, x: losses.append(x), **options
    )
    assert len(losses) == 60
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    first, last = (divergence(model, before, x, other) for x in (start, found))
    assert last < 0.9 * first
    for name, x in model.state_dict().items():
        assert torch.equal(x, kept[name])
    assert all(p.requires_grad for p in model.parameters())
    bits = {t.bits_per_weight() for t in (*start.values(), *found.values())}
    assert len(bits) == 1


def test_no_steps_leave_the_start(tail):
    start = starts(tail)
    found = training.train(tail, start, steps=0)
    assert all(torch.equal(found[n].q, start[n].q) for n in start)


def test_the_same_seed_trains_the_same(tail):
    one, two, three = (
        training.train(tail, starts(tail), steps=3, seed=seed) for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[n].scale, two[n].scale) for n in one)
    assert any((one[n].scale != three[n].scale).any() for n in one)


def test_every_window_is_used_before_one_is_used_again():
    random = torch.Generator().manual_seed(0)
    used = torch.cat(list(training._batches(6, 6, random)))
    assert sorted(used[:6].tolist()) == list(range(6))
    assert sorted(used[6:].tolist()) == list(range(6))
    assert len(next(training._batches(1, 1, random))) == 1


def test_the_loss_of_the_float_model_is_zero(tail):
    random = torch.Generator().manual_seed(0)
    # Both sides are computed alike but for the batch: 2**-24 of logits of some ten.
    loss = training.distillation_loss(tail, torch.tensor([0, 3]), random)
    assert abs(loss.item()) < 1e-5


def test_gptq_on_the_tail_is_gptq_on_the_model(model, tail):
    quantize = partial(gptq.quantize, spec=SPEC, lazy_block=16)
    ours = training.quantize_tail(tail, quantize)
    theirs = quantize_model(
        model, text(), quantize, names=tail.names, progress=lambda _: None
    )
    assert ours.keys() == theirs.keys()
    same = [(ours[n].q == theirs[n].q).float().mean().item() for n in ours]
    # Batches of one and of four windows round sums differently; a code on the edge
    # between two steps, and those after it in its row, may move.
    assert min(same) > 0.95
    assert sum(same) / len(same) > 0.99


@pytest.mark.parametrize("steps", [-1, 2])
def test_a_start_that_misses_a_matrix_or_negative_steps_are_refused(tail, steps):
    start = starts(tail)
    if steps > 0:
        start.pop(tail.names[0])
    with pytest.raises(ValueError, match="a start for each"):
        training.train(tail, start, steps=steps)


def test_a_diverging_run_is_one_sentence_and_leaves_the_model(model, tail):
    kept = {name: x.clone() for name, x in model.state_dict().items()}
    with pytest.raises(ValueError, match="learning rate"):
        training.train(tail, starts(tail), steps=20, step_rate=1e3)
    assert all(torch.equal(x, kept[n]) for n, x in model.state_dict().items())


def test_histograms_hold_every_input_once(model):
    found = observing.histograms(model, text(), batch=4)
    assert found.keys() == layers.linear_layers(model).keys()
    name = "model.layers.1.mlp.down_proj"
    seen = []
    hook = layers.linear_layers(model)[name].register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    with torch.no_grad():
        model(text())
    hook.remove()
    assert found[name].n == seen[0].numel()
    assert observers.minmax(found[name]) == pytest.approx(
        seen[0].abs().max().item(), rel=1e-5
    )
    assert not any(m._forward_pre_hooks for m in model.modules())
