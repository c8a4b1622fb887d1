"""Codebooks: how the tables come about, and the nearest code by enumeration."""

import statistics

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from course_utils.formats import codebooks
from course_utils.formats.codebooks import CODEBOOKS, FP4_BNB, NF4, Codebook


def test_nf4_values_are_normal_quantiles():
    """Oracle: the inverse normal distribution of the standard library."""
    normal = statistics.NormalDist()
    delta = 1 - (1 / 30 + 1 / 32) / 2
    largest = normal.inv_cdf(delta)
    positive = [
        normal.inv_cdf(0.5 + (delta - 0.5) * k / 8) / largest for k in range(1, 9)
    ]
    negative = [
        -normal.inv_cdf(0.5 + (delta - 0.5) * k / 7) / largest for k in range(1, 8)
    ]
    expected = sorted([*negative, 0.0, *positive])
    # delta is cut by 3.3e-8 and rounded to float32 (3e-8); near p = 0.97 a quantile
    # moves 13.9 times as far, and quotients of 1.85 by twice that over 1.85.
    assert NF4.values == pytest.approx(expected, abs=2 * 14 * 6.3e-8 / 1.85)
    assert NF4.values[0] == -1
    assert NF4.values[7] == 0
    assert NF4.values[15] == 1


def test_fp4_of_bitsandbytes_is_not_e2m1():
    twelfths = [0, 0.0625, 8, 12, 4, 6, 2, 3]
    assert [12 * v for v in FP4_BNB.values[:8]] == pytest.approx(twelfths, rel=1e-6)
    assert FP4_BNB.values[8:] == tuple(-v for v in FP4_BNB.values[:8])
    assert FP4_BNB.n_finite == 15
    assert NF4.n_finite == 16


@pytest.mark.parametrize("name", CODEBOOKS)
@settings(max_examples=100, deadline=None)
@given(x=st.floats(-1.5, 1.5, width=32))
def test_the_nearest_value_is_taken(name, x):
    book = CODEBOOKS[name]
    code = codebooks.encode(torch.tensor([x]), book)
    distances = [abs(x - value) for value in book.values]
    got = codebooks.decode(code, book).item()
    # The bounds are middles rounded to float32: 2**-25 at most off, twice in a sum.
    assert abs(x - got) <= min(distances) + 2**-24


def test_a_tie_goes_to_the_lower_value():
    book = Codebook("thirds", (0.0, 0.5, -1.0, 1.0))
    assert book.bits == 2
    assert book.order == (2, 0, 1, 3)
    x = torch.tensor([-0.5, 0.25, 0.75, 0.76, -3.0, 3.0])
    assert codebooks.encode(x, book).tolist() == [2, 0, 1, 3, 2, 3]


def test_every_code_survives_but_the_second_zero():
    for book in CODEBOOKS.values():
        codes = torch.arange(16)
        again = codebooks.encode(codebooks.decode(codes, book), book)
        codes[8] = 0 if book is FP4_BNB else 8  # code 8 of FP4 is a second 0
        assert torch.equal(again, codes)


def test_refusals_say_what_to_do():
    with pytest.raises(ValueError, match="NF4 has no code for NaN"):
        codebooks.encode(torch.tensor([float("nan")]), NF4)
    with pytest.raises(ValueError, match="Codes of NF4 run from 0 to 15"):
        codebooks.decode(torch.tensor([16]), NF4)
