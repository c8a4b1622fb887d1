"""Flips, against enumeration of all outcomes and scipy's binomial test."""

import itertools

import pytest
import torch

from course_utils.measure.flips import flips, mcnemar


def row(text):
    return torch.tensor([letter == "R" for letter in text], dtype=torch.bool)


def test_the_four_cells_and_what_follows_from_them():
    found = flips(row("RRRRRWWWWW"), row("RRRWWRWWWW"))
    assert (found.n, found.kept_right, found.kept_wrong) == (10, 3, 4)
    assert (found.lost, found.won, found.changed) == (2, 1, 3)
    assert (found.accuracy_before, found.accuracy_after) == (0.5, 0.4)
    assert found.p_value == mcnemar(2, 1)


def test_equal_accuracy_can_hide_that_every_answer_changed():
    found = flips(row("RRWW"), row("WWRR"))
    assert found.accuracy_before == found.accuracy_after
    assert found.changed == 4
    assert found.p_value == 1.0


def test_a_model_and_itself():
    found = flips(row("RWR"), row("RWR"))
    assert (found.lost, found.won, found.p_value) == (0, 0, 1.0)


@pytest.mark.parametrize("m", range(1, 11))
def test_p_value_is_the_share_of_outcomes_at_least_as_uneven(m):
    """Oracle: all 2^m ways in which m flips can fall, each as likely."""
    counts = [sum(way) for way in itertools.product((0, 1), repeat=m)]
    for lost in range(m + 1):
        uneven = abs(2 * lost - m)
        share = sum(abs(2 * k - m) >= uneven for k in counts) / 2**m
        # Whole numbers over a power of two: the quotient of both is exact.
        assert mcnemar(lost, m - lost) == share


@pytest.mark.parametrize(("lost", "won"), [(3, 17), (120, 81), (0, 60), (1500, 1610)])
def test_p_value_of_scipy(apart, lost, won):
    stats = apart("scipy.stats")
    theirs = stats.binomtest(lost, lost + won, 0.5).pvalue
    # scipy's binomial goes through gamma functions of numbers up to 3,110, whose
    # logarithms reach 3e4: a relative error of 3e4 * 2**-53 each, a few of them.
    assert mcnemar(lost, won) == pytest.approx(theirs, rel=1e-10)


def test_a_true_coin_is_called_uneven_in_at_most_five_of_a_hundred(apart):
    stats = apart("scipy.stats")
    for m in (1, 5, 20, 101):
        chance = sum(
            stats.binom.pmf(k, m, 0.5) for k in range(m + 1) if mcnemar(k, m - k) < 0.05
        )
        assert chance <= 0.05


def test_sides_can_be_exchanged_and_more_unevenness_is_less_likely():
    assert mcnemar(4, 9) == mcnemar(9, 4)
    values = [mcnemar(k, 20 - k) for k in range(11)]
    assert values == sorted(values)
    assert values[0] == 2 / 2**20


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (torch.ones(3), row("RRR"), "before must be one row of booleans.*float32"),
        (row("RRR"), row("RRR")[None], r"after must be one row.*\(1, 3\)"),
        (row("RRR"), row("RR"), "3 answers and after 2"),
        (row(""), row(""), "at least one"),
    ],
)
def test_bad_input_is_named(before, after, words):
    with pytest.raises(ValueError, match=words):
        flips(before, after)


def test_counts_are_not_negative():
    with pytest.raises(ValueError, match="lost -1"):
        mcnemar(-1, 3)
