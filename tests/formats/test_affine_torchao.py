"""Affine quantization held to torchao: scales, zero points, codes and weights."""

import pytest
import torch

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec

# torchao's name for a symmetric grid with one scale for both signs.
KINDS = {False: "ASYMMETRIC", True: "SYMMETRIC_NO_CLIPPING_ERR"}


def weights(case):
    """Return a matrix of one kind: bell-shaped, one-signed, or with groups of zeros."""
    w = 0.05 * torch.randn(48, 192, generator=torch.Generator().manual_seed(5))
    if case == "one-signed":
        w = w.abs() + 0.01
        w[::2] *= -1
    if case == "zero groups":
        w[:, :64] = 0
        w[3] = 0
    return w


def theirs(ao, w, spec):
    """Return torchao's scale, zero point, codes and rebuilt weights."""
    size = {None: w.shape[1]}.get(spec.group_size, spec.group_size)
    block = tuple(w.shape) if size == 0 else (1, size)
    kind = getattr(ao.MappingType, KINDS[spec.symmetric])
    dtype = torch.int8 if spec.symmetric else torch.uint8
    limits = (dtype, spec.qmin, spec.qmax)
    scale, zero_point = ao.choose_qparams_affine(
        w, kind, block, *limits, zero_point_dtype=torch.int32
    )
    q = ao.quantize_affine(w, block, scale, zero_point, *limits)
    w_hat = ao.dequantize_affine(q, block, scale, zero_point, *limits)
    return scale, zero_point, q, w_hat


@pytest.mark.parametrize("case", ["bell", "one-signed", "zero groups"])
@pytest.mark.parametrize("group_size", [0, None, 64, 32])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_torchao_agrees(apart, bits, symmetric, group_size, case):
    ao = apart("torchao.quantization.quant_primitives")
    spec = QuantSpec(bits, symmetric, group_size)
    w = weights(case)
    scale, zero_point = affine.choose_qparams(w, spec=spec)
    q = affine.quantize(w, scale, zero_point, spec=spec)
    w_hat = affine.dequantize(q, scale, zero_point, spec=spec)
    scale_ao, zero_ao, q_ao, w_hat_ao = theirs(ao, w, spec)
    # A group of zeros has scale 1 here and the smallest normal float there.
    some = affine.grouped(w, spec.group_size).abs().amax(dim=-1).flatten() > 0
    ours = scale.flatten()[some]
    # Both divide one float32 difference by a whole number: one rounding apart at most.
    assert ((ours - scale_ao.flatten()[some]).abs() <= 2**-23 * ours).all()
    assert torch.equal(zero_point.flatten()[some], zero_ao.flatten()[some].int())
    # They multiply by a reciprocal where we divide. A quotient of at most 2**bits - 1
    # then errs by twice 2**-24 of it, so codes differ only that near a tie.
    differs = (q != q_ao.int()) & (w != 0)
    steps = (affine.grouped(w, spec.group_size) / scale).reshape(w.shape)
    assert ((steps % 1 - 0.5).abs()[differs] <= 2 * 2**bits * 2**-24).all()
    assert differs.float().mean() < 1e-3
    step = torch.broadcast_to(scale, affine.grouped(w, spec.group_size).shape)
    gap = (w_hat - w_hat_ao).abs() / step.reshape(w.shape)
    # Equal codes rebuild weights that differ by the rounding of scale and product.
    assert (gap[~differs] <= 2**bits * 2**-22).all()
    assert (gap <= 1 + 2**bits * 2**-22).all()


def test_the_symmetric_kind_of_torchao_is_another_grid(apart):
    """SYMMETRIC divides by half the codes, 7.5, and clips the largest weight."""
    ao = apart("torchao.quantization.quant_primitives")
    w = torch.tensor([[-0.2, 0.1, 0.7]])
    scale, _ = ao.choose_qparams_affine(
        w, ao.MappingType.SYMMETRIC, (1, 3), torch.int8, -8, 7
    )
    assert scale.item() == pytest.approx(0.7 / 7.5, rel=2**-22)
    ours, _ = affine.choose_qparams(w, spec=QuantSpec(4, symmetric=True))
    assert ours.item() == pytest.approx(0.7 / 7, rel=2**-22)
