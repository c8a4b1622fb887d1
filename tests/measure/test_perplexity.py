"""Perplexity, against the loss that transformers computes from the same tokens."""

import math

import pytest
import torch
from torch import nn

from course_utils.measure import inference
from course_utils.measure.agreement import logits_of
from course_utils.measure.perplexity import (
    log_likelihoods,
    perplexity,
    perplexity_of,
    protocol,
)
from course_utils.models.evaluating import evaluating

# Log-likelihoods are differences of logits of size 10 in float32 (spacing 1e-6), each
# the end of about 30 roundings; two orders of the same sums stay well within this.
ATOL = 1e-4


def loss(model, window):
    """Return transformers' own mean negative log-likelihood of one window."""
    with torch.no_grad():
        return model(input_ids=window[None], labels=window[None]).loss.item()


def test_one_window_is_exp_of_the_loss_of_transformers(tiny, tokens):
    window = tokens[:200]
    assert math.log(perplexity(tiny, window)) == pytest.approx(
        loss(tiny, window), abs=ATOL
    )


def test_windows_are_weighted_by_the_tokens_they_predict(tiny, tokens):
    parts = [tokens[:200], tokens[200:400], tokens[400:450]]
    sums = sum(loss(tiny, part) * (len(part) - 1) for part in parts)
    expected = sums / (199 + 199 + 49)
    got = math.log(perplexity(tiny, tokens[:450], context=200))
    assert got == pytest.approx(expected, abs=ATOL)


def test_long_windows_are_seen_in_blocks_but_as_one_context(tiny, tokens):
    got = log_likelihoods(tiny, tokens, context=1300)
    assert got.shape == (1299,)
    assert -got.double().mean().item() == pytest.approx(loss(tiny, tokens), abs=ATOL)


@pytest.mark.parametrize("max_rows", [1, 7, 64])
def test_size_of_the_blocks_does_not_matter(tiny, tokens, max_rows):
    window = tokens[:100]
    with evaluating(tiny):
        whole = torch.cat([x for _, x in inference.logit_blocks(tiny, window)])
        blocks = list(inference.logit_blocks(tiny, window, max_rows=max_rows))
    assert [start for start, _ in blocks] == list(range(0, 100, max_rows))
    assert torch.allclose(torch.cat([x for _, x in blocks]), whole, atol=ATOL, rtol=0)


def test_a_window_does_not_depend_on_its_neighbours(tiny, tokens):
    both = log_likelihoods(tiny, tokens[:128], context=64)
    second = log_likelihoods(tiny, tokens[64:128], context=64)
    assert torch.equal(both[63:], second)


def test_first_token_of_a_window_is_context_only(tiny, tokens):
    got = log_likelihoods(tiny, tokens[:130], context=64)
    assert got.shape == (63 + 63 + 1,)
    # One token left over cannot be predicted and changes nothing.
    same = log_likelihoods(tiny, tokens[:129], context=64)
    assert torch.equal(same, got[:126])


def test_never_more_than_512_rows_of_logits(tiny, tokens):
    rows = []
    hook = tiny.lm_head.register_forward_hook(lambda *call: rows.append(call[2].shape))
    log_likelihoods(tiny, tokens, context=1300)
    log_likelihoods(tiny, tokens, context=512)
    hook.remove()
    assert max(batch * n for batch, n, _ in rows) == 512
    assert sum(n for _, n, _ in rows) == 2 * 1300


def test_the_model_is_left_as_it_was(tiny, tokens):
    before = {name: p.clone() for name, p in tiny.named_parameters()}
    tiny.train()
    tiny.model.layers[1].eval()
    modes = [module.training for module in tiny.modules()]
    try:
        trained = log_likelihoods(tiny, tokens[:64])
        assert [module.training for module in tiny.modules()] == modes
    finally:
        tiny.eval()
    assert torch.equal(trained, log_likelihoods(tiny, tokens[:64]))  # no dropout
    assert all(torch.equal(p, before[name]) for name, p in tiny.named_parameters())
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in tiny.parameters())


