"""The clipping search: its bound, its limits, and llm-compressor's as oracle."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec
from course_utils.methods import clipping, rtn
from course_utils.methods.statistics import Statistics

specs = st.builds(
    QuantSpec,
    bits=st.integers(2, 6),
    symmetric=st.booleans(),
    group_size=st.sampled_from([None, 0, 4, 16]),
)
values = st.floats(-1e4, 1e4, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
weights = st.lists(values, min_size=32, max_size=32).map(
    lambda x: torch.tensor(x).reshape(2, 16)
)
moments = st.lists(st.floats(0, 100, width=32), min_size=16, max_size=16).map(
    torch.tensor
)


def bell(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def group_errors(w, w_hat, spec, h=1.0):
    """Return the weighted squared error of each group, float64."""
    squares = (w.double() - w_hat.double()).square() * h
    return affine.grouped(squares, spec.group_size).sum(dim=-1)


@settings(max_examples=150)
@given(w=weights, h=moments, spec=specs)
def test_a_group_is_never_worse_than_at_the_first_ratio(w, h, spec):
    scale, zero_point = clipping.search(w, h, spec=spec)
    q = affine.quantize(w, scale, zero_point, spec=spec)
    found = affine.dequantize(q, scale, zero_point, spec=spec)
    plain = affine.fake_quantize(w, spec=spec)
    before = group_errors(w, plain, spec, h)
    # The search compares float32 sums of at most 32 positive terms. Each term has three
    # roundings and a sum of 32 has 31 more: 34 * 2**-24 of either side, 2**-18 in all.
    assert (group_errors(w, found, spec, h) <= before * (1 + 2**-18)).all()


def test_the_ratio_one_is_round_to_nearest():
    w = bell(8, 64)
    for spec in (QuantSpec(4, group_size=16), QuantSpec(3, symmetric=True)):
        ours = clipping.quantize(w, spec=spec, ratios=(1.0,))
        plain = rtn.quantize(w, spec=spec)
        assert torch.equal(ours.q, plain.q)
        assert ours.q.dtype == plain.q.dtype
        assert torch.equal(ours.scale, plain.scale)
        assert torch.equal(ours.zero_point, plain.zero_point)


def test_one_large_weight_is_given_up_for_many_small_ones():
    # 2 bits, -1 0 1 times the scale: forty weights at 1/2 of the range, one at its end.
    w = torch.cat([torch.full((20,), 0.5), torch.full((20,), -0.5)])[None]
    w = torch.cat([w, torch.ones(1, 1)], dim=1)
    spec = QuantSpec(2, symmetric=True)
    scale, _ = clipping.search(w, spec=spec, ratios=(1.0, 0.75, 0.5))
    # 0.5 / 1 is a tie and goes to 0: error 40 * 0.25. At 0.5 only the end errs: 0.25.
    assert scale.item() == 0.5


def test_the_first_of_equals_is_kept():
    # Weights on the whole grid have no error, and a column that counts nothing neither.
    w = torch.tensor([[-7.0, -3.0, 0.0, 7.0]])
    spec = QuantSpec(4, symmetric=True)
    assert clipping.search(w, spec=spec)[0].item() == 1.0
    w = bell(1, 4)
    whole, _ = affine.choose_qparams(w, spec=spec)
    found, _ = clipping.search(w, torch.zeros(4), spec=spec)
    assert torch.equal(found, whole)


def test_the_zero_point_of_a_smaller_range_is_the_same():
    w = bell(64, 16)
    spec = QuantSpec(4, group_size=16)
    _, kept = clipping.search(w, spec=spec)
    # Equation 1: both ends shrink alike. 0.5 is exact in float32: nothing is rounded.
    _, fresh = affine.choose_qparams(0.5 * w, spec=spec)
    assert torch.equal(kept, fresh)


def test_columns_that_count_are_rounded_better():
    w = bell(32, 64)
    w[:, 0] = 8.0  # an outlier in every row
    found = {}
    for size in (30.0, 0.01):
        x = bell(512, 64, seed=1)
        x[:, 0] *= size
        seen = Statistics()
        seen.add(x)
        found[size] = clipping.quantize(w, seen.result(), spec=QuantSpec(3))
    assert (found[30.0].scale > found[0.01].scale).all()
    error = {size: (w - t.dequantize())[:, 0].abs() for size, t in found.items()}
    assert (error[30.0] < error[0.01]).all()
    assert (error[0.01] > found[0.01].scale.flatten()).all()  # clipped, not rounded


def test_the_error_of_outputs_falls_for_inputs_without_correlation():
    w, x = bell(64, 128), bell(20_000, 128, seed=2)
    x *= torch.logspace(-1, 1, 128)
    seen = Statistics()
    seen.add(x)
    spec = QuantSpec(3)

    def output_error(stats):
        w_hat = clipping.quantize(w, stats, spec=spec).dequantize()
        return (x @ (w - w_hat).T).square().mean().item()

    assert output_error(seen.result()) < output_error(None)


def test_zero_groups_and_numbers_at_the_ends_of_float32():
    spec = QuantSpec(4, group_size=4)
    w = torch.zeros(1, 12)
    w[0, 4:8] = torch.tensor([0.0, 1e-45, 0.0, 3e-45])  # smaller scales are 0
    w[0, 8:] = torch.tensor([-1e38, 1e38, 2e37, 0.0])  # squares are infinite
    found = clipping.quantize(w, spec=spec)
    assert found.scale[0, 0] == 1.0
    assert found.scale.isfinite().all()
    assert (found.scale > 0).all()
    assert found.dequantize().isfinite().all()
    assert torch.equal(found.dequantize(), affine.fake_quantize(w, spec=spec))


def test_refusals_say_what_to_do():
    w, spec = bell(4, 8), QuantSpec(4)
    for ratios in ((), (0.0, 1.0), (1.5,), (float("nan"),)):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            clipping.search(w, spec=spec, ratios=ratios)
    for power in (0.0, -2.0, float("nan")):
        with pytest.raises(ValueError, match="power must be above 0"):
            clipping.search(w, spec=spec, power=power)
    with pytest.raises(ValueError, match=r"of \(9,\) inputs .* shape \(4, 8\)"):
        clipping.search(w, torch.ones(9), spec=spec)
    for bad in (float("nan"), float("inf"), -1.0):
        with pytest.raises(ValueError, match="NaN, infinity or a negative"):
            clipping.search(w, torch.full((8,), bad), spec=spec)
    with pytest.raises(ValueError, match="NaN or infinity"):
        clipping.quantize(w / 0, spec=spec)
    with pytest.raises(ValueError, match="group_size 3 does not divide the 8"):
        clipping.quantize(w, spec=QuantSpec(4, group_size=3))


def test_arguments_are_not_changed():
    w, h = bell(4, 8), torch.rand(8)
    before = w.clone(), h.clone()
    clipping.search(w, h, spec=QuantSpec(3))
    assert torch.equal(w, before[0])
    assert torch.equal(h, before[1])


@pytest.mark.parametrize("group_size", [None, 64])
def test_llm_compressor_finds_the_same_ranges(apart, group_size):
    """Oracle: the grid search of llm-compressor's MSE observer, with its settings."""
    observer = apart("llmcompressor.observers.mse_quant")
    quantization = apart("compressed_tensors.quantization")
    w = bell(96, 192)
    w[::3, ::17] *= 6
    size = group_size or w.shape[1]
    args = quantization.QuantizationArgs(
        num_bits=4, symmetric=False, strategy="group", group_size=size
    )
    token = args.model_copy(
        update={"strategy": quantization.QuantizationStrategy.TOKEN}
    )
    # 20 ratios from 1 to 0.81, |error| to the power 2.4, all 20 tried.
    observed = affine.grouped(w, group_size)[None]
    lo, hi = observer._grid_search_mse(observed, args, token, 0.2, 20, 100.0, 2.4, 0.3)
    spec = QuantSpec(4, group_size=group_size)
    ratios = [1 - i / 100 for i in range(20)]
    ours, zero_point = clipping.search(w, spec=spec, ratios=ratios, power=2.4)
    theirs = (hi.clamp(min=0) - lo.clamp(max=0))[..., None] / 15

    def error(scale):
        q = affine.quantize(w, scale, zero_point, spec=spec)
        w_hat = affine.dequantize(q, scale, zero_point, spec=spec)
        return affine.grouped((w - w_hat).abs() ** 2.4, group_size).sum(dim=-1)

    # A weight near a tie may fall on the other side, as their division is another, and
    # two ratios of nearly equal error then change places. The ranges differ seldom, and
    # where they do the errors are equal but for that weight.
    same = (ours - theirs).abs() <= 1e-6 * ours
    assert same.float().mean() > 0.97
    assert error(theirs).sum() == pytest.approx(error(ours).sum().item(), rel=1e-3)
    assert (ours < affine.choose_qparams(w, spec=spec)[0]).any()
