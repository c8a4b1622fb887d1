"""LLM.int8() alone: its codes, its outliers, its product, and what it refuses."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils.methods.llm_int8 import (
    Int8Linear,
    matmul,
    outlier_columns,
    vectorwise,
)

EPS = 2.0**-24


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_loops(X, codes, amax, threshold):
    """Return the product one output at a time, in float64."""
    exact, X = X.double(), X.half().double()
    O = [h for h in range(X.shape[1]) if X[:, h].abs().max() >= threshold]
    Y = torch.zeros(len(X), len(codes), dtype=torch.float64)
    for t, row in enumerate(X):
        a = max((abs(x) for x in row.tolist() if abs(x) < threshold), default=0.0)
        for i in range(len(codes)):
            b = amax[i].item()
            for h, x in enumerate(row.tolist()):
                code = codes[i, h].item()
                if h in O:
                    Y[t, i] += exact[t, h] * code * b / 127
                elif a:
                    Y[t, i] += round(x * 127 / a) * code * a * b / 127**2
    return Y


@given(
    st.lists(
        st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_codes_err_by_half_a_step(rows):
    A = torch.tensor(rows, dtype=torch.float32)
    codes, amax = vectorwise(A)
    assert codes.dtype == torch.int8 and codes.abs().max() <= 127
    step = amax.double() / 127
    error = (A.double() - codes.double() * step).abs()
    # The quotient of at most 127 comes through two float32 roundings: 127 * 2 * EPS of
    # a step, and as much again for amax near the smallest normal float.
    assert (error <= step * (0.5 + 4 * 127 * EPS) + 2.0**-140).all()


def test_known_codes():
    codes, amax = vectorwise(torch.tensor([[127.0, 0.4, -0.6, 0.0], [0.0, 0, 0, 0]]))
    assert codes.tolist() == [[127, 0, -1, 0], [0, 0, 0, 0]]
    assert amax.tolist() == [[127.0], [0.0]]


def test_a_column_is_apart_from_the_threshold_on():
    X = torch.tensor([[1.0, 5.99, -6.0, 0.0], [2.0, 3.0, 0.0, 6.5]])
    assert outlier_columns(X).tolist() == [2, 3]
    assert outlier_columns(X, threshold=2.0).tolist() == [0, 1, 2, 3]
    assert outlier_columns(X, threshold=math.inf).tolist() == []


@pytest.mark.parametrize("threshold", [1.0, 6.0, math.inf])
def test_product_is_that_of_the_loops(threshold):
    X, W = normal(5, 24), normal(7, 24, seed=1)
    X[:, 3] *= 30
    X[2, 9] = -8.0
    codes, amax = vectorwise(W)
    found = matmul(X, codes, amax, threshold=threshold)
    wanted = by_loops(X, codes, amax, threshold)
    # 24 float32 terms of at most max|X| max|W| each, and three roundings after them.
    bound = 27 * EPS * 24 * X.abs().max() * W.abs().max()
    assert (found.double() - wanted).abs().max() <= bound


def test_a_large_value_widens_no_grid():
    X, W = normal(6, 32).clamp(-3, 3), normal(4, 32, seed=1)
    codes, amax = vectorwise(W)
    W_hat = codes * amax / 127
    plain = matmul(X, codes, amax) - X @ W_hat.T
    X[:, 0] = 500.0
    mixed = matmul(X, codes, amax) - X @ W_hat.T
    alone = matmul(X, codes, amax, threshold=math.inf) - X @ W_hat.T
    assert mixed.norm() < 1.5 * plain.norm()
    assert alone.norm() > 20 * mixed.norm()  # the step is over 100 times as wide


def test_sums_of_codes_are_exact():
    # 4,096 products of 127 * 127 are 66 million, more than float32 counts one by one.
    X = torch.full((1, 4096), 1.0)
    X[0, 0] = 1 / 127
    W = torch.full((1, 4096), 1.0)
    codes, amax = vectorwise(W)
    found = matmul(X, codes, amax).item()
    wanted = (4095 * 127 + 1) * 127 / 127**2
    assert found == pytest.approx(wanted, rel=4 * EPS)


def test_arguments_stay_as_they_are():
    X, W = 4 * normal(5, 8), normal(3, 8, seed=1)
    codes, amax = vectorwise(W)
    before = [x.clone() for x in (X, W, codes, amax)]
    matmul(X, codes, amax)
    for old, new in zip(before, (X, W, codes, amax), strict=True):
        assert torch.equal(old, new)


def test_layer_with_bias_and_batch():
    linear = torch.nn.Linear(8, 5)
    linear.weight.data, linear.bias.data = normal(5, 8), normal(5, seed=1)
    layer = Int8Linear(linear.weight, linear.bias)
    x = normal(2, 3, 8, seed=2)
    found = layer(x)
    assert found.shape == (2, 3, 5) and not found.requires_grad
    codes, amax = vectorwise(linear.weight.detach().half())
    wanted = matmul(x.reshape(6, 8), codes, amax) + linear.bias.detach()
    assert torch.equal(found.reshape(6, 5), wanted)
    doubled = Int8Linear(linear.weight, product=lambda *a, **k: 2 * matmul(*a, **k))
    assert torch.equal(doubled(x), 2 * (Int8Linear(linear.weight, threshold=6.0)(x)))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: vectorwise(torch.tensor([[1.0, math.nan]])), "NaN or infinity"),
        (lambda: vectorwise(torch.tensor([[1.0, -math.inf]])), "NaN or infinity"),
        (lambda: vectorwise(torch.ones(3)), "Give a matrix with columns"),
        (lambda: vectorwise(torch.ones(3, 0)), "Give a matrix with columns"),
        (lambda: outlier_columns(torch.ones(3)), "Give X as"),
        (lambda: outlier_columns(torch.ones(2, 3), threshold=0), "give infinity"),
        (lambda: outlier_columns(torch.ones(2, 3), threshold=math.nan), "above 0"),
        (lambda: matmul(torch.ones(2, 3), *vectorwise(torch.ones(2, 4))), "do not fit"),
        (
            lambda: matmul(
                torch.tensor([[math.nan, 1.0]]), *vectorwise(torch.ones(2, 2))
            ),
            "NaN or infinity",
        ),
    ],
)
def test_bad_input_is_one_sentence(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_no_token_is_no_output():
    found = matmul(torch.ones(0, 4), *vectorwise(torch.ones(2, 4)))
    assert found.shape == (0, 2)
