"""Additive codebooks: their parts, that no step raises the loss, and refusals."""

import itertools

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from course_utils.methods import additive
from course_utils.methods.kmeans import kmeans, nearest, residual_kmeans
from course_utils.methods.statistics import Statistics

SMALL = {"group_size": 4, "n_codebooks": 2, "bits": 3}


def layer(rows=32, cols=32, tokens=200, seed=0):
    """Return weights and the statistics of inputs that are correlated and uneven."""
    random = torch.Generator().manual_seed(seed)
    w = 0.1 * torch.randn(rows, cols, generator=random)
    mix = torch.randn(cols, cols, generator=random) / cols**0.5
    x = torch.randn(tokens, cols, generator=random) @ (torch.eye(cols) + mix)
    x[:, 3] *= 20
    statistics = Statistics()
    statistics.add(x)
    return w, statistics.result()


def parts(seed=0, m=2, bits=3, g=4):
    """Return W, H, codes, codebooks and scales that are not fitted to each other."""
    w, stats = layer(seed=seed)
    random = torch.Generator().manual_seed(seed + 1)
    codes = torch.randint(2**bits, (32, 32 // g, m), generator=random)
    codebooks = 0.1 * torch.randn(m, 2**bits, g, generator=random)
    return w, stats.second_moment, codes, codebooks, torch.ones(32, 1)


def loss(W, H, b, C, scale):
    """Return (2) in float64."""
    E = (W - additive.decode(b, C, scale)).double()
    return float(((E @ H.double()) * E).sum())


# Sums of a few thousand float32 products differ by about sqrt(n) * 2**-24 of the sum.
SLACK = 1 + 1e-5


def test_decoding_is_the_sum_of_the_named_vectors_times_the_scale():
    codes = torch.tensor([[[0, 1], [1, 1]], [[1, 0], [0, 0]]])
    codebooks = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]])
    scale = torch.tensor([[1.0], [0.5]])
    expected = torch.tensor([[31.0, 42.0, 33.0, 44.0], [6.5, 12.0, 5.5, 11.0]])
    assert torch.equal(additive.decode(codes, codebooks, scale), expected)


def test_bits_count_codes_codebooks_and_scales():
    codes = torch.zeros(64, 16, 2, dtype=torch.uint8)
    found = additive.AdditiveTensor(codes, torch.zeros(2, 16, 8), torch.ones(64, 1))
    stored = 64 * 16 * 2 * 4 + 16 * (2 * 16 * 8 + 64)
    assert found.bits_per_weight() == stored / (64 * 128)
    assert found.bits_per_weight(number_bits=0) == 2 * 4 / 8


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    m=st.integers(1, 3),
    beam=st.integers(1, 6),
    iters=st.sampled_from([1, 4, 30, 200]),
)
def test_no_step_raises_the_loss(seed, m, beam, iters):
    W, H, b, C, s = parts(seed=seed, m=m)
    before = loss(W, H, b, C, s)
    C = additive.fit_codebooks(W, H, b, C, scale=s, iters=iters)
    after = loss(W, H, b, C, s)
    assert after <= before * SLACK
    before, s = after, additive.fit_scale(W, H, b, C, scale=s)
    after = loss(W, H, b, C, s)
    assert after <= before * SLACK
    b = additive.beam_search(W, H, b, C, scale=s, beam=beam)
    assert loss(W, H, b, C, s) <= after * SLACK


def test_each_turn_of_quantize_lowers_the_loss():
    w, stats = layer()
    H = stats.second_moment + 0.01 * stats.second_moment.diagonal().mean() * torch.eye(
        32
    )
    losses = []
    for turns in range(4):
        t = additive.quantize(w, stats, turns=turns, **SMALL)
        losses.append(loss(w, H, t.codes, t.codebooks, t.scale))
    assert all(b < a for a, b in itertools.pairwise(losses))
    assert losses[1] < 0.5 * losses[0]


