"""QAT: the gradients of the paper, torch's own kernel, the layer, refusals."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor
from course_utils.methods import clipping, hqq, qat, rtn

SPEC = QuantSpec(3, group_size=16)


def bell(rows=8, cols=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(rows, cols, generator=generator)


def parts(w, spec, ratio=0.7):
    """Steps and zero points of a clipped grid, so that some weights lie outside."""
    found = clipping.quantize(w, spec=spec, ratios=(ratio,))
    return found.scale, found.zero_point


def gradients(w, grid, upstream, *, spec, g=1.0):
    s, zero_point = grid
    v, s = w.clone().requires_grad_(), s.clone().requires_grad_()
    out = qat.fake_quantize(v, s, zero_point, spec=spec, g=g)
    out.backward(upstream)
    return out.detach(), v.grad, s.grad


def test_round_passes_the_gradient_through():
    x = torch.tensor([0.2, 0.6, -1.5], requires_grad=True)
    out = qat.round_ste(x)
    out.backward(torch.tensor([1.0, 2.0, 3.0]))
    assert out.tolist() == [0.0, 1.0, -2.0]
    assert x.grad.tolist() == [1.0, 2.0, 3.0]


def test_scale_gradient_changes_the_gradient_only():
    x = torch.tensor([0.3, 7.0], requires_grad=True)
    out = qat.scale_gradient(x, 0.25)
    out.sum().backward()
    # x - x g and x g are rounded to 2**-24 of x each.
    assert torch.allclose(out.detach(), x.detach(), rtol=2**-22)
    assert x.grad.tolist() == [0.25, 0.25]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_the_gradients_are_equation_3(bits, symmetric):
    spec = QuantSpec(bits, symmetric=symmetric, group_size=16)
    w = bell()
    s, z = parts(w, spec)
    upstream = bell(seed=1)
    _, dv, ds = gradients(w, (s, z), upstream, spec=spec)
    steps = w.reshape(8, 4, 16) / s
    low, high = spec.qmin - z, spec.qmax - z
    inside = (steps > low) & (steps < high)
    assert 0 < inside.float().mean() < 1
    up = upstream.reshape(8, 4, 16)
    # The gradient is multiplied by s, divided by s and rounded after each.
    assert torch.allclose(
        dv.reshape(8, 4, 16), torch.where(inside, up, 0.0), rtol=2**-22, atol=0
    )
    slope = torch.where(inside, steps.round() - steps, steps.clamp(low, high))
    expected = (slope * up).sum(dim=-1, keepdim=True)
    # Sums of 16 products of at most 2**bits * 0.4, each rounded to 2**-24 of it, a
    # few times: the quotient by s is multiplied by it again.
    assert torch.allclose(ds, expected, atol=64 * 2**-24 * 2**bits * 0.4, rtol=1e-5)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gradients_equal_those_of_torchs_kernel(bits):
    """`_fake_quantize_learnable_per_channel_affine` is torch's LSQ.

    It clips after rounding, so weights up to half a step beyond an end count as
    inside; the paper, and we, clip first. Groups without such weights are compared.
    """
    spec = QuantSpec(bits, group_size=16)
    w = bell(64)
    s, z = parts(w, spec, ratio=0.8)
    steps = w.reshape(-1, 16) / s.reshape(-1, 1)
    low, high = (end - z.reshape(-1, 1) for end in (spec.qmin, spec.qmax))
    beyond = torch.maximum(steps - high, low - steps)
    alike = ~((beyond > 0) & (beyond <= 0.5)).any(dim=1)
    assert 10 < alike.sum() < len(alike)
    upstream = bell(64, seed=1)
    out, dv, ds = gradients(w, (s, z), upstream, spec=spec)
    v = w.reshape(-1, 16).clone().requires_grad_()
    theirs_s = s.flatten().clone().requires_grad_()
    theirs = torch._fake_quantize_learnable_per_channel_affine(
        v, theirs_s, z.flatten().float(), 0, spec.qmin, spec.qmax, 1.0
    )
    theirs.backward(upstream.reshape(-1, 16))
    # Both compute codes times steps; the quotient may round the other way in its last
    # bit, which moves nothing here.
    assert torch.allclose(out.reshape(-1, 16), theirs.detach(), atol=1e-7)
    ours = dv.reshape(-1, 16)[alike]
    assert torch.allclose(ours, v.grad[alike], rtol=2**-22, atol=0)
    tolerance = 64 * 2**-24 * 2**bits * 0.4  # as above
    assert torch.allclose(
        ds.flatten()[alike], theirs_s.grad[alike], atol=tolerance, rtol=1e-5
    )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-100, 100, width=32), min_size=32, max_size=32),
    st.integers(2, 8),
)
def test_the_error_is_at_most_half_a_step_inside_the_clip(values, bits):
    w = torch.tensor(values).reshape(2, 16)
    spec = QuantSpec(bits, group_size=16)
    start = rtn.quantize(w, spec=spec)
    found = qat.fake_quantize(w, start.scale, start.zero_point, spec=spec)
    error = (found - w).abs().reshape(2, 1, 16)
    # Of values of up to 2**bits steps, each operation rounds to 2**-24 of them.
    slack = 8 * 2**-24 * 2**bits * start.scale + 1e-37
    assert (error <= start.scale / 2 + slack).all()


def test_g_is_equation_4():
    # 16 weights and 2**2 - 1 steps above 0 of a symmetric 3-bit grid.
    spec = QuantSpec(3, symmetric=True, group_size=16)
    assert qat.gradient_scale(16, spec=spec) == pytest.approx((16 * 3) ** -0.5)
    w = bell()
    s, z = parts(w, spec)
    plain = gradients(w, (s, z), bell(seed=1), spec=spec)[2]
    found = gradients(w, (s, z), bell(seed=1), spec=spec, g=None)[2]
    assert torch.allclose(found, plain * (16 * 3) ** -0.5, rtol=1e-5)


@pytest.mark.parametrize("rounded", [rtn.quantize, clipping.quantize])
def test_the_layer_starts_as_its_start_and_rebuilds_its_forward(rounded):
    w = bell()
    start = rounded(w, spec=SPEC)
    layer = qat.QATLinear(w, torch.ones(8), start=start)
    x = bell(5, seed=2)
    assert torch.allclose(layer(x), x @ start.dequantize().T + 1, atol=1e-5)
    assert torch.equal(layer.quantized().q, start.q)
    assert layer.quantized().bits_per_weight() == start.bits_per_weight()
    with torch.no_grad():
        layer.v += 0.05 * bell(seed=3)
        layer.s *= 1.1
    v_hat = qat.fake_quantize(layer.v, layer.s, layer.zero_point, spec=SPEC)
    # Codes times steps, once as (v_bar * s) and once as (q - z) * s.
    assert torch.allclose(layer.quantized().dequantize(), v_hat, atol=1e-6)


def test_training_lowers_the_error_of_the_output():
    # Inputs that differ in few directions: with independent ones the nearest code of
    # each weight is the best there is, and nothing is left to train.
    w, x = bell(), bell(256, 4, seed=4) @ bell(4, seed=5) * 100
    start = rtn.quantize(w, spec=QuantSpec(2, group_size=16))
    layer = qat.QATLinear(w, start=start)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)

    def loss():
        return (layer(x) - x @ w.T).square().mean()

    with torch.enable_grad():
        first = loss()
        for _ in range(60):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
    assert loss() < 0.5 * first
    assert (layer.quantized().q != start.q).any()


def test_arguments_are_left_alone():
    w = bell()
    start = rtn.quantize(w, spec=SPEC)
    kept = w.clone(), start.scale.clone()
    layer = qat.QATLinear(w, start=start)
    with torch.no_grad():
        layer.v.zero_()
        layer.s.zero_()
    assert torch.equal(w, kept[0])
    assert torch.equal(start.scale, kept[1])


def test_a_start_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="the same matrix"):
        qat.QATLinear(bell(4), start=rtn.quantize(bell(), spec=SPEC))


def test_groups_out_of_order_are_refused():
    found = rtn.quantize(bell(), spec=SPEC)
    order = torch.arange(64, dtype=torch.int32).flip(0) // 16
    other = QTensor(found.q, found.scale, found.zero_point, SPEC, order)
    with pytest.raises(ValueError, match="groups in order"):
        qat.QATLinear(bell(), start=other)


def test_a_float_zero_point_is_refused():
    with pytest.raises(ValueError, match="no integers"):
        qat.QATLinear(bell(), start=hqq.quantize(bell(), spec=SPEC))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_step_that_is_no_positive_number_is_not_exported(value):
    layer = qat.QATLinear(bell(), start=rtn.quantize(bell(), spec=SPEC))
    with torch.no_grad():
        layer.s[0, 0] = value
    with pytest.raises(ValueError, match="learning rate"):
        layer.quantized()
