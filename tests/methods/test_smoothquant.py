"""Smoothing factors: what alpha means, the product that stays, and refusals."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils.methods.smoothquant import smooth, smoothing_factors

EPS = 2.0**-24  # half a float32 spacing at 1


def layer(seed=0, *, tokens=32, rows=24, cols=16):
    """Return inputs and weights whose channels differ in size by powers of ten."""
    generator = torch.Generator().manual_seed(seed)
    size = 10 ** (4 * torch.rand(cols, generator=generator) - 2)
    x = torch.randn(tokens, cols, generator=generator) * size
    return x, torch.randn(rows, cols, generator=generator)


def maxima(x, w):
    """Return the largest value of each input channel and of each column."""
    return x.abs().amax(dim=0), w.abs().amax(dim=0)


def test_factors_by_hand():
    # Largest inputs 16 and 1, largest weights 1 and 4: sqrt(16 / 1) and sqrt(1 / 4).
    x = torch.tensor([[16.0, -1.0], [-4.0, 0.5]])
    w = torch.tensor([[0.5, 4.0], [-1.0, 2.0]])
    s = smoothing_factors(x.abs().amax(dim=0), w, alpha=0.5)
    assert s.tolist() == [4.0, 0.5]
    # 16**0.75 / 1 and 1 / 4**0.25.
    s = smoothing_factors(x.abs().amax(dim=0), w, alpha=0.75)
    assert torch.allclose(s, torch.tensor([8.0, 0.5**0.5]), rtol=4 * EPS)


@given(seed=st.integers(0, 1000), alpha=st.floats(0, 1))
def test_the_product_stays(seed, alpha):
    x, w = layer(seed)
    x_s, w_s = smooth(x, w, smoothing_factors(maxima(x, w)[0], w, alpha=alpha))
    before = x.double() @ w.double().T
    # Each of the two factors of a product errs by EPS, so a product by 2 EPS of
    # itself, to first order; the products themselves are added in float64.
    bound = 2.01 * EPS * (x.double().abs() @ w.double().abs().T)
    assert ((x_s.double() @ w_s.double().T - before).abs() <= bound).all()


@given(seed=st.integers(0, 1000))
def test_alpha_says_whose_channels_become_equal(seed):
    x, w = layer(seed)
    act_amax = maxima(x, w)[0]
    # Two powers and a quotient, each within 2 EPS, and one more operation on top.
    close = {"rtol": 10 * EPS, "atol": 0.0}
    ends = {
        a: maxima(*smooth(x, w, smoothing_factors(act_amax, w, alpha=a)))
        for a in (0.0, 0.5, 1.0)
    }
    ones = torch.ones_like(act_amax)
    assert torch.allclose(ends[1.0][0], ones, **close)
    assert torch.allclose(ends[0.0][1], ones, **close)
    assert torch.allclose(*ends[0.5], **close)


def test_layers_that_read_the_same_input_share_the_larger_column():
    x, w = layer()
    other = 3 * w
    both = smoothing_factors(maxima(x, w)[0], torch.cat([w, other]), alpha=0.5)
    assert torch.equal(both, smoothing_factors(maxima(x, w)[0], other, alpha=0.5))


def test_channels_of_zeros_keep_the_factor_one():
    x, w = layer()
    x[:, 3], w[:, 5] = 0, 0
    for alpha in (0.0, 0.5, 1.0):
        s = smoothing_factors(maxima(x, w)[0], w, alpha=alpha)
        assert s[3] == s[5] == 1
        assert torch.isfinite(s).all()
        assert (s > 0).all()
        assert s[0] != 1
    zeros = smoothing_factors(torch.zeros(16), torch.zeros(4, 16), alpha=0.5)
    assert (zeros == 1).all()


def test_a_quotient_beyond_float32_gives_one():
    tiny, one = torch.full((1,), 2.0**-149), torch.ones(1)
    # 1 / 2**-149 is beyond float32.
    assert smoothing_factors(one, tiny[None], alpha=0.0) == 1
    # 2**-75 / 1 is not.
    assert smoothing_factors(tiny, one[None], alpha=0.5) < 2**-74


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match=f"alpha must be .* from 0 to 1, got {alpha}"):
        smoothing_factors(torch.ones(2), torch.ones(2, 2), alpha=alpha)


@pytest.mark.parametrize(
    ("act_amax", "w", "said"),
    [
        (torch.ones(3), torch.ones(2, 2), r"shape \(3,\) and w \(2, 2\)"),
        (torch.ones(2), torch.ones(2), "one maximum for each column"),
        (torch.ones(0), torch.ones(2, 0), "one maximum for each column"),
        (torch.tensor([1.0, -1.0]), torch.ones(2, 2), "negative"),
        (torch.tensor([1.0, float("nan")]), torch.ones(2, 2), "NaN or infinity"),
        (torch.ones(2), torch.full((2, 2), float("inf")), "NaN or infinity"),
    ],
)
def test_what_has_no_factors_is_refused(act_amax, w, said):
    with pytest.raises(ValueError, match=said):
        smoothing_factors(act_amax, w, alpha=0.5)


def test_arguments_are_not_changed():
    x, w = layer()
    act_amax = maxima(x, w)[0]
    before = [t.clone() for t in (x, w, act_amax)]
    smooth(x, w, smoothing_factors(act_amax, w, alpha=0.5))
    assert all(torch.equal(a, b) for a, b in zip((x, w, act_amax), before, strict=True))
