"""Statistics of a layer's inputs, held to the formulas in float64."""

import pytest
import torch

from course_utils.methods.statistics import LayerStats, Statistics, output_error


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(50, 6, generator=generator) @ torch.randn(
        6, 6, generator=generator
    )


def collect(*batches, **options):
    statistics = Statistics(**options)
    for batch in batches:
        statistics.add(batch)
    return statistics.result()


@pytest.mark.parametrize("cols", [1, 2, 3, 5, 6, 64])
def test_moment_mean_and_maximum(cols):
    # Widths that four strips cut evenly, unevenly, and into fewer.
    x = torch.randn(200, cols, generator=torch.Generator().manual_seed(cols))
    found = collect(x[:70].reshape(7, 10, cols), x[70:])
    assert found.n == 200
    exact = x.double().T @ x.double() / 200
    # 200 products, each sum below 200 * 4 in size, in float32: 200 * 2**-24 relative.
    torch.testing.assert_close(found.second_moment, exact.float(), rtol=0, atol=5e-5)
    assert torch.equal(found.second_moment, found.second_moment.T)
    torch.testing.assert_close(found.abs_mean, x.abs().mean(dim=0), rtol=1e-5, atol=0)
    assert torch.equal(found.abs_max, x.abs().amax(dim=0))


def test_the_error_of_the_outputs_follows_from_the_moment(x):
    generator = torch.Generator().manual_seed(1)
    w, w_hat = torch.randn(2, 4, 6, generator=generator)
    direct = ((w - w_hat).double() @ x.double().T).square().sum() / len(x)
    assert output_error(w, w_hat, collect(x)) == pytest.approx(direct.item(), rel=1e-5)
    assert output_error(w, w, collect(x)) == 0


def test_inputs_are_kept_when_asked_for(x):
    assert collect(x).inputs is None
    kept = collect(x[:5], x[5:], keep_inputs=8).inputs
    assert torch.equal(kept, x[:8])


def test_a_result_does_not_move_with_later_batches(x):
    statistics = Statistics()
    statistics.add(x[:10])
    first = statistics.result()
    before = (first.second_moment.clone(), first.abs_max.clone())
    statistics.add(100 * x)
    assert torch.equal(first.second_moment, before[0])
    assert torch.equal(first.abs_max, before[1])


def test_half_precision_inputs_are_summed_in_float32():
    x = torch.full((4096, 2), 3.0, dtype=torch.bfloat16)
    assert collect(x).second_moment.tolist() == [[9.0, 9.0], [9.0, 9.0]]


def test_refusals():
    with pytest.raises(ValueError, match="No token was seen"):
        Statistics().result()
    with pytest.raises(ValueError, match="No token was seen"):
        collect(torch.empty(0, 4))
    with pytest.raises(ValueError, match="have 3 columns, those before had 2"):
        collect(torch.ones(1, 2), torch.ones(1, 3))
    for bad in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(ValueError, match="hold NaN or infinity"):
            collect(torch.tensor([[1.0, bad]]))
    stats = collect(torch.ones(1, 2))
    with pytest.raises(ValueError, match="belong together"):
        output_error(torch.ones(2, 3), torch.ones(2, 3), stats)


def test_statistics_of_a_refused_batch_are_unchanged(x):
    statistics = Statistics()
    statistics.add(x)
    bad = x.clone()
    bad[3, 2] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        statistics.add(bad)
    found = statistics.result()
    assert isinstance(found, LayerStats)
    assert torch.equal(found.second_moment, collect(x).second_moment)
