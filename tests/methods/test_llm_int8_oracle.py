"""LLM.int8() against bitsandbytes in evaluation mode, on inputs of the real model.

What differs, and is named here:

    the factor     on processors the library multiplies by 6.200124e-05 where 1 / 127^2
                   is 6.2000124e-05; a digit is missing
    the rounding   it computes in the dtype of its input, we in float32
"""

import logging

import bitsandbytes as bnb
import pytest
import torch

from course_utils.methods import llm_int8
from course_utils.models import activations, layers
from course_utils.models.texts import calibration_tokens

THEIR_FACTOR = 6.200124e-05
EPS = 2.0**-24
# One input with hardly an outlier, one with few, one with many.
CASES = (("attention", 10), ("down", 0), ("down", 28), ("mlp", 29))
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


@pytest.fixture(scope="module")
def inputs(loaded):
    """What four matrices read on two windows of text, (tokens, channels)."""
    found = {}

    def keep(site, layer, x):
        if (site, layer) in CASES:
            found[site, layer] = x.detach().flatten(0, 1).clone()

    with torch.no_grad(), activations.watched(loaded.model, keep):
        loaded.model(calibration_tokens()[:2], use_cache=False, logits_to_keep=1)
    return found


def weight_of(loaded, case):
    site, layer = case
    name = activations.readers(loaded.model.config)[site]
    module = activations.decoder_layers(loaded.model)[layer].get_submodule(name)
    return layers.weight_of(module).detach().clone()


def library_layer(weight, threshold=6.0):
    """Return bitsandbytes' layer in evaluation mode; in training it rounds nothing."""
    rows, cols = weight.shape
    layer = bnb.nn.Linear8bitLt(
        cols, rows, bias=False, has_fp16_weights=False, threshold=threshold
    )
    layer.weight = bnb.nn.Int8Params(
        weight.clone(), requires_grad=False, has_fp16_weights=False
    )
    return layer.to("cpu").eval()


def integer_part(X, codes, amax):
    """Return what our product computes in integers: the rest of the float part."""
    O = llm_int8.outlier_columns(X.half())
    W_O = codes[:, O].float() * amax / 127
    return llm_int8.matmul(X, codes, amax) - X[:, O].float() @ W_O.T


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_columns_codes_and_outputs_are_the_librarys(loaded, inputs, case, dtype):
    W, X = weight_of(loaded, case), inputs[case].to(dtype)
    theirs = library_layer(W)
    with torch.no_grad():
        Y = theirs(X)
    codes, amax = llm_int8.vectorwise(W.half())
    O = llm_int8.outlier_columns(X.half())
    assert torch.equal(theirs.state.CB, codes)
    assert torch.equal(theirs.state.SCB, amax[:, 0])
    assert theirs.state.idx.tolist() == O.tolist()
    assert Y.dtype == dtype
    ours = llm_int8.matmul(X, codes, amax)
    ours += (THEIR_FACTOR * 127**2 - 1) * integer_part(X, codes, amax)
    # Sums of n float32 terms differ by n * EPS of the sum of their magnitudes; in 16
    # bits the library rounds the weights of O, the integer part and the result.
    size = X.float().abs() @ (codes.float().abs() * amax / 127).T
    eps = torch.finfo(dtype).eps / 2
    rounding = 0 if dtype == torch.float32 else 3 * eps
    bound = (X.shape[1] * EPS + rounding) * size
    assert ((Y.float() - ours).abs() <= bound).all()


def test_the_missing_digit_is_still_there(loaded, inputs):
    """If this fails, the library has mended its factor: say so in lesson 07."""
    W, X = weight_of(loaded, CASES[0]), inputs[CASES[0]]
    codes, amax = llm_int8.vectorwise(W.half())
    with torch.no_grad():
        Y = library_layer(W)(X)
    part = integer_part(X, codes, amax)
    factor = (
        1 + ((Y - llm_int8.matmul(X, codes, amax)) * part).sum() / part.square().sum()
    )
    assert factor.item() == pytest.approx(THEIR_FACTOR * 127**2, abs=2e-6)


def test_outliers_of_the_real_model_need_the_float_part(loaded, inputs):
    W, X = weight_of(loaded, ("down", 28)), inputs["down", 28]
    codes, amax = llm_int8.vectorwise(W.half())
    exact = X @ W.T

    def middle(threshold):
        Y = llm_int8.matmul(X, codes, amax, threshold=threshold)
        return ((Y - exact).norm(dim=1) / exact.norm(dim=1)).median()

    assert len(llm_int8.outlier_columns(X.half())) > 10
    assert middle(6.0) < 0.8 * middle(float("inf"))