def test_the_codebooks_are_the_least_squares_solution():
    """Conjugate gradients, run long, against torch's solver on the whole system."""
    W, H, b, C, s = parts()
    s = s * torch.linspace(0.5, 2, 32)[:, None]
    L = torch.linalg.cholesky(H.double())
    unit = torch.eye(C.numel(), dtype=torch.float64).reshape(-1, *C.shape)
    # Columns of the design matrix: what each number of the codebooks adds to W_hat L.
    A = torch.stack([(additive.decode(b, u, s.double()) @ L).flatten() for u in unit])
    target = (W.double() @ L).flatten()
    best = torch.linalg.lstsq(A.T, target[:, None], driver="gelsd").solution
    least = float((A.T @ best - target[:, None]).square().sum())
    found = additive.fit_codebooks(W, H, b, C, scale=s, iters=300)
    # The codes fix 2 * 8 * 4 = 64 numbers by 1024 weights; float32 leaves about 1e-6.
    assert loss(W, H, b, found, s) == pytest.approx(least, rel=1e-4)


def test_a_vector_that_no_group_uses_stays():
    W, H, b, C, s = parts()
    b = torch.where(b == 5, torch.zeros_like(b), b)
    found = additive.fit_codebooks(W, H, b, C, scale=s)
    assert torch.equal(found[:, 5], C[:, 5])
    assert not torch.equal(found[:, 0], C[:, 0])


def test_a_wide_beam_finds_the_best_codes():
    """Two groups, two codebooks of two vectors: sixteen ways to write a row."""
    random = torch.Generator().manual_seed(0)
    w, stats = layer(rows=40, cols=8)
    H, s = stats.second_moment, torch.ones(40, 1)
    C = 0.1 * torch.randn(2, 2, 4, generator=random)
    start = torch.zeros(40, 2, 2, dtype=torch.long)
    found = additive.beam_search(w, H, start, C, scale=s, beam=16)
    every = itertools.product((0, 1), repeat=4)
    tried = [torch.tensor(x).reshape(1, 2, 2).expand(40, 2, 2) for x in every]

    def of_rows(b):
        E = (w - additive.decode(b, C, s)).double()
        return ((E @ H.double()) * E).sum(dim=1)

    least = torch.stack([of_rows(b) for b in tried]).min(dim=0).values
    torch.testing.assert_close(of_rows(found), least, rtol=1e-5, atol=0)
    narrow = additive.beam_search(w, H, start, C, scale=s, beam=1)
    assert of_rows(narrow).sum() > least.sum()


def test_rows_are_searched_alone():
    W, H, b, C, s = parts()
    whole = additive.beam_search(W, H, b, C, scale=s)
    row = additive.beam_search(W[7:8], H, b[7:8], C, scale=s[7:8])
    assert torch.equal(whole[7:8], row)


def test_more_rows_than_are_searched_at_once(monkeypatch):
    W, H, b, C, s = parts()
    whole = additive.beam_search(W, H, b, C, scale=s)
    monkeypatch.setattr(additive, "ROWS", 5)
    found = additive.by_rows(additive.beam_search, W, H, b, C, scale=s)
    assert torch.equal(found, whole)


def test_another_search_can_be_given():
    w, stats = layer()
    kept = additive.quantize(w, stats, turns=0, **SMALL).codes

    def none(W, H, b, C, *, scale, beam):
        del W, H, C, scale
        assert beam == 4
        return b

    assert torch.equal(additive.quantize(w, stats, search=none, **SMALL).codes, kept)


def test_weights_that_codebooks_can_write_are_written():
    """As many vectors as groups: no weight is lost."""
    random = torch.Generator().manual_seed(0)
    vectors = torch.randn(8, 4, generator=random)
    names = torch.randint(8, (32, 8), generator=random)
    _, stats = layer()
    w = vectors[names].flatten(1)
    w = w / w.square().mean(dim=1, keepdim=True).sqrt()
    t = additive.quantize(
        w, stats, group_size=4, n_codebooks=1, bits=8, turns=0, seed=1
    )
    # 256 vectors, 256 groups: each group is a centre. Squared distances of points of
    # length below 8 are right to 64 * 2**-22, so a neighbour within the root of that
    # may be taken for a group's own.
    torch.testing.assert_close(t.dequantize(), w, rtol=0, atol=0.004)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 20), iters=st.integers(0, 5))
