"""KL divergence and top-1 agreement."""

import math

import pytest
import torch

from course_utils.measure.agreement import agreement, kl_divergence, logits_of


def test_kl_of_two_coins():
    fair = torch.log(torch.tensor([[0.5, 0.5]]))
    bent = torch.log(torch.tensor([[0.9, 0.1]]))
    expected = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    # The logits are float32, so each carries 6e-8 of its size.
    assert kl_divergence(fair, bent).item() == pytest.approx(expected, rel=1e-6)
    assert kl_divergence(bent, fair).item() != pytest.approx(expected, rel=0.1)


def test_kl_ignores_a_constant_added_to_the_logits():
    logits = torch.tensor([[1.0, 2.0, 4.0]])
    assert kl_divergence(logits, logits + 8).item() == pytest.approx(0, abs=1e-15)


def test_kl_agrees_with_torch_on_random_logits():
    generator = torch.Generator().manual_seed(1)
    p, q = torch.randn(2, 5, 50, generator=generator).double()
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=p),
        torch.distributions.Categorical(logits=q),
    )
    assert torch.allclose(kl_divergence(p, q), expected, rtol=1e-12)


def test_a_model_agrees_with_itself(tiny, tokens):
    result = agreement(tiny, tiny, tokens[:300], context=128)
    assert (result.kl, result.top1, result.n) == (0.0, 1.0, 300)


def test_two_models_position_by_position(tiny, other, tokens):
    kl, same, n = 0.0, 0, 0
    for window in (tokens[:128], tokens[128:256], tokens[256:300]):
        with torch.no_grad():
            p = tiny(input_ids=window[None]).logits[0]
            q = other(input_ids=window[None]).logits[0]
        kl += kl_divergence(p, q).sum().item()
        same += int((p.argmax(1) == q.argmax(1)).sum())
        n += len(window)
    result = agreement(tiny, other, tokens[:300], context=128)
    assert result.kl == pytest.approx(kl / n, rel=1e-12)
    assert result.top1 == same / n
    assert result.kl > 0.1
    assert result.top1 < 1


def test_functions_can_stand_for_models(tiny, other, tokens):
    by_model = agreement(tiny, other, tokens[:100])
    by_function = agreement(logits_of(tiny), logits_of(other), tokens[:100])
    assert by_function == by_model


def test_bad_input_is_named(tiny, tokens):
    with pytest.raises(ValueError, match="at most 512 rows"):
        agreement(tiny, tiny, tokens, context=1024)
    with pytest.raises(ValueError, match=r"\(1, 3\).*\(1, 2\)"):
        kl_divergence(torch.zeros(1, 3), torch.zeros(1, 2))
