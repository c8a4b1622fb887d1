import pytest
import torch

from course_utils.measure import comparison
from course_utils.measure.agreement import agreement, logits_of
from course_utils.measure.perplexity import log_likelihoods, perplexity


def test_one_pass_gives_what_three_separate_ones_give(tiny, other, tokens):
    tokens = tokens[:300]
    found = comparison.compare(comparison.read(tiny, tokens, context=128), other)
    expected = agreement(tiny, other, tokens, context=128)
    # The same sums in blocks of other sizes, in float64: 300 values of size 10.
    assert found.kl == pytest.approx(expected.kl, abs=300 * 10 * 2**-52)
    assert (found.top1, found.n) == (expected.top1, expected.n)
    # float32: log p of size 10 has 2**-24 relative rounding in either computation.
    apart = log_likelihoods(other, tokens, context=128)
    assert torch.allclose(found.log_likelihoods, apart, rtol=0, atol=4 * 10 * 2**-24)
    assert found.perplexity == pytest.approx(
        perplexity(other, tokens, context=128), rel=4 * 10 * 2**-24
    )


def test_a_model_is_at_distance_zero_from_itself(tiny, tokens):
    kept = comparison.read(tiny, tokens[:200], context=64)
    for found in (comparison.itself(kept), comparison.compare(kept, tiny)):
        assert (found.kl, found.top1, found.n) == (0.0, 1.0, 200)


def test_a_function_stands_for_a_model(tiny, other, tokens):
    kept = comparison.read(logits_of(tiny), tokens[:100])
    from_module = comparison.compare(kept, other)
    from_function = comparison.compare(kept, logits_of(other))
    assert from_function.kl == from_module.kl > 0
    assert torch.equal(from_function.log_likelihoods, from_module.log_likelihoods)


def test_a_window_of_too_many_rows_is_refused(tiny, tokens):
    with pytest.raises(ValueError, match="context is 513; at most 512 rows"):
        comparison.read(tiny, tokens, context=513)


def test_bytes_are_bounded_whatever_the_vocabulary(monkeypatch):
    seen = []

    def model(window):
        seen.append(len(window))
        return torch.zeros(len(window), 250)

    tokens = torch.zeros(40, dtype=torch.long)
    # 40 rows of 250 float32 numbers.
    monkeypatch.setattr(comparison, "MAX_BYTES", 40 * 250 * 4)
    assert len(comparison.read(model, tokens, context=10).logits) == 4
    monkeypatch.setattr(comparison, "MAX_BYTES", 40 * 250 * 4 - 1)
    seen.clear()
    with pytest.raises(ValueError, match="Take 39 tokens or fewer"):
        comparison.read(model, tokens, context=10)
    assert seen == [10]  # one window was computed, not all


def test_a_gigabyte_is_kept():
    comparison._check_size(5086, vocab=49_152)
    for rows, vocab in ((5087, 49_152), (4096, 151_936)):
        with pytest.raises(ValueError, match="at most 1 GB is kept"):
            comparison._check_size(rows, vocab=vocab)


def test_another_vocabulary_is_refused(tiny, tokens):
    kept = comparison.read(tiny, tokens[:50])
    with pytest.raises(ValueError, match="vocabulary"):
        comparison.compare(kept, lambda window: torch.zeros(len(window), 3))
