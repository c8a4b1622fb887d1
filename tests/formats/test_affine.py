"""Affine quantization: properties, refusals, and torch's own kernel as oracle."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec

specs = st.builds(
    QuantSpec,
    bits=st.integers(2, 8),
    symmetric=st.booleans(),
    group_size=st.sampled_from([None, 0, 4, 16]),
)
# Ranges far from float32's ends, where scale itself is no longer exact.
values = st.floats(-1e4, 1e4, width=32).map(lambda x: 0.0 if abs(x) < 1e-6 else x)
weights = st.lists(values, min_size=32, max_size=32).map(
    lambda x: torch.tensor(x).reshape(2, 16)
)


def worst_error(w, spec):
    """Return the largest |w - w_hat| / scale over all weights."""
    scale, zero_point = affine.choose_qparams(w, spec=spec)
    q = affine.quantize(w, scale, zero_point, spec=spec)
    w_hat = affine.dequantize(q, scale, zero_point, spec=spec)
    return (affine.grouped((w - w_hat).abs(), spec.group_size) / scale).max().item()


@settings(max_examples=300, deadline=None)
@given(w=weights, spec=specs)
def test_error_is_at_most_half_a_step(w, spec):
    # w / scale is at most 255 steps and each of the four float32 operations
    # (scale, division, product, difference) errs by 2**-24 of that: 4 * 255 * 2**-24.
    # The zero point's own rounding shifts the grid by up to half a step only at the
    # ends of an asymmetric range, where clamping then costs the same half step.
    slack = 4 * 255 * 2**-24
    assert worst_error(w, spec) <= 0.5 + slack


@settings(max_examples=200, deadline=None)
@given(w=weights, spec=specs)
def test_zero_stays_exactly_zero(w, spec):
    w = w.clone()
    w[:, ::3] = 0.0
    w_hat = affine.fake_quantize(w, spec=spec)
    assert (w_hat[w == 0] == 0).all()


@settings(max_examples=200, deadline=None)
@given(w=weights, spec=specs)
def test_codes_stay_between_qmin_and_qmax(w, spec):
    q = affine.quantize(w, *affine.choose_qparams(w, spec=spec), spec=spec)
    assert q.dtype == torch.int32
    assert spec.qmin <= q.min()
    assert q.max() <= spec.qmax


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_one_signed_group_keeps_half_a_step(bits, sign):
    # Without the widening to 0 the zero point is clamped and the error is many steps.
    w = sign * torch.linspace(1, 6, 32).reshape(1, 32)
    spec = QuantSpec(bits=bits)
    assert worst_error(w, spec) <= 0.5 + 1e-4
    scale, _ = affine.choose_qparams(w, spec=spec)
    assert scale.item() == pytest.approx(6 / (2**bits - 1), rel=1e-6)


def test_a_group_of_zeros_has_scale_one():
    scale, _ = affine.choose_qparams(torch.zeros(1, 8), spec=QuantSpec(bits=4))
    assert scale.item() == 1.0
    assert (affine.fake_quantize(torch.zeros(1, 8), spec=QuantSpec(bits=4)) == 0).all()


def test_ties_go_to_the_even_step():
    w = torch.tensor([[-7.0, -2.5, -0.5, 0.5, 1.5, 7.0]])
    spec = QuantSpec(bits=4, symmetric=True)
    q = affine.quantize(w, *affine.choose_qparams(w, spec=spec), spec=spec)
    assert q.tolist() == [[-7, -2, 0, 0, 2, 7]]


def test_shapes_of_the_three_granularities():
    w = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    expected = {0: (1, 1, 1), None: (6, 1, 1), 4: (6, 4, 1)}
    for group_size, shape in expected.items():
        spec = QuantSpec(bits=4, group_size=group_size)
        scale, zero_point = affine.choose_qparams(w, spec=spec)
        assert scale.shape == shape
        assert zero_point.shape == shape


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_torch_rounds_to_the_same_values(bits, symmetric):
    """Oracle: torch's fake-quantize kernel, given our scale and zero point."""
    w = torch.randn(32, 64, generator=torch.Generator().manual_seed(bits))
    spec = QuantSpec(bits=bits, symmetric=symmetric)
    scale, zero_point = affine.choose_qparams(w, spec=spec)
    theirs = torch.fake_quantize_per_channel_affine(
        w, scale.flatten(), zero_point.flatten(), 0, spec.qmin, spec.qmax
    )
    ours = affine.fake_quantize(w, spec=spec)
    # torch multiplies by 1/scale where we divide: a value within float rounding of
    # a tie may fall on the other side, which moves it by one step.
    differs = (ours - theirs).abs() > 1e-6
    ties = ((w / scale.squeeze(1) % 1) - 0.5).abs() < 1e-4
    assert not (differs & ~ties).any()
    assert differs.float().mean() < 1e-3