def test_a_turn_of_kmeans_never_raises_the_distance(seed, n, iters):
    points = torch.randn(60, 3, generator=torch.Generator().manual_seed(seed))
    sums = []
    for turns in (iters, iters + 1):
        centres, b = kmeans(points, n, iters=turns, seed=seed)
        assert torch.equal(b, nearest(points, centres))
        sums.append((points - centres[b]).square().sum().item())
    assert sums[1] <= sums[0] * SLACK


def test_nearest_is_the_smallest_distance():
    random = torch.Generator().manual_seed(0)
    points, centres = torch.randn(50, 4, generator=random), torch.randn(7, 4)
    assert torch.equal(
        nearest(points, centres), torch.cdist(points, centres).argmin(dim=1)
    )


def test_residual_kmeans_fits_what_is_left():
    points = torch.randn(30, 10, 4, generator=torch.Generator().manual_seed(0))
    codes, codebooks = residual_kmeans(points, 3, bits=3)
    assert codes.shape == (30, 10, 3)
    assert codebooks.shape == (3, 8, 4)
    rest, left = points.clone(), [points.square().sum()]
    for m in range(3):
        rest = rest - codebooks[m][codes[..., m]]
        left.append(rest.square().sum())
    assert all(b < 0.9 * a for a, b in itertools.pairwise(left))


def test_a_row_of_zeros_and_an_input_that_is_always_zero():
    w, stats = layer()
    w[4] = 0.0
    stats.second_moment[:, 9] = 0.0
    stats.second_moment[9] = 0.0
    found = additive.quantize(w, stats, percdamp=0.0, **SMALL).dequantize()
    assert torch.isfinite(found).all()
    assert found[4].abs().max() < w.abs().mean()


def test_the_same_seed_gives_the_same_bytes_and_arguments_are_not_changed():
    w, stats = layer()
    before, moment = w.clone(), stats.second_moment.clone()
    first, again = (additive.quantize(w, stats, **SMALL) for _ in range(2))
    other = additive.quantize(w, stats, seed=1, **SMALL)
    assert torch.equal(first.codes, again.codes)
    assert torch.equal(first.codebooks, again.codebooks)
    assert not torch.equal(first.codes, other.codes)
    assert torch.equal(w, before)
    assert torch.equal(stats.second_moment, moment)
    assert first.codes.dtype == torch.uint8


def test_refusals_say_what_to_do():
    w, stats = layer()
    with pytest.raises(ValueError, match="fitted to the layer's inputs"):
        additive.quantize(w, None)
    with pytest.raises(ValueError, match="group_size 5 does not divide the 32"):
        additive.quantize(w, stats, group_size=5)
    with pytest.raises(ValueError, match="32 columns and the statistics 16"):
        additive.quantize(w, layer(cols=16)[1])
    with pytest.raises(ValueError, match="128 groups cannot fill a codebook of 256"):
        additive.quantize(w, stats, group_size=8)
    for name, value in (("beam", 0), ("turns", -1), ("bits", 0), ("n_codebooks", 0)):
        with pytest.raises(ValueError, match=f"{name} must be . or more, got {value}"):
            additive.quantize(w, stats, **(SMALL | {name: value}))
    with pytest.raises(ValueError, match="bits must be at most 16, got 17"):
        additive.quantize(w, stats, **(SMALL | {"bits": 17}))
    for bad in (float("nan"), float("inf")):
        w[0, 0] = bad
        with pytest.raises(ValueError, match="NaN or infinity"):
            additive.quantize(w, stats, **SMALL)
