"""Round-to-nearest and the QTensor that every method returns."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor, code_dtype
from course_utils.methods import rtn

specs = st.builds(
    QuantSpec,
    bits=st.integers(2, 8),
    symmetric=st.booleans(),
    group_size=st.sampled_from([None, 0, 4, 16]),
)
weights = st.lists(
    st.floats(-1e4, 1e4, width=32).map(lambda x: 0.0 if abs(x) < 1e-6 else x),
    min_size=32,
    max_size=32,
).map(lambda x: torch.tensor(x).reshape(2, 16))


@given(w=weights, spec=specs)
def test_rebuilds_what_affine_rebuilds(w, spec):
    t = rtn.quantize(w, spec=spec)
    assert torch.equal(t.dequantize(), affine.fake_quantize(w, spec=spec))
    assert t.q.dtype == (torch.int8 if spec.symmetric else torch.uint8)


@given(w=weights, spec=specs)
def test_error_is_at_most_half_a_step(w, spec):
    t = rtn.quantize(w, spec=spec)
    error = affine.grouped((w - t.dequantize()).abs(), spec.group_size) / t.scale
    # Four float32 operations on at most 255 steps, as in test_affine.
    assert error.max() <= 0.5 + 4 * 255 * 2**-24


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="NaN or infinity"):
        rtn.quantize(torch.tensor([[1.0, bad]]), spec=QuantSpec(4))


def test_bits_per_weight_counts_scales_and_zero_points():
    def bits(group_size, symmetric=False, **options):
        spec = QuantSpec(4, symmetric, group_size)
        t = rtn.quantize(torch.ones(256, 256), spec=spec)
        return t.bits_per_weight(**options)

    assert bits(128) == 4 + (16 + 4) / 128  # 4.15625, as published
    assert bits(64, symmetric=True) == 4 + 16 / 64
    assert bits(64, scale_bits=32, zero_bits=0) == 4 + 32 / 64
    assert bits(None) == 4 + 20 / 256
    assert bits(0) == 4 + 20 / 256**2


def test_bits_per_weight_counts_the_groups_of_columns():
    t = rtn.quantize(torch.ones(64, 32), spec=QuantSpec(4, group_size=16))
    moved = QTensor(
        t.q, t.scale, t.zero_point, t.spec, torch.arange(32, dtype=torch.int32) % 2
    )
    assert moved.bits_per_weight() - t.bits_per_weight() == 32 / 64


def test_group_of_says_which_scale_a_column_has():
    spec = QuantSpec(4, group_size=2)
    scale = torch.tensor([[[1.0], [10.0]]])
    zero = torch.tensor([[[0], [1]]], dtype=torch.int32)
    q = torch.tensor([[1, 2, 3, 4]], dtype=torch.uint8)
    group_of = torch.tensor([1, 0, 0, 1])
    t = QTensor(q, scale, zero, spec, group_of)
    assert t.dequantize().tolist() == [[0.0, 2.0, 3.0, 30.0]]
    same = QTensor(q, scale, zero, spec, torch.tensor([0, 0, 1, 1]))
    in_order = QTensor(q, scale, zero, spec)
    assert torch.equal(same.dequantize(), in_order.dequantize())


def test_parts_that_do_not_belong_together_are_refused():
    spec = QuantSpec(4, group_size=2)
    t = rtn.quantize(torch.randn(3, 4), spec=spec)
    with pytest.raises(ValueError, match=r"scale has shape \(3, 1, 1\)"):
        QTensor(t.q, t.scale[:, :1], t.zero_point, spec)
    with pytest.raises(ValueError, match="zero_point has shape"):
        QTensor(t.q, t.scale, t.zero_point[:2], spec)
    with pytest.raises(ValueError, match="one group for each of the 4 columns"):
        QTensor(t.q, t.scale, t.zero_point, spec, torch.zeros(3))
    with pytest.raises(ValueError, match="matrix of integer codes"):
        QTensor(t.q.float(), t.scale, t.zero_point, spec)


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("symmetric", [False, True])
def test_code_dtype_holds_the_codes(bits, symmetric):
    if symmetric and bits == 1:
        return
    spec = QuantSpec(bits, symmetric)
    ends = torch.iinfo(code_dtype(spec))
    assert ends.min <= spec.qmin
    assert spec.qmax <= ends.max


def test_arguments_are_not_changed():
    w = torch.randn(4, 8)
    before = w.clone()
    t = rtn.quantize(w, spec=QuantSpec(4, group_size=4))
    q = t.q.clone()
    t.dequantize()
    assert torch.equal(w, before)
    assert torch.equal(t.q, q)