def test_modes_come_back_after_an_error(tiny):
    tiny.train()
    try:
        with pytest.raises(IndexError):
            log_likelihoods(tiny, torch.tensor([1, 10_000]))  # beyond the vocabulary
        assert all(module.training for module in tiny.modules())
    finally:
        tiny.eval()


class Uniform(nn.Module):
    """A model without opinions."""

    def __init__(self, vocab):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.vocab = vocab

    def forward(self, input_ids, **_):
        logits = torch.zeros(*input_ids.shape, self.vocab)
        return type("Out", (), {"logits": logits, "past_key_values": None})


def test_a_model_that_guesses_evenly_has_the_vocabulary_as_perplexity(tokens):
    assert perplexity(Uniform(97), tokens[:300]) == pytest.approx(97, rel=1e-5)


def test_mean_is_taken_in_float64():
    # 2**24 + 1 is not a float32: a running float32 sum stops growing there.
    values = torch.full((2**24 + 2**20,), -1.0)
    values[0] = -(2.0**24)
    expected = math.exp((2**24 + len(values) - 1) / len(values))
    assert perplexity_of(values) == pytest.approx(expected, rel=1e-12)


def test_a_broken_model_has_infinite_perplexity_not_an_error():
    assert perplexity_of(torch.tensor([-1e6, -1.0])) == math.inf
    assert perplexity_of(torch.tensor([-math.inf, -1.0])) == math.inf
    assert math.isnan(perplexity_of(torch.tensor([math.nan, -1.0])))
    with pytest.raises(ValueError, match="no log-likelihood"):
        perplexity_of(torch.tensor([]))


@pytest.mark.parametrize(
    ("bad", "context", "words"),
    [
        (torch.zeros(1, 8, dtype=torch.long), 512, r"shape \(1, 8\).*tokens\[0\]"),
        (torch.zeros(1, dtype=torch.long), 512, "at least 2"),
        (torch.zeros(8, dtype=torch.long), 1, "context must be at least 2"),
    ],
)
def test_bad_input_is_named(tiny, bad, context, words):
    with pytest.raises(ValueError, match=words):
        perplexity(tiny, bad, context=context)


def test_the_protocol_says_what_was_done():
    words = protocol(2048)
    assert "2,048" in words
    assert "512" in words
    assert "no start token" in words


def test_a_function_can_stand_for_a_model(tiny, tokens):
    by_model = log_likelihoods(tiny, tokens[:300], context=128)
    by_function = log_likelihoods(logits_of(tiny), tokens[:300], context=128)
    assert torch.equal(by_function, by_model)
    assert perplexity(logits_of(tiny), tokens[:300]) == perplexity(tiny, tokens[:300])


def test_a_function_sees_the_windows_and_keeps_no_gradients(tokens):
    seen = []
    weight = torch.zeros(len(tokens), 97, requires_grad=True)

    def logits(window):
        seen.append(window)
        return (weight[: len(window)] + 1).half()

    got = log_likelihoods(logits, tokens[:130], context=64)
    assert [len(window) for window in seen] == [64, 64, 2]
    assert torch.equal(torch.cat(seen), tokens[:130])
    assert got.dtype == torch.float32
    assert not got.requires_grad
    assert got.tolist() == pytest.approx([-math.log(97)] * 127, rel=1e-6)


def test_a_function_must_give_a_row_for_each_token(tokens):
    for wrong in (torch.zeros(9, 97), torch.zeros(1, 10, 97)):
        with pytest.raises(ValueError, match=r"window of 10 tokens.*one row for each"):
            log_likelihoods(lambda _, wrong=wrong: wrong, tokens[:10])
    with pytest.raises(ValueError, match=r"context is 513; a function.*512 rows"):
        log_likelihoods(lambda w: torch.zeros(len(w), 97), tokens, context=513)
