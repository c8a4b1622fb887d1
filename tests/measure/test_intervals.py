"""Intervals: Student's quantiles, hand counts, and coverage by simulation."""

import math
import statistics
import sys

import pytest
import torch

from course_utils.measure.intervals import (
    Interval,
    interval,
    paired_interval,
    student_t,
)
from course_utils.measure.perplexity import log_likelihoods, perplexity


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("df", [*range(1, 30), 127, 1000, 4001])
def test_quantile_of_scipy(apart, df):
    stats = apart("scipy.stats")
    for confidence in (0.5, 0.95, 0.999):
        theirs = stats.t.ppf((1 + confidence) / 2, df)
        # A sum of at most df terms below 1 errs by df * 2**-53. Divided by t times the
        # density there, at least 1e-3 for these cases, it is the relative error of t:
        # 4001 * 2**-53 / 1e-3 = 4.4e-10.
        assert student_t(df, confidence=confidence) == pytest.approx(theirs, rel=1e-9)


def test_quantiles_in_closed_form():
    assert student_t(1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-12)
    # P(|t| < x) = x / sqrt(2 + x^2) for 2 degrees of freedom.
    assert student_t(2) == pytest.approx(math.sqrt(2 / (0.95**-2 - 1)), rel=1e-12)


def test_blocks_of_one_length_give_the_textbook_interval():
    a = normal(640)
    means = a.view(10, 64).mean(dim=1).tolist()
    half = student_t(9) * statistics.stdev(means) / math.sqrt(10)
    got = interval(a, block=64)
    assert got.n == 10
    assert got.mean == pytest.approx(statistics.mean(means), rel=1e-12)
    assert got.high - got.mean == pytest.approx(half, rel=1e-9)
    assert got.mean - got.low == pytest.approx(half, rel=1e-9)


def test_a_shorter_last_block_counts_with_its_length():
    a = torch.tensor([1.0, 3.0, 6.0, 6.0, 9.0])
    got = interval(a, block=2)
    # Sums 4, 12, 9 over 2, 2, 1 values, mean 5: residuals -6, 2, 4; 36 + 4 + 16 = 56.
    assert got.mean == 5
    assert got.n == 3
    expected = student_t(2) * math.sqrt(3 / 2 * 56) / 5
    assert got.high - got.mean == pytest.approx(expected, rel=1e-12)


def covered(block, *, n_trials=2000):
    """Return in what share of trials the interval holds the true mean, 0.

    A text of 16 passages of 32 tokens: each passage is easy or hard as a whole, each
    token in its own measure on top.
    """
    passages = normal(n_trials, 16, 1, seed=1)
    tokens = (passages + normal(n_trials, 16, 32, seed=2)).flatten(1)
    return sum(interval(row, block=block).holds(0) for row in tokens) / n_trials


def test_95_of_100_intervals_hold_the_mean():
    # Blocks of a passage are independent and normal, so the coverage is 0.95 exactly;
    # 2,000 trials show it to sqrt(0.95 * 0.05 / 2000) = 0.0049, here four times.
    assert abs(covered(32) - 0.95) < 4 * 0.0049


def test_tokens_taken_as_independent_claim_far_too_much():
    # Between tokens the spread is sqrt(2), so the error of the mean is taken to be
    # sqrt(2 / 512) = 0.0625. It is sqrt(1 / 16 + 1 / 512) = 0.254, four times that:
    # the interval reaches 1.96 / 4.06 = 0.48 true standard errors, which hold 0.37.
    assert covered(1) == pytest.approx(0.37, abs=4 * math.sqrt(0.37 * 0.63 / 2000))


def test_a_pair_cancels_what_makes_a_passage_hard():
    hard = normal(640, seed=3)
    better = hard + 0.01 * normal(640, seed=4)
    pair = paired_interval(hard, better, block=64)
    alone = interval(hard, block=64)
    assert pair.high - pair.low < 0.1 * (alone.high - alone.low)
    assert pair.mean == pytest.approx((hard.mean() - better.mean()).item(), abs=1e-15)
    other_way = paired_interval(better, hard, block=64)
    assert other_way.low == pytest.approx(-pair.high, rel=1e-9)


def test_exp_of_the_difference_is_the_ratio_of_perplexities(tiny, other, tokens):
    first, second = (log_likelihoods(m, tokens[:512]) for m in (tiny, other))
    ratio = paired_interval(first, second, block=73).exp()
    expected = perplexity(other, tokens[:512]) / perplexity(tiny, tokens[:512])
    # All means are float64 sums of 511 values below 100 in size: 511 * 2**-53 * 100.
    assert ratio.mean == pytest.approx(expected, rel=1e-11)
    assert ratio.low < ratio.mean < ratio.high
    assert ratio.n == 7


def test_exp_is_taken_of_mean_and_both_ends():
    assert Interval(0.0, math.log(0.5), math.log(4.0), 9).exp() == Interval(
        1.0, pytest.approx(0.5), pytest.approx(4.0), 9
    )


def test_exp_beyond_the_largest_float_is_infinity():
    largest = math.log(sys.float_info.max)
    found = Interval(largest, -1e4, largest + 1e-9, 9).exp()
    assert found == Interval(math.exp(largest), 0.0, math.inf, 9)
    assert math.isfinite(found.mean)


def test_no_difference_is_an_interval_of_no_width():
    a = normal(100).float()
    assert paired_interval(a, a, block=10) == Interval(0.0, 0.0, 0.0, 10)


def test_holds_includes_the_ends():
    found = Interval(1.0, 0.5, 1.5, 9)
    assert [found.holds(x) for x in (0.4, 0.5, 1.5, 1.6)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("a", "block", "words"),
    [
        (torch.ones(8), 8, "8 values do not fill two blocks of 8; choose.*1 to 7"),
        (torch.ones(8), 0, "two blocks of 0"),
        (torch.ones(0), 4, "0 values"),
        (torch.ones(2, 8), 4, r"shape \(2, 8\)"),
        (torch.tensor([1.0, -math.inf, 2.0]), 1, "1 that are NaN or infinite"),
    ],
)
def test_bad_input_is_named(a, block, words):
    with pytest.raises(ValueError, match=words):
        interval(a, block=block)


def test_a_pair_needs_the_same_tokens():
    with pytest.raises(ValueError, match=r"\(3,\) and b \(4,\)"):
        paired_interval(torch.ones(3), torch.ones(4), block=1)


@pytest.mark.parametrize(("df", "confidence"), [(0, 0.95), (3, 0.0), (3, 1.0)])
def test_a_quantile_needs_freedom_and_a_confidence(df, confidence):
    with pytest.raises(ValueError, match="degree of freedom"):
        student_t(df, confidence=confidence)