def test_refusals_say_what_to_do():
    w = torch.ones(2, 10)
    with pytest.raises(ValueError, match="group_size 4 does not divide the 10"):
        affine.choose_qparams(w, spec=QuantSpec(bits=4, group_size=4))
    for bits in (0, 17, 4.5, None):
        with pytest.raises(ValueError, match=f"bits must be a whole.* got {bits}"):
            QuantSpec(bits=bits)
    with pytest.raises(ValueError, match="at least 2 bits"):
        QuantSpec(bits=1, symmetric=True)
    for size in (-1, 3.0, "row"):
        with pytest.raises(ValueError, match=f"group_size must be None.* got {size}"):
            QuantSpec(bits=4, group_size=size)
    for shape in ((8,), (2, 3, 4), (0, 8), (8, 0), ()):
        with pytest.raises(ValueError, match=r"rows and columns, got shape \("):
            affine.choose_qparams(torch.ones(shape), spec=QuantSpec(bits=4))
    for bad in (float("nan"), float("inf")):
        w[0, 0] = bad
        with pytest.raises(ValueError, match="NaN or infinity"):
            affine.choose_qparams(w, spec=QuantSpec(bits=4))


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_range_too_wide_for_float32_is_refused(symmetric):
    spec = QuantSpec(bits=4, symmetric=symmetric)
    w = torch.tensor([[-3e38, 3e38]])
    with pytest.raises(ValueError, match="range of a group is too wide for float32"):
        affine.choose_qparams(w, spec=spec)
    # Half the largest float32 is 1.7e38.
    assert affine.fake_quantize(w / 2, spec=spec).isfinite().all()


def test_a_scale_that_rounds_to_more_than_the_largest_float_is_refused():
    # Its 24 bits are all ones, a number that 2**4 - 1 divides and 2**5 - 1 does not.
    w = torch.tensor([[torch.finfo(torch.float32).max]])
    assert torch.equal(affine.fake_quantize(w, spec=QuantSpec(bits=4)), w)
    with pytest.raises(ValueError, match="too wide for float32"):
        affine.fake_quantize(w, spec=QuantSpec(bits=5))


def test_half_a_step_holds_down_to_the_smallest_normal_scale():
    spec = QuantSpec(bits=4)
    w = 15 * 2.0**-126 * torch.linspace(0, 1, 64)[None]
    scale, _ = affine.choose_qparams(w, spec=spec)
    assert scale.item() == 2.0**-126
    # As above, and numbers this small are multiples of 2**-149: half of that, 2**-24
    # of the scale, for each of two results.
    assert worst_error(w, spec) <= 0.5 + 4 * 15 * 2**-24 + 2 * 2**-24
    # 22 of the smallest numbers in 15 steps: the scale of 1.47 becomes 1.
    small = torch.tensor([[22 * 2.0**-149]])
    assert worst_error(small, spec) == 7


def test_arguments_are_not_changed():
    w = torch.randn(4, 8)
    before = w.clone()
    affine.fake_quantize(w, spec=QuantSpec(bits=2))
    assert torch.equal(w, before)
