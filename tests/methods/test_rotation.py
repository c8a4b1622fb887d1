"""Rotations: orthogonality, Paley's matrices, the fast transform, peaks, refusals."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from course_utils.methods import rotation

ORDERS = (1, 2, 4, 12, 20, 24, 28, 36, 40, 44, 56, 60, 64, 144, 576)
orders = st.sampled_from([4, 12, 24, 36, 64, 72])
seeds = st.integers(0, 10_000)


def bell(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def off(Q):
    """Largest entry of Q Q^T - I, in float64."""
    Q = Q.double()
    return (Q @ Q.T - torch.eye(len(Q), dtype=torch.float64)).abs().max().item()


@pytest.mark.parametrize("n", ORDERS)
def test_hadamard_has_signs_and_right_angles(n):
    H = rotation.hadamard(n)
    assert (H.abs() == 1).all()
    # Sums of at most 576 ones and minus ones: exact in float32.
    assert torch.equal(H @ H.T, n * torch.eye(n))


def test_the_model_s_orders_come_from_paley():
    assert rotation.factors(576) == (4, 36)
    assert rotation.factors(1536) == (7, 12)
    assert rotation.factors(64) == (6, 1)
    assert rotation.factors(14_336) == (9, 28)


def test_sylvester_s_matrix_is_scipy_s(apart):
    theirs = apart("scipy.linalg").hadamard(32)
    assert torch.equal(rotation.hadamard(32), torch.tensor(theirs).float())


@pytest.mark.parametrize("order", [12, 20, 28, 36])
def test_paley_s_matrices_are_no_doubled_ones(order):
    H = rotation.paley(order)
    assert torch.equal(H @ H.T, order * torch.eye(order))
    assert rotation.factors(order) == (0, order) or order % 8 == 0


@settings(max_examples=60, deadline=None)
@given(n=orders, seed=seeds)
def test_rotations_are_orthogonal_and_keep_lengths(n, seed):
    x = bell(3, n, seed=seed)
    for Q in (
        rotation.random_orthogonal(n, seed),
        rotation.randomized_hadamard(n, seed),
    ):
        # Entries are rounded to 2**-24 of themselves; two rows have n products.
        assert off(Q) <= n**0.5 * 2**-23
        lengths = (x @ Q).norm(dim=1)
        # As many rounded sums once more.
        assert torch.allclose(lengths, x.norm(dim=1), rtol=n * 2**-24)


def test_random_rotations_are_uniform():
    """Their trace has mean 0 and variance 1; a QR without the signs has neither."""
    traces = torch.stack(
        [rotation.random_orthogonal(8, seed).trace() for seed in range(800)]
    )
    # Five standard errors: 1 / sqrt(800) for the mean; the trace is nearly normal, so
    # its variance has a relative standard error of sqrt(2 / 800).
    assert abs(traces.mean().item()) < 5 / math.sqrt(800)
    assert abs(traces.var().item() - 1) < 5 * math.sqrt(2 / 800)


def test_a_seed_gives_one_matrix_and_another_another():
    for draw in (rotation.random_orthogonal, rotation.randomized_hadamard):
        assert torch.equal(draw(12, 3), draw(12, 3))
        assert not torch.equal(draw(12, 3), draw(12, 4))


@settings(max_examples=60, deadline=None)
@given(n=st.sampled_from(ORDERS), seed=seeds)
def test_the_transform_is_the_product(n, seed):
    x = bell(2, 3, n, seed=seed)
    kept = x.clone()
    wanted = x.double() @ rotation.hadamard(n).double().T / n**0.5
    found = rotation.transform(x)
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    # Sums of n terms in some order, each off by at most n * 2**-24 of the sum of sizes,
    # which is at most sqrt(n) * |x|; divided by sqrt(n).
    bound = n * 2**-24 * x.norm(dim=-1, keepdim=True)
    assert ((found - wanted).abs() <= bound).all()
    assert torch.equal(x, kept)


def test_a_spike_becomes_flat_and_a_row_of_h_a_spike():
    n = 576
    spike = torch.zeros(1, n)
    spike[0, 7] = 5.0
    assert rotation.peak(spike).item() == pytest.approx(n**0.5)
    assert rotation.peak(rotation.transform(spike)).item() == pytest.approx(1, rel=1e-5)
    row = rotation.hadamard(n)[3:4]
    # Exact but for the division: all other entries are sums of signs, which cancel.
    assert rotation.peak(rotation.transform(row)).item() == pytest.approx(n**0.5)
    mixed = row @ rotation.randomized_hadamard(n, 0)
    # Of 576 values from a bell, one above 6 occurs once in 900,000 draws.
    assert rotation.peak(mixed).item() < 6


@settings(max_examples=100, deadline=None)
@given(x=st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=40))
def test_a_peak_lies_between_1_and_the_root_of_n(x):
    values = torch.tensor([v if abs(v) > 1e-3 else 0.0 for v in x])
    found = rotation.peak(values).item()
    slack = 1 + len(x) * 2**-23
    assert 1 / slack <= found <= len(x) ** 0.5 * slack


def test_peaks_are_by_row_and_zeros_have_one():
    x = torch.tensor([[0.0, 0.0], [3.0, 0.0], [2.0, -2.0]])
    assert rotation.peak(x).tolist() == pytest.approx([1.0, 2**0.5, 1.0])


def test_kurtosis_of_known_values():
    signs = torch.tensor([1.0, -1.0]).repeat(50)
    assert rotation.kurtosis(signs) == pytest.approx(1.0)
    even = torch.linspace(-1, 1, 100_001)
    assert rotation.kurtosis(even) == pytest.approx(9 / 5, rel=1e-3)
    assert rotation.kurtosis(even + 7) == pytest.approx(9 / 5, rel=1e-3)
    assert rotation.kurtosis(bell(200_000)) == pytest.approx(
        3, abs=5 * (24 / 2e5) ** 0.5
    )


@settings(max_examples=60, deadline=None)
@given(seed=seeds, bits=st.integers(2, 8))
def test_a_token_errs_by_half_its_own_step(seed, bits):
    x = bell(2, 3, 24, seed=seed) * torch.tensor([0.01, 1.0, 50.0])[:, None]
    step = x.abs().amax(dim=-1, keepdim=True) / (2 ** (bits - 1) - 1)
    error = (rotation.per_token(x, bits=bits) - x).abs()
    # Division, product and difference: three roundings of values up to the largest.
    assert (error <= step / 2 + 3 * 2**-24 * x.abs().amax(dim=-1, keepdim=True)).all()
    assert error.amax(dim=-1).min() > 0


@pytest.mark.parametrize("n", [3, 6, 9, 18, 52, 576 // 64])
def test_orders_without_a_matrix_are_refused(n):
    with pytest.raises(ValueError, match=f"No Hadamard matrix of order {n} is known"):
        rotation.hadamard(n)
    with pytest.raises(ValueError, match="random_orthogonal"):
        rotation.transform(torch.ones(2, n))


def test_other_refusals():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        rotation.random_orthogonal(0, 1)
    with pytest.raises(ValueError, match="No Hadamard matrix of order 0"):
        rotation.hadamard(0)
    with pytest.raises(ValueError, match="from primes has no order 16"):
        rotation.paley(16)
    for function in (rotation.peak, rotation.kurtosis, rotation.per_token):
        with pytest.raises(ValueError, match=r"NaN or infinity|finite"):
            function(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ValueError, match="not all equal"):
        rotation.kurtosis(torch.ones(4))
