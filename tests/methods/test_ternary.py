"""Three values: BitNet's rule, the best scale, packing, and refusals."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from course_utils.formats import affine, gguf_ternary
from course_utils.methods import ternary

values = st.floats(-1e3, 1e3, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
weights = st.lists(values, min_size=32, max_size=32).map(
    lambda x: torch.tensor(x).reshape(2, 16)
)
both = pytest.mark.parametrize("method", [ternary.quantize, ternary.least_squares])


def bell(rows=64, cols=128, seed=0):
    return 0.1 * torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


def test_bitnets_rule_by_hand():
    w = torch.tensor([[-0.9, 0.1, 0.4, 0.6]])
    found = ternary.quantize(w)
    assert found.scale.item() == pytest.approx(0.5)
    assert found.q.tolist() == [[-1, 0, 1, 1]]
    assert found.dequantize().tolist() == [[-0.5, 0.0, 0.5, 0.5]]


@settings(max_examples=200, deadline=None)
@given(w=weights, group_size=st.sampled_from([0, None, 4, 16]))
def test_the_error_is_half_a_scale_or_what_lies_beyond_it(w, group_size):
    found = ternary.quantize(w, group_size=group_size)
    groups = affine.grouped(w, group_size)
    error = affine.grouped((w - found.dequantize()).abs(), group_size)
    limit = torch.maximum(found.scale / 2, groups.abs() - found.scale)
    # Quotient and product are rounded to 2**-24 of at most the largest weight.
    assert (error <= limit + 4 * 2**-24 * groups.abs().amax()).all()


@settings(max_examples=100, deadline=None)
@given(w=weights, factor=st.floats(0.05, 3))
def test_no_other_scale_has_a_smaller_sum_of_squares(w, factor):
    best = ternary.least_squares(w, group_size=16)
    W = affine.grouped(w, 16).double()
    other = factor * W.abs().amax(dim=-1, keepdim=True)
    other = torch.where(other > 0, other, torch.ones_like(other))
    tried = other * torch.round(W / other).clamp(-1, 1)
    squares = [
        (W - x).square().sum(dim=-1)
        for x in (affine.grouped(best.dequantize().double(), 16), tried)
    ]
    # Weights and the scale are float32: products are rounded to 2**-24 of themselves.
    slack = 1e-6 * W.square().sum(dim=-1)
    assert (squares[0] <= squares[1] + slack).all()


def test_the_best_scale_of_a_bell_keeps_fewer_weights_than_bitnets():
    w = bell()
    ruled, best = ternary.quantize(w), ternary.least_squares(w)
    assert best.scale > ruled.scale
    assert (best.q == 0).sum() > (ruled.q == 0).sum()
    errors = [(w - t.dequantize()).square().sum() for t in (best, ruled)]
    assert errors[0] < 0.8 * errors[1]


@both
def test_weights_that_have_three_values_are_kept(method):
    w = 0.25 * torch.tensor([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])
    assert torch.equal(method(w).dequantize(), w)
    w[:, 0] = 0.0
    assert torch.equal(ternary.least_squares(w).dequantize(), w)


@both
def test_zeros_stay_zeros(method):
    w = torch.zeros(2, 16)
    found = method(w, group_size=16)
    assert torch.equal(found.dequantize(), w)
    assert (found.scale == 1).all()


@settings(max_examples=100, deadline=None)
@given(codes=st.lists(st.integers(-1, 1), max_size=23))
def test_packing_and_back(codes):
    q = torch.tensor(codes, dtype=torch.int8)
    packed = ternary.pack_trits(q)
    assert len(packed) == -(-len(q) // 5)
    assert torch.equal(ternary.unpack_trits(packed, len(q)), q)


def test_the_lowest_digit_comes_first():
    assert ternary.pack_trits(torch.tensor([1, -1, 0, -1, 1])).tolist() == [
        2 * 1 + 0 * 3 + 1 * 9 + 0 * 27 + 2 * 81
    ]
    assert ternary.pack_trits(torch.tensor([-1] * 5)).tolist() == [0]
    assert ternary.pack_trits(torch.tensor([1] * 5)).tolist() == [242]


def test_bits_per_weight():
    found = ternary.quantize(bell(10, 20))
    assert ternary.bits_per_weight(found) == (8 * 40 + 16) / 200
    grouped = ternary.quantize(bell(10, 20), group_size=10)
    assert ternary.bits_per_weight(grouped) == (8 * 40 + 20 * 16) / 200


def test_a_gguf_block_takes_its_largest_weight_for_the_scale():
    """What the lesson says of TQ2_0: made for other weights, it loses these."""
    block = bell(1, 256)
    gguf = gguf_ternary.decode_tq2_0(gguf_ternary.encode_tq2_0(block))
    best = ternary.least_squares(block).dequantize()
    assert (block - gguf).square().sum() > 2 * (block - best).square().sum()
    assert gguf.abs().max().item() == pytest.approx(block.abs().max().item(), rel=1e-3)


@both
def test_arguments_are_not_changed(method):
    w = bell()
    before = w.clone()
    method(w, group_size=64)
    assert torch.equal(w, before)


def test_refusals_say_what_to_do():
    w = bell(2, 16)
    with pytest.raises(ValueError, match="group_size 5 does not divide the 16"):
        ternary.quantize(w, group_size=5)
    with pytest.raises(ValueError, match="codes -1, 0 and 1"):
        ternary.pack_trits(torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="do not hold 6 codes"):
        ternary.unpack_trits(torch.tensor([0], dtype=torch.uint8), 6)
    with pytest.raises(ValueError, match="above 242"):
        ternary.unpack_trits(torch.tensor([243], dtype=torch.uint8), 5)
    for bad in (float("nan"), float("inf")):
        w[0, 0] = bad
        for method in (ternary.quantize, ternary.least_squares):
            with pytest.raises(ValueError, match="NaN or infinity"):
                method(w)
