"""W8A8: exact integer sums, granularity of the input's scale, and an oracle."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from course_utils.methods import w8a8
from course_utils.methods.w8a8 import (
    MAX_COLS,
    QMAX,
    W8A8Linear,
    codes,
    input_scale,
    int8_linear,
    quantize_weight,
)

EPS = 2.0**-24  # half a float32 spacing at 1
# x / scale is at most 127 and each of its two operations errs by EPS of that.
SLACK = 3 * QMAX * EPS


def randn(*shape, seed=0):
    """Return normal values of a fixed seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 500), per=st.sampled_from(["token", "tensor"]))
def test_inputs_move_by_at_most_half_a_step(seed, per):
    x = randn(6, 16, seed=seed) * 10 ** randn(6, 1, seed=seed + 1)
    scale = input_scale(x, per=per)
    error = (x - codes(x, scale).float() * scale).abs() / scale
    assert error.max() <= 0.5 + SLACK


@pytest.mark.parametrize("shape", [(1, 8, 3), (5, 576, 64), (33, 1536, 7)])
@pytest.mark.parametrize("per", ["token", "tensor"])
@pytest.mark.parametrize("per_row", [True, False])
def test_the_integer_product_is_that_of_the_rebuilt_values(shape, per, per_row):
    tokens, cols, rows = shape
    x, w = randn(tokens, cols), randn(rows, cols, seed=1)
    x_scale = input_scale(x, per=per)
    q, scale = quantize_weight(w, per_row=per_row)
    rebuilt_x = codes(x, x_scale).double() * x_scale.double()
    rebuilt_w = q.double() * scale.double()
    expected = rebuilt_x @ rebuilt_w.T
    found = int8_linear(x, q, scale, x_scale=x_scale).double()
    # The sum is exact. Its conversion and two products round, EPS each.
    assert ((found - expected).abs() <= 3.01 * EPS * expected.abs()).all()


def test_the_longest_sum_does_not_overflow():
    x, w = torch.ones(1, MAX_COLS), torch.ones(2, MAX_COLS)
    q, scale = quantize_weight(w)
    assert torch._int_mm(codes(x, input_scale(x)), q.T).tolist() == [
        [MAX_COLS * QMAX**2] * 2
    ]
    assert MAX_COLS * QMAX**2 < 2**31 <= (MAX_COLS + 1) * QMAX**2
    with pytest.raises(ValueError, match=f"at most {MAX_COLS}"):
        int8_linear(torch.ones(1, MAX_COLS + 1), torch.ones(1, MAX_COLS + 1), scale)


def test_an_outlier_harms_its_token_and_with_one_scale_all_of_them():
    x, w = randn(8, 64), randn(16, 64, seed=1)
    spoiled = x.clone()
    spoiled[0, 5] = 1000.0
    layers = {per: W8A8Linear(w, per=per) for per in ("token", "tensor")}
    assert torch.equal(layers["token"](spoiled)[1:], layers["token"](x)[1:])
    exact = x @ w.T
    fine = (layers["tensor"](x) - exact).norm()
    coarse = (layers["tensor"](spoiled)[1:] - exact[1:]).norm()
    # The step grew from about 3 / 127 to 1000 / 127.
    assert coarse > 30 * fine


def test_a_static_scale_saturates_what_lies_beyond_it():
    static = W8A8Linear(torch.eye(4), per=1.0 / QMAX)
    x = torch.tensor([[0.5, -1.0, 3.0, -200.0]])
    assert torch.allclose(static(x), x.clamp(-1, 1), atol=0.5 / QMAX + 1e-6)


def test_a_token_of_zeros_gives_zeros():
    x = torch.zeros(2, 8)
    x[1, 0] = 1
    y = W8A8Linear(torch.eye(8))(x)
    assert torch.equal(y[0], torch.zeros(8))
    assert y[1, 0] == pytest.approx(1, rel=4 * EPS)


def test_the_layer_keeps_shape_dtype_and_bias():
    exact = nn.Linear(16, 5)
    layer = W8A8Linear(exact.weight, exact.bias)
    x = randn(2, 3, 16)
    y = layer(x)
    assert y.shape == (2, 3, 5)
    rows = int8_linear(x.flatten(0, 1), *quantize_weight(exact.weight.detach()))
    assert torch.equal(y.flatten(0, 1), rows + exact.bias)
    assert layer(x.bfloat16()).dtype == torch.bfloat16
    assert (layer.out_features, layer.in_features) == (5, 16)
    assert sum(b.numel() * b.itemsize for b in [layer.q]) == 5 * 16


def test_one_scale_for_the_matrix_is_coarser():
    w = randn(4, 32) * torch.tensor([[0.01], [0.1], [1.0], [10.0]])
    fine, coarse = (quantize_weight(w, per_row=p) for p in (True, False))
    assert fine[1].shape == (4, 1)
    assert coarse[1].shape == (1, 1)
    assert (coarse[0][0] == 0).all()  # a hundredth of the largest step's half
    assert fine[0][0].abs().max() == QMAX


def test_bitsandbytes_gives_the_same_codes():
    """Oracle: the rounding of inputs in LLM.int8(), without its outliers."""
    functional = pytest.importorskip("bitsandbytes.functional")
    x = randn(64, 576).half().float()  # it rounds its input to 16 bits first
    theirs, absmax, _ = functional.int8_vectorwise_quant(x.half())
    scale = input_scale(x)
    assert torch.allclose(absmax.float()[:, None] / QMAX, scale, rtol=4 * EPS)
    ours = codes(x, scale)
    differs = ours != theirs
    # They multiply by 127 / absmax, maybe in 16 bits, where we divide: only a value
    # within 127 * 2**-11 of a tie can fall on the other side.
    near_tie = ((x / scale).remainder(1) - 0.5).abs() < QMAX * 2**-11
    assert not (differs & ~near_tie).any()
    assert (ours - theirs.int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: input_scale(torch.ones(2, 2), per="channel"), "one of token, tensor"),
        (lambda: input_scale(torch.ones(4)), r"\(tokens, cols\) with values"),
        (lambda: input_scale(torch.ones(0, 4)), r"\(tokens, cols\) with values"),
        (lambda: input_scale(torch.full((1, 2), float("nan"))), "NaN or infinity"),
        (lambda: input_scale(torch.tensor([[1, -float("inf")]])), "NaN or infinity"),
        (lambda: quantize_weight(torch.full((1, 2), float("nan"))), "NaN or infinity"),
        (
            lambda: W8A8Linear(torch.ones(2, 2), per="row"),
            "token, tensor or a positive",
        ),
        (lambda: W8A8Linear(torch.ones(2, 2), per=0.0), "positive scale, got 0.0"),
        (lambda: W8A8Linear(torch.ones(2, 2), per=float("nan")), "positive scale"),
        (lambda: W8A8Linear(torch.ones(2, 3))(torch.ones(1, 2)), "2 columns and q 3"),
    ],
)
def test_what_cannot_be_done_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_arguments_are_not_changed():
    x, w = randn(4, 8), randn(3, 8, seed=1)
    before = x.clone(), w.clone()
    W8A8Linear(w)(x)
    assert torch.equal(x, before[0])
    assert torch.equal(w, before[1])
    assert w8a8.QMAX == 127
