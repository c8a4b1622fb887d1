"""QLoRA: the frozen matrix, its bytes, and the gradient that passes through it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils.formats import blockwise
from course_utils.formats.codebooks import NF4
from course_utils.methods import qlora

GAP = max(b - a for a, b in zip(NF4.values, NF4.values[1:], strict=False))


def matrix(rows=48, cols=64, seed=0):
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("double", [False, True])
def test_the_rebuilt_weights_are_near(double):
    W = matrix()
    found = qlora.rebuilt(qlora.freeze(W, double=double))
    absmax = W.reshape(-1, 64).abs().amax(dim=1)
    # Double quantization moves an absmax by at most half of the map's widest gap, 1/64
    # of a scale that is below the largest absmax; every weight moves by that at most.
    bound = GAP / 2 * absmax + (absmax.max() / 64 if double else 0)
    assert ((W - found).abs().reshape(-1, 64) <= bound[:, None] * (1 + 1e-6)).all()
    assert not torch.equal(W, found)


def test_without_double_quantization_it_is_blockwise():
    W = matrix()
    expected = blockwise.dequantize(*blockwise.quantize(W, NF4), NF4)
    assert torch.equal(qlora.rebuilt(qlora.freeze(W, double=False)), expected)


def test_the_bytes_are_those_of_the_formula():
    n = 512 * 64
    plain = qlora.freeze(matrix(512), double=False).stored_bytes
    double = qlora.freeze(matrix(512)).stored_bytes
    assert plain == n // 2 + 4 * n // 64
    assert double == n // 2 + n // 64 + 4 * n // (64 * 256) + 4  # 4: the offset


def test_an_odd_number_of_weights():
    W = matrix(3, 7)
    frozen = qlora.freeze(W)
    assert qlora.rebuilt(frozen).shape == (3, 7)
    assert frozen.packed.numel() == 11


def test_the_gradient_of_the_input_is_exact():
    frozen = qlora.freeze(matrix())
    x = matrix(5, 64, seed=1).requires_grad_()
    plain = x.detach().clone().requires_grad_()
    G = matrix(5, 48, seed=2)
    out = qlora.FrozenProduct.apply(x, frozen)
    expected = plain @ qlora.rebuilt(frozen).T
    assert torch.equal(out, expected)
    out.backward(G)
    expected.backward(G)
    # The same products in another order: 48 terms, 2**-24 each.
    torch.testing.assert_close(x.grad, plain.grad, rtol=0, atol=48 * 2**-22)


def test_a_batch_of_sequences_passes():
    frozen = qlora.freeze(matrix())
    x = matrix(6, 64, seed=1).reshape(2, 3, 64).requires_grad_()
    out = qlora.FrozenProduct.apply(x, frozen)
    assert out.shape == (2, 3, 48)
    out.sum().backward()
    assert x.grad.shape == x.shape


def test_no_rebuilt_matrix_is_kept_for_the_way_back():
    frozen, kept = qlora.freeze(matrix()), []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    x = matrix(5, 64, seed=1).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        qlora.FrozenProduct.apply(x, frozen)
        assert sum(kept) == 0
        _ = x @ qlora.rebuilt(frozen).T
        assert sum(kept) == 48 * 64


def test_equation_five():
    frozen = qlora.freeze(matrix())
    x, A, B = matrix(5, 64, 1), matrix(3, 64, 2), matrix(48, 3, 3)
    expected = x @ (qlora.rebuilt(frozen) + 16 / 3 * B @ A).T
    # Sums of 64 products of some hundred at most, rounded to 2**-24 in either order.
    torch.testing.assert_close(
        qlora.forward(x, frozen, A, B, alpha=16), expected, rtol=0, atol=64 * 2**-15
    )


def test_changed_codes_are_counted():
    W = matrix()
    moved = W.clone()
    # Half of each block changes sign; a weight near 0 may keep its code.
    moved[:, :32] *= -1
    share = qlora.changed_codes(qlora.freeze(W), qlora.freeze(moved))
    assert 0.4 < share <= 0.5
    assert qlora.changed_codes(qlora.freeze(W), qlora.freeze(W)) == 0


@given(st.floats(0, 1), st.integers(0, 9))
def test_a_small_change_on_the_codes_is_lost(size, seed):
    """Weights on the codes, moved by less than half the least gap, return to them."""
    frozen = qlora.freeze(matrix(seed=seed), double=False)
    W = qlora.rebuilt(frozen)
    absmax = W.reshape(-1, 64).abs().amax(dim=1, keepdim=True)
    gaps = torch.tensor(NF4.values).diff()
    change = 2 * torch.rand(W.shape, generator=torch.Generator().manual_seed(seed)) - 1
    # 0.4 and not 0.5 of the least gap: the absmax, of which the codes are a share, may
    # shrink by as much, which moves a code near 1 by 0.1 of the least gap at most.
    change = 0.4 * size * gaps.min() * (change.reshape(-1, 64) * absmax)
    change[W.reshape(-1, 64).abs() == absmax] = 0  # the largest keeps the scale
    merged = W + change.reshape(W.shape)
    assert qlora.changed_codes(frozen, qlora.freeze(merged, double=False)) == 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="rows and columns"):
        qlora.freeze(torch.zeros(64))
    with pytest.raises(ValueError, match="NaN or infinity"):
        qlora.freeze(torch.full((2, 64), torch.nan))
    with pytest.raises(ValueError, match="its own new version"):
        qlora.changed_codes(qlora.freeze(matrix()), qlora.freeze(matrix(24)))
