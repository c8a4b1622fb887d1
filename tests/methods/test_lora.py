"""LoRA: the start, the change, and the layer with it."""

import pytest
import torch

from course_utils.methods import lora


@pytest.fixture
def pieces():
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 6), (4, 6), (2, 6), (4, 2)]  # x, W, A, B
    return [torch.randn(*shape, generator=generator) for shape in shapes]


def test_the_start_changes_nothing():
    A, B = lora.start(12, 8, r=3, seed=4)
    assert A.shape == (3, 8)
    assert B.shape == (12, 3)
    assert not lora.delta(A, B, alpha=16).any()
    assert A.abs().max() <= 8**-0.5
    assert A.abs().max() > 0.8 * 8**-0.5  # 24 draws, all below 0.8: 1 in 200
    assert not torch.equal(A, lora.start(12, 8, r=3, seed=5)[0])


def test_delta_is_the_scaled_product(pieces):
    _, _, A, B = pieces
    expected = torch.zeros(4, 6)
    for k in range(2):
        expected += 8 / 2 * torch.outer(B[:, k], A[k])
    # Sums of two products of numbers below 4, each rounded to 2**-24.
    torch.testing.assert_close(
        lora.delta(A, B, alpha=8), expected, rtol=0, atol=64 * 2**-22
    )
    assert torch.linalg.matrix_rank(lora.delta(A, B, alpha=8)) == 2


def test_the_layer_with_the_adapter_is_the_merged_layer(pieces):
    x, W, A, B = (p.double() for p in pieces)
    found = lora.forward(x, W, A, B, alpha=8)
    torch.testing.assert_close(found, x @ (W + lora.delta(A, B, alpha=8)).T)
    assert (found - x @ W.T).abs().max() > 0.1


def test_the_gradients_are_those_of_the_paper(pieces):
    """dL/dB = (alpha / r) G^T X A^T and dL/dA = (alpha / r) B^T G^T X."""
    x, W, A, B = (p.double().requires_grad_() for p in pieces)
    G = torch.ones(5, 4, dtype=torch.float64)
    grads = torch.autograd.grad(lora.forward(x, W, A, B, alpha=8), (A, B), G)
    torch.testing.assert_close(grads[0], 4 * B.T @ G.T @ x)
    torch.testing.assert_close(grads[1], 4 * G.T @ x @ A.T)


@pytest.mark.parametrize("r", [0, -1, 9])
def test_a_rank_that_does_not_fit_is_refused(r):
    with pytest.raises(ValueError, match="rank r must be 1 to 8"):
        lora.start(12, 8, r=r)


def test_ranks_that_differ_are_refused():
    with pytest.raises(ValueError, match="the rank"):
        lora.delta(torch.zeros(2, 6), torch.zeros(4, 3), alpha=1)
