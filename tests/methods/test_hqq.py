"""HQQ: its two steps, its bounds, what it leaves alone, and its refusals."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec
from course_utils.methods import hqq

SPEC = QuantSpec(4, group_size=16)
values = st.floats(-1e3, 1e3, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
weights = st.lists(values, min_size=32, max_size=32).map(
    lambda x: torch.tensor(x).reshape(2, 16)
)


def bell(rows=64, cols=128, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(rows, cols, generator=generator)


def group_errors(w, found):
    """Mean |w - w_hat| of each group."""
    error = (w - found.dequantize()).abs()
    return affine.grouped(error, found.spec.group_size).mean(dim=-1, keepdim=True)


@settings(max_examples=200, deadline=None)
@given(w=weights, bits=st.integers(2, 8), in_steps=st.booleans())
def test_the_mean_error_of_a_group_is_at_most_half_a_step(w, bits, in_steps):
    found = hqq.quantize(w, spec=QuantSpec(bits, group_size=16), in_steps=in_steps)
    # A group whose values differ little has w / scale and z of up to |w| / scale
    # steps. Both are rounded to 2**-24 of their size, as are sum and product.
    size = affine.grouped(w.abs(), 16).amax(dim=-1, keepdim=True)
    slack = 8 * 2**-24 * (size + found.scale * found.spec.qmax)
    assert (group_errors(w, found) <= found.scale / 2 + slack).all()


@settings(max_examples=100, deadline=None)
@given(w=weights, in_steps=st.booleans())
def test_no_group_is_worse_than_where_it_started(w, in_steps):
    start = group_errors(w, hqq.quantize(w, spec=SPEC, iters=0))
    end = group_errors(w, hqq.quantize(w, spec=SPEC, in_steps=in_steps))
    # Equal sums of 16 numbers in another layout differ by 16 * 2**-24 of the largest.
    assert (end <= start * (1 + 1e-5) + 1e-30).all()


def test_the_errors_of_bell_shaped_weights_fall():
    w, spec = bell(), QuantSpec(4, group_size=64)
    start = group_errors(w, hqq.quantize(w, spec=spec, iters=0))
    end = group_errors(w, hqq.quantize(w, spec=spec))
    assert end.mean() < 0.97 * start.mean()


def test_a_small_beta_is_least_squares():
    """Where nothing exceeds the threshold, z is the mean of W_q - W / s."""
    w = bell(1, 16)
    assert hqq.threshold(1e-6) > w.abs().max()
    ends = hqq.quantize(w, spec=SPEC, iters=0)
    z = (ends.q - w / ends.scale[0]).mean()
    once = hqq.quantize(w, spec=SPEC, iters=1, beta=1e-6)
    squares = [(w - x.dequantize()).square().sum() for x in (ends, once)]
    assert squares[1] < squares[0]
    # A mean of 16 values below 16, each rounded to 2**-24 of its size.
    assert once.zero_point.item() == pytest.approx(z.item(), abs=16 * 2**-23)


def test_a_huge_beta_leaves_the_zero_point():
    w = bell()
    ends, moved = (hqq.quantize(w, spec=SPEC, iters=n, beta=1e12) for n in (0, 20))
    # Each turn rounds z, below 16, once more to a multiple of 2**-20.
    assert (ends.zero_point - moved.zero_point).abs().max() <= 20 * 2**-20 + 1e-5


@pytest.mark.parametrize("p", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("beta", [0.5, 10.0])
def test_shrink_is_zero_below_the_threshold_and_never_grows(p, beta):
    x = torch.linspace(-6, 6, 1201)
    small = hqq.shrink(x, beta, p=p)
    limit = hqq.threshold(beta, p=p)
    assert (small[x.abs() < 0.999 * limit] == 0).all()
    assert (small[x.abs() > 1.001 * limit] != 0).all()
    assert (small.abs() <= x.abs()).all()
    assert (small * x >= 0).all()


def test_shrink_is_exact_for_p_1():
    """The argmin of |e| + beta / 2 (e - x)^2, searched on a grid."""
    grid = torch.linspace(-4, 4, 80001, dtype=torch.float64)  # step 1e-4
    for x in (-3.0, -0.4, 0.0, 0.1, 0.6, 2.5):
        best = grid[(grid.abs() + 2.0 / 2 * (grid - x) ** 2).argmin()]
        found = hqq.shrink(torch.tensor([x]), 2.0, p=1.0)
        assert found.item() == pytest.approx(best.item(), abs=1e-4)


def test_the_shortcut_of_shrink_gives_the_same():
    x = torch.tensor([0.05, -0.1, 0.0])
    both = hqq.shrink(torch.cat([x, torch.tensor([5.0])]), 10.0)
    assert torch.equal(hqq.shrink(x, 10.0), both[:3])
    assert (both[:3] == 0).all()


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_in_steps_the_size_of_the_weights_does_not_matter(factor):
    w = bell()
    options = {"spec": SPEC, "beta": 5.0, "in_steps": True}
    found, scaled = (hqq.quantize(x, **options) for x in (w, factor * w))
    assert torch.equal(found.q, scaled.q)
    # In units of the weights it does: errors pass the threshold or do not.
    small, large = (hqq.quantize(x, spec=SPEC) for x in (w, 2.0**20 * w))
    assert not torch.equal(small.zero_point, large.zero_point)


@pytest.mark.parametrize("value", [0.0, 0.3, -2.0])
def test_a_group_of_equal_weights_is_rebuilt(value):
    w = torch.full((2, 16), value)
    found = hqq.quantize(w, spec=SPEC)
    assert torch.equal(found.dequantize(), w)
    assert (found.scale == 1).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_one_signed_group_needs_no_zero_in_its_range(sign):
    w = sign * torch.linspace(5, 6, 16)[None]
    found = hqq.quantize(w, spec=SPEC)
    assert found.scale.item() == pytest.approx(1 / 15, rel=1e-5)
    assert (w - found.dequantize()).abs().max() < found.scale.item() * 0.51


def test_an_integer_zero_point_keeps_zero():
    w = bell()
    w[:, ::4] = 0.0
    found = hqq.quantize(w, spec=SPEC)
    assert (found.dequantize()[:, ::4] != 0).any()
    rounded = hqq.integer_zero(w, found)
    assert (rounded.dequantize()[:, ::4] == 0).all()
    assert torch.equal(rounded.zero_point, found.zero_point.round())
    assert torch.equal(rounded.scale, found.scale)


def test_codes_and_bits():
    found = hqq.quantize(bell(), spec=QuantSpec(3, group_size=64))
    assert found.q.dtype == torch.uint8
    assert found.q.max() <= 7
    assert found.bits_per_weight(zero_bits=16) == 3 + 32 / 64


def test_refusals_say_what_to_do():
    w = bell(2, 16)
    with pytest.raises(ValueError, match="symmetric=False"):
        hqq.quantize(w, spec=QuantSpec(4, symmetric=True))
    with pytest.raises(ValueError, match="iters must be 0 or more, got -1"):
        hqq.quantize(w, spec=SPEC, iters=-1)
    for options in ({"beta": 0.0}, {"p": 0.0}, {"p": 1.5}):
        with pytest.raises(ValueError, match="positive beta and a p above 0"):
            hqq.quantize(w, spec=SPEC, **options)
    with pytest.raises(ValueError, match="group_size 16 does not divide the 10"):
        hqq.quantize(w[:, :10], spec=SPEC)
    with pytest.raises(ValueError, match="too wide for float32"):
        hqq.quantize(torch.tensor([[-3e38, 3e38]]), spec=QuantSpec(4))
    for bad in (float("nan"), float("inf")):
        w[0, 0] = bad
        with pytest.raises(ValueError, match="NaN or infinity"):
            hqq.quantize(w, spec=SPEC)


def test_arguments_are_not_changed():
    w = bell()
    before = w.clone()
    hqq.integer_zero(w, hqq.quantize(w, spec=SPEC))
    assert torch.equal(w, before)
