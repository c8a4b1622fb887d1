"""Observers: the histogram, the four ranges against their definitions, refusals."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.ao.quantization import MinMaxObserver

from course_utils.methods import observers
from course_utils.methods.observers import Observer


def observed(*batches, bins=observers.BINS):
    observer = Observer(bins=bins)
    for x in batches:
        observer.add(x)
    return observer.result()


def bell(n=20000, seed=0):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))


def squared_error(x, T, qmax):
    scale = T / qmax
    return (x - (x / scale).round().clamp(-qmax, qmax) * scale).square().sum().item()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20),
        min_size=1,
        max_size=5,
    )
)
def test_every_value_is_counted_in_the_bin_that_holds_it(batches):
    found = observed(*map(torch.tensor, batches), bins=16)
    sizes = torch.tensor([x for batch in batches for x in batch]).abs()
    assert found.n == len(sizes)
    assert found.amax == sizes.max().item()
    # Counts up to each edge; a value within 2**-22 of an edge may fall on either side.
    edges = found.width * torch.arange(1, 17, dtype=torch.float64)
    for edge, counted in zip(edges, found.counts.cumsum(0), strict=True):
        slack = edge * 2**-22
        below = (sizes.double() < edge - slack).sum()
        assert below <= counted <= (sizes.double() < edge + slack).sum()


def test_batches_count_as_one_text_would():
    """Widths are doubled, so that the edges of one batch are edges of the next."""
    small, large = bell(seed=1), 5 * bell(seed=2)
    found = observed(small, large)
    again = observed(torch.cat([small[small.abs().argmax()][None], small]), large)
    assert found.n == 40000
    assert again.n == 40001
    assert found.width == again.width
    assert (found.counts - again.counts).abs().sum() == 1


def test_the_bins_widen_by_powers_of_two():
    narrow, wide = observed(bell()), observed(bell(), torch.tensor([1000.0]))
    factor = wide.width / narrow.width
    assert factor == 2 ** round(torch.log2(torch.tensor(factor)).item())
    assert factor > 100
    assert wide.n == narrow.n + 1


def test_minmax_is_that_of_torch():
    x = bell()
    theirs = MinMaxObserver()
    for batch in x.split(1000):
        theirs(batch)
    largest = max(-theirs.min_val.item(), theirs.max_val.item())
    assert observers.minmax(observed(*x.split(1000))) == largest


@pytest.mark.parametrize("share", [0.5, 0.99, 0.9999, 1.0])
def test_percentile_covers_its_share_and_not_a_bin_more(share):
    x = bell()
    found = observed(x)
    T = observers.percentile(found, share)
    assert (x.abs() <= T).sum() >= share * len(x)
    assert (x.abs() <= T - found.width).sum() < share * len(x)


@pytest.mark.parametrize("qmax", [127, 7, 1])
def test_mse_finds_the_range_that_a_direct_search_finds(qmax):
    x = bell()
    T = observers.mse(observed(x), qmax=qmax)
    direct = min(
        squared_error(x, t, qmax) for t in torch.linspace(0.2, 5, 481).tolist()
    )
    # Half a bin, 1.3e-4, is small beside steps of 0.02: the errors of centers are
    # those of the values to about 1 %; candidates are 2 % apart.
    assert squared_error(x, T, qmax) <= 1.03 * direct


def test_mse_of_one_level_is_known():
    """Levels -T, 0, T of a bell: the best T solves T = E(|x|; |x| > T / 2)."""
    x = bell(200000)
    T = observers.mse(observed(x), qmax=1)
    beyond = x.abs()[x.abs() > T / 2]
    # Candidates are 3 % apart or less; the loss is flat near its lowest point.
    assert pytest.approx(beyond.mean().item(), rel=0.05) == T


def test_searches_never_do_worse_than_minmax():
    x = torch.cat([bell(), torch.tensor([300.0])])
    found = observed(x)
    for qmax in (7, 127):
        T = observers.mse(found, qmax=qmax)
        assert squared_error(x, T, qmax) <= squared_error(x, 300.0, qmax)


def test_entropy_cuts_a_lone_outlier_and_mse_keeps_it():
    x = torch.cat([bell(), torch.tensor([300.0])])
    found = observed(x)
    assert observers.entropy(found) < 10
    # One value cut at T costs (300 - T)^2; 20000 values on steps of T / 127 cost
    # T^2 / 127^2 / 12 each, 9300 at most: T = 300 / (1 + 20000 / (12 * 127^2)).
    assert observers.mse(found) == pytest.approx(272, rel=0.05)


def test_entropy_follows_its_definition():
    """The divergence, element by element, on a small histogram."""
    counts = torch.tensor([5, 3, 0, 2, 4, 0, 1, 1], dtype=torch.float64)
    histogram = observers.Histogram(counts, 1.0, 8.0 - 1e-9)
    # Cut after 4 bins, 2 levels: P = 5 3 0 (2 + 6), levels hold 8 and 2.
    P = torch.tensor([5, 3, 8], dtype=torch.float64) / 16
    Q = torch.tensor([4, 4, 2], dtype=torch.float64) / 10
    expected = (P * (P / Q).log()).sum().item()
    found = observers._divergence(histogram, 4.0, 2)
    assert found == pytest.approx(expected, rel=1e-12)


def test_nothing_but_zeros_has_range_zero():
    found = observed(torch.zeros(10))
    assert found.n == 10
    ranges = [
        observers.minmax(found),
        observers.percentile(found),
        observers.mse(found),
        observers.entropy(found),
    ]
    assert ranges == [0.0] * 4


def test_zeros_before_the_first_value_are_kept():
    assert observed(torch.zeros(10), torch.ones(2)).counts[0] == 10


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_no_bin_holds_are_refused(value):
    observer = Observer()
    with pytest.raises(ValueError, match="NaN or infinity"):
        observer.add(torch.tensor([1.0, value]))


def test_an_observer_that_saw_nothing_says_so():
    observer = Observer()
    observer.add(torch.empty(0))
    with pytest.raises(ValueError, match="give calibration text"):
        observer.result()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda h: observers.percentile(h, 0), "above 0"),
        (lambda h: observers.percentile(h, 1.5), "at most 1"),
        (lambda h: observers.mse(h, qmax=0), "qmax"),
        (lambda h: observers.entropy(h, qmax=0), "qmax"),
        (lambda _: Observer(bins=3), "even"),
    ],
)
def test_settings_that_mean_nothing_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(observed(bell(10)))


def test_the_argument_is_left_alone():
    x = bell(10)
    kept = x.clone()
    observed(x)
    assert torch.equal(x, kept)
