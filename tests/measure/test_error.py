"""Errors of rebuilt tensors, against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils.measure.error import max_abs_error, rmse, sqnr_db

W = torch.tensor([[3.0, -4.0], [0.0, 1.0]])
W_HAT = torch.tensor([[3.0, -1.0], [0.0, 5.0]])  # differences 0, -3, 0, -4


def test_known_values():
    assert rmse(W, W_HAT) == pytest.approx(math.sqrt(25 / 4), rel=1e-15)
    assert max_abs_error(W, W_HAT) == 4.0
    assert sqnr_db(W, W_HAT) == pytest.approx(10 * math.log10(26 / 25), rel=1e-12)


def test_equal_tensors_have_no_error():
    assert rmse(W, W) == 0.0
    assert max_abs_error(W, W) == 0.0
    assert sqnr_db(W, W) == math.inf


@given(st.integers(1, 8))
def test_an_error_ten_times_smaller_is_twenty_decibels_more(k):
    # Powers of two are exact in float32, so only the factor 2**k differs.
    noise = torch.tensor([[0.5, -0.25], [0.125, 1.0]])
    gain = sqnr_db(W, W + noise / 2**k) - sqnr_db(W, W + noise)
    assert gain == pytest.approx(20 * k * math.log10(2), abs=1e-9)


def test_sums_keep_small_squares_beside_large_ones():
    # In float32, 1e8 + 1 is 1e8: a float32 sum would lose every small square.
    w = torch.zeros(20_001)
    w_hat = torch.ones(20_001)
    w_hat[0] = 1e4
    assert rmse(w, w_hat) == pytest.approx(math.sqrt((1e8 + 20_000) / 20_001), rel=1e-9)


def test_half_precision_is_compared_at_full_precision():
    w = torch.full((4,), 300.0, dtype=torch.float16)  # 300^2 overflows float16
    assert rmse(w, -w) == 600.0


@pytest.mark.parametrize("measure", [rmse, max_abs_error, sqnr_db])
def test_shapes_must_agree(measure):
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(4,\)"):
        measure(W, W.flatten())  # broadcasting would give a number


@pytest.mark.parametrize("measure", [rmse, max_abs_error, sqnr_db])
def test_empty_tensors_are_refused(measure):
    with pytest.raises(ValueError, match="empty"):
        measure(torch.ones(0), torch.ones(0))


def test_a_silent_signal_has_no_ratio():
    with pytest.raises(ValueError, match="all zeros"):
        sqnr_db(torch.zeros(3), torch.ones(3))
