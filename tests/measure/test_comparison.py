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


@pytest.mark.parametrize(("n", "context"), [(4097, 512), (1000, 513)])
def test_too_many_rows_are_refused(tiny, n, context):
    with pytest.raises(ValueError, match="4096"):
        comparison.read(tiny, torch.zeros(n, dtype=torch.long), context=context)


def test_another_vocabulary_is_refused(tiny, tokens):
    kept = comparison.read(tiny, tokens[:50])
    with pytest.raises(ValueError, match="vocabulary"):
        comparison.compare(kept, lambda window: torch.zeros(len(window), 3))
