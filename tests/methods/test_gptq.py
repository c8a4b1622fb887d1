"""GPTQ: a second implementation straight from the definition, properties, refusals."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec
from course_utils.methods import gptq, rtn
from course_utils.methods.statistics import LayerStats, Statistics, output_error

COLS = 32


def stats_of(x):
    statistics = Statistics()
    statistics.add(x)
    return statistics.result()


def correlated(seed, n=200, cols=COLS):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(cols, cols, generator=generator)
    return torch.randn(n, cols, generator=generator) @ mixing


def random_weights(seed, rows=8, cols=COLS):
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


def identity_stats(cols):
    return LayerStats(1, torch.eye(cols) / 2, torch.ones(cols), torch.ones(cols))


def from_the_definition(w, H, spec, order):
    """Round columns in `order`; the best answer of the free ones solved each time.

    float64 and a fresh inverse of the free block of H for every column: none of the
    tricks of the implementation.
    """
    w, H = w.double().clone(), H.double()
    size = spec.group_size or w.shape[1]
    w_hat = torch.zeros_like(w)
    for place, j in enumerate(order):
        free = order[place + 1 :]
        if place % size == 0:
            group = w[:, order[place : place + size]].float()
            whole = QuantSpec(spec.bits, spec.symmetric)
            scale, zero = affine.choose_qparams(group, spec=whole)
        q = affine.quantize(w[:, [j]].float(), scale, zero, spec=whole)
        w_hat[:, [j]] = affine.dequantize(q, scale, zero, spec=whole).double()
        error = w[:, j] - w_hat[:, j]
        # argmin over the free columns of the loss, with this error fixed.
        if free:
            move = torch.linalg.solve(H[free][:, free], H[free][:, j])
            w[:, free] += error[:, None] * move[None]
    return w_hat.float()


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("group_size", [None, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_equals_the_definition(act_order, group_size, symmetric):
    stats, w = stats_of(correlated(0)), random_weights(1)
    spec = QuantSpec(4, symmetric, group_size)
    t = gptq.quantize(w, stats, spec=spec, act_order=act_order, lazy_block=16)
    H = 2 * stats.second_moment
    damped = H + 0.01 * H.diagonal().mean() * torch.eye(COLS)
    order = gptq.column_order(H, act_order=act_order).tolist()
    expected = from_the_definition(w, damped, spec, order)
    # A value within float32 rounding of a tie may fall on the other side, and moves
    # the columns after it: 256 codes here, none of them that close.
    torch.testing.assert_close(t.dequantize(), expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=60)
@given(
    bits=st.integers(2, 8),
    group_size=st.sampled_from([None, 0, 4, 8]),
    symmetric=st.booleans(),
    act_order=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_uncorrelated_inputs_give_round_to_nearest(
    bits, group_size, symmetric, act_order, seed
):
    # H is the identity: nothing can make up for an error, and all columns are equal.
    w, spec = random_weights(seed, cols=16), QuantSpec(bits, symmetric, group_size)
    ours = gptq.quantize(w, identity_stats(16), spec=spec, act_order=act_order)
    nearest = rtn.quantize(w, spec=spec)
    assert torch.equal(ours.q, nearest.q)
    assert torch.equal(ours.dequantize(), nearest.dequantize())


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("act_order", [False, True])
def test_the_objective_is_better_than_that_of_rounding_on_average(bits, act_order):
    ratios = []
    for seed in range(12):
        stats, w = stats_of(correlated(seed)), random_weights(seed + 100)
        spec = QuantSpec(bits, group_size=8)
        options = {"spec": spec, "act_order": act_order}
        ours = gptq.quantize(w, stats, **options).dequantize()
        nearest = rtn.quantize(w, spec=spec).dequantize()
        ratios.append(output_error(w, ours, stats) / output_error(w, nearest, stats))
    assert sum(ratios) / len(ratios) < 1


@pytest.mark.parametrize("group_size", [None, 8, 32])
def test_the_lazy_block_changes_nothing_but_the_order_of_sums(group_size):
    stats, w = stats_of(correlated(3)), random_weights(4)
    spec = QuantSpec(4, group_size=group_size)
    one = gptq.quantize(w, stats, spec=spec, lazy_block=1)
    for lazy_block in (2, 5, 8, 12, 16, 32, 1000):
        other = gptq.quantize(w, stats, spec=spec, lazy_block=lazy_block)
        assert torch.equal(one.q, other.q)
        # Sums of at most 32 products in another order: 32 * 2**-24 of the range.
        torch.testing.assert_close(one.scale, other.scale, rtol=1e-5, atol=0)


@settings(max_examples=200)
@given(
    cols=st.integers(1, 40).map(lambda n: 4 * n),
    size=st.sampled_from([2, 4]),
    lazy_block=st.integers(1, 200),
)
def test_blocks_cover_the_columns_and_cut_no_group_late(cols, size, lazy_block):
    found = list(gptq.blocks(cols, size, lazy_block))
    assert [i for i, _ in found] == [0, *(end for _, end in found[:-1])]
    assert found[-1][1] == cols
    for i, end in found:
        assert 0 < end - i <= lazy_block
        starts = [j for j in range(i, end) if j % size == 0]
        # A group whose first column is inside is wholly inside, or starts the block.
        assert all(j + size <= end or j == i for j in starts)


def test_rows_do_not_depend_on_each_other():
    stats, w = stats_of(correlated(5)), random_weights(6, rows=6)
    spec = QuantSpec(3, group_size=8)
    whole = gptq.quantize(w, stats, spec=spec)
    for rows in (slice(0, 2), slice(2, 6)):
        part = gptq.quantize(w[rows], stats, spec=spec)
        assert torch.equal(part.q, whole.q[rows])


def test_one_signed_groups_stay_within_the_grid():
    stats = stats_of(correlated(7))
    for sign in (1.0, -1.0):
        w = sign * (1 + random_weights(8).abs())
        spec = QuantSpec(4, group_size=8)
        t = gptq.quantize(w, stats, spec=spec)
        assert t.zero_point.min() >= 0
        assert t.zero_point.max() <= 15
        nearest = rtn.quantize(w, spec=spec).dequantize()
        ours = output_error(w, t.dequantize(), stats)
        assert ours < output_error(w, nearest, stats)


def test_a_matrix_of_zeros_stays_zero():
    spec = QuantSpec(4, group_size=8)
    t = gptq.quantize(torch.zeros(4, COLS), stats_of(correlated(9)), spec=spec)
    assert (t.dequantize() == 0).all()
    assert (t.scale == 1).all()


def test_ties_go_to_the_even_step():
    w = torch.tensor([[-7.0, -2.5, -0.5, 0.5, 1.5, 7.0]])
    spec = QuantSpec(4, symmetric=True)
    t = gptq.quantize(w, identity_stats(6), spec=spec)
    assert t.q.tolist() == [[-7, -2, 0, 0, 2, 7]]


def test_inputs_that_are_always_zero_are_rounded_to_nearest():
    x = correlated(10)
    x[:, 5] = 0
    w, spec = random_weights(11), QuantSpec(4)
    t = gptq.quantize(w, stats_of(x), spec=spec)
    # The grid of a whole row is chosen before anything moves.
    assert torch.equal(t.q[:, 5], rtn.quantize(w, spec=spec).q[:, 5])


def test_act_order_starts_with_the_largest_inputs():
    H = torch.diag(torch.tensor([1.0, 5.0, 5.0, 9.0]))
    assert gptq.column_order(H, act_order=True).tolist() == [3, 1, 2, 0]
    assert gptq.column_order(H, act_order=False).tolist() == [0, 1, 2, 3]
    w, spec = random_weights(12, cols=4), QuantSpec(4, group_size=2)
    stats = LayerStats(1, H / 2, torch.ones(4), torch.ones(4))
    t = gptq.quantize(w, stats, spec=spec, act_order=True)
    assert t.group_of.tolist() == [1, 0, 1, 0]
    assert gptq.quantize(w, stats, spec=spec).group_of is None
    whole_rows = gptq.quantize(w, stats, spec=QuantSpec(4), act_order=True)
    assert whole_rows.group_of is None


def test_the_factor_is_that_of_the_inverse():
    H = 2 * stats_of(correlated(13)).second_moment
    upper = gptq.hinv_cholesky(H, percdamp=0.02)
    damped = H.double() + 0.02 * H.double().diagonal().mean() * torch.eye(COLS)
    product = upper.double().T @ upper.double() @ damped
    # The condition number is below 1e3, and 2**-24 * 32 * 1e3 = 2e-3.
    torch.testing.assert_close(product, torch.eye(COLS).double(), rtol=0, atol=2e-3)
    assert torch.equal(upper, upper.triu())


def test_a_singular_hessian_is_one_sentence():
    spec = QuantSpec(4)
    few, w = stats_of(correlated(14, n=COLS // 2)), random_weights(15)
    with pytest.raises(ValueError, match=r"32 inputs is singular.*raise percdamp"):
        gptq.quantize(w, few, spec=spec, percdamp=0)
    assert gptq.quantize(w, few, spec=spec).q.shape == w.shape  # damped
    twice = correlated(16)
    twice[:, 3] = twice[:, 4]  # one direction is missing
    with pytest.raises(ValueError, match="singular"):
        gptq.quantize(w, stats_of(twice), spec=spec, percdamp=0)
    nothing = stats_of(torch.zeros(10, COLS))
    with pytest.raises(ValueError, match="singular"):
        gptq.quantize(w, nothing, spec=spec)


def test_other_bad_input_is_one_sentence():
    stats, w, spec = stats_of(correlated(17)), random_weights(18), QuantSpec(4)
    for bad in (float("nan"), float("inf")):
        broken = w.clone()
        broken[1, 2] = bad
        with pytest.raises(ValueError, match="NaN or infinity"):
            gptq.quantize(broken, stats, spec=spec)
    with pytest.raises(ValueError, match="group_size 5 does not divide the 32"):
        gptq.quantize(w, stats, spec=QuantSpec(4, group_size=5))
    with pytest.raises(ValueError, match="16 columns and the statistics 32"):
        gptq.quantize(w[:, :16], stats, spec=spec)
    with pytest.raises(ValueError, match="needs the statistics"):
        gptq.quantize(w, None, spec=spec)
    with pytest.raises(ValueError, match="percdamp must be 0 or more, got -1"):
        gptq.quantize(w, stats, spec=spec, percdamp=-1)
    with pytest.raises(ValueError, match="lazy_block must be at least 1"):
        gptq.quantize(w, stats, spec=spec, lazy_block=0)
    with pytest.raises(ValueError, match="rows and columns"):
        gptq.quantize(w[0], stats, spec=spec)


def test_arguments_are_not_changed():
    stats, w = stats_of(correlated(19)), random_weights(20)
    before, moment = w.clone(), stats.second_moment.clone()
    gptq.quantize(w, stats, spec=QuantSpec(2, group_size=8), act_order=True)
    assert torch.equal(w, before)
    assert torch.equal(stats.second_moment, moment)
