"""AWQ as functions: factors, loss, search, and what they refuse."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils.formats.affine import QuantSpec, fake_quantize
from course_utils.methods import awq
from course_utils.methods.statistics import Statistics, output_error

SPEC = QuantSpec(3, group_size=16)


@pytest.fixture
def layer():
    """A random layer and statistics of inputs with a few large channels."""
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(24, 32, generator=generator)
    X = torch.randn(200, 32, generator=generator)
    X[:, :3] *= torch.tensor([30.0, 20.0, 10.0])
    sums = Statistics()
    sums.add(X)
    return W, X, sums.result()


def test_factors_by_hand():
    # 16**0.5 = 4 and 1; their product's root is 2.
    found = awq.scales(torch.tensor([16.0, 1.0]), 0.5)
    assert torch.allclose(found, torch.tensor([2.0, 0.5]))


def test_alpha_zero_is_plain_rounding(layer):
    W, _, stats = layer
    s = awq.scales(stats.abs_mean, 0.0)
    assert torch.equal(s, torch.ones(32))
    rounded = awq.scaled_rounding(W, s, spec=SPEC)
    assert torch.equal(rounded, fake_quantize(W, spec=SPEC))


def test_a_silent_channel_divides_by_no_zero():
    s = awq.scales(torch.tensor([1.0, 0.0, 4.0]), 1.0)
    assert torch.isfinite(s).all()
    assert (s > 0).all()


@given(st.integers(0, 10_000), st.integers(1, 8))
def test_powers_of_two_shared_by_all_columns_change_no_weight(seed, power):
    W = torch.randn(3, 32, generator=torch.Generator().manual_seed(seed))
    s = torch.rand(32, generator=torch.Generator().manual_seed(seed + 1)) + 0.5
    one = awq.scaled_rounding(W, s, spec=SPEC)
    # Powers of two multiply and divide without rounding, so all codes are the same.
    assert torch.equal(one, awq.scaled_rounding(W, s * 2.0**power, spec=SPEC))


def test_a_column_that_sets_no_range_errs_less_by_its_factor():
    W = torch.linspace(-1, 1, 16)[None].repeat(50, 1)
    inside = torch.rand(50, generator=torch.Generator().manual_seed(0)) * 0.2 - 0.1
    W[:, 5] = inside
    s = torch.ones(16)
    s[5] = 8.0  # 0.1 * 8 stays inside -1 .. 1
    step = 2 / (2**SPEC.bits - 1)
    error = (awq.scaled_rounding(W, s, spec=SPEC) - W)[:, 5].abs().max()
    assert error <= step / 2 / 8 * (1 + 1e-5)  # float32 rounding of 8 * w
    assert (fake_quantize(W, spec=SPEC) - W)[:, 5].abs().max() > 2 * error


def test_the_loss_is_that_of_the_tokens(layer):
    W, X, stats = layer
    s = awq.scales(stats.abs_mean, 0.4)
    E = awq.scaled_rounding(W, s, spec=SPEC) - W
    by_tokens = ((X @ E.T) ** 2).mean().item()
    L = awq.output_loss([W[:10], W[10:]], stats.second_moment, spec=SPEC)
    # Sums of 200 tokens and 32 columns in float32: sqrt(6400) * 2**-24 = 5e-6.
    assert L(s) == pytest.approx(by_tokens, rel=5e-5)


def test_search_finds_the_smallest_loss_of_the_grid(layer):
    W, _, stats = layer
    L = awq.output_loss([W], stats.second_moment, spec=SPEC)
    found = awq.search(stats.abs_mean, L)
    assert len(found.losses) == 20
    assert min(found.losses) == 0
    assert max(found.losses) == 1
    assert found.losses[found.alpha] == min(found.losses.values())
    assert 0 < found.alpha < 1
    assert torch.equal(found.s, awq.scales(stats.abs_mean, found.alpha))


def test_quantize_is_better_than_plain_rounding_and_mutates_nothing(layer):
    W, _, stats = layer
    before = W.clone()
    t, s = awq.quantize(W, stats, spec=SPEC)
    assert torch.equal(W, before)
    scaled = output_error(W, t.dequantize() / s, stats)
    # Three channels of 32 carry nearly all of the error: less than half must be left.
    assert scaled < 0.5 * output_error(W, fake_quantize(W, spec=SPEC), stats)


def test_ties_go_to_the_smallest_alpha():
    assert awq.search(torch.tensor([1.0, 2.0]), lambda _s: 1.0).alpha == 0


@pytest.mark.parametrize("spec", [SPEC, QuantSpec(4, True, 16), QuantSpec(2)])
def test_one_signed_groups_and_zeros_are_as_good_as_their_grid(spec):
    W = torch.linspace(1, 6, 64).reshape(2, 32)
    W[1, :16] = 0
    s = awq.scales(torch.linspace(1, 3, 32), 0.5)
    rounded = awq.scaled_rounding(W, s, spec=spec)
    wide = (W * s).amax(dim=1, keepdim=True)  # the range is 0 to this, or twice it
    step = wide * (1 + spec.symmetric) / (spec.qmax - spec.qmin)
    assert ((rounded - W).abs() * s <= step / 2 * (1 + 1e-5)).all()
    assert (rounded[1, :16] == 0).all()


def test_kept_columns_stay_and_the_others_are_rounded(layer):
    W, _, _ = layer
    kept = torch.tensor([3, 17])
    found = awq.keep_columns(W, kept, spec=SPEC)
    assert torch.equal(found[:, kept], W[:, kept])
    others = [j for j in range(32) if j not in (3, 17)]
    assert torch.equal(found[:, others], fake_quantize(W, spec=SPEC)[:, others])


@pytest.mark.parametrize(
    ("s_X", "message"),
    [
        (torch.ones(2, 2), "row of magnitudes"),
        (torch.tensor([1.0, -1.0]), "not negative"),
        (torch.tensor([1.0, torch.nan]), "finite"),
        (torch.tensor([1.0, torch.inf]), "finite"),
    ],
)
def test_magnitudes_that_are_none_are_refused(s_X, message):
    with pytest.raises(ValueError, match=message):
        awq.scales(s_X, 0.5)


def test_bad_input_is_refused(layer):
    W, _, stats = layer
    with pytest.raises(ValueError, match=r"Weights \(24, 31\) do not read .* 32"):
        awq.output_loss([W[:, 1:]], stats.second_moment, spec=SPEC)
    with pytest.raises(ValueError, match="n_grid must be 2 or more, got 1"):
        awq.search(stats.abs_mean, lambda _s: 0.0, n_grid=1)
    for bad in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="No alpha gives a finite error"):
            awq.search(stats.abs_mean, lambda _s, bad=bad: bad)
    W[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        awq.quantize(W, stats, spec=SPEC)
