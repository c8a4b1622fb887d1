"""Blockwise quantization: error, blocks of one sign and of zeros, refusals."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from course_utils.formats import blockwise, codebooks
from course_utils.formats.codebooks import CODEBOOKS, NF4

values = st.floats(-1e4, 1e4, width=32).map(lambda x: 0.0 if abs(x) < 1e-6 else x)


@settings(max_examples=200, deadline=None)
@given(
    w=st.lists(values, min_size=1, max_size=70).map(torch.tensor),
    name=st.sampled_from(sorted(CODEBOOKS)),
    block_size=st.sampled_from([1, 8, 64]),
)
def test_error_is_at_most_half_the_widest_gap(w, name, block_size):
    book = CODEBOOKS[name]
    codes, absmax = blockwise.quantize(w, book, block_size=block_size)
    w_hat = blockwise.dequantize(codes, absmax, book, block_size=block_size)
    ranked = torch.tensor(sorted(book.values))
    reach = (ranked.diff().max() / 2).item()
    # 1 / absmax, the product, the bound and the rebuilt product round once each: four
    # errors of 2**-24 of numbers up to absmax.
    scale = absmax.repeat_interleave(block_size)[: len(w)]
    assert ((w - w_hat).abs() <= (reach + 4 * 2**-24) * scale).all()
    assert (w_hat[w == 0] == 0).all()


@pytest.mark.parametrize("name", CODEBOOKS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_block_of_one_sign_keeps_its_largest_value(name, sign):
    w = sign * torch.linspace(1, 6, 64)
    codes, absmax = blockwise.quantize(w, CODEBOOKS[name])
    assert absmax.tolist() == [6]
    w_hat = blockwise.dequantize(codes, absmax, CODEBOOKS[name])
    assert w_hat[-1] == sign * 6


def test_a_block_of_zeros_stays_zero():
    w = torch.cat([torch.zeros(64), torch.ones(64), torch.zeros(5)])
    codes, absmax = blockwise.quantize(w, NF4)
    assert absmax[:2].tolist() == [0, 1]
    assert torch.equal(blockwise.dequantize(codes, absmax, NF4), w)


def test_blocks_run_over_the_flattened_tensor():
    w = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    codes, absmax = blockwise.quantize(w, NF4, block_size=64)
    assert (codes.shape, codes.dtype) == (w.shape, torch.uint8)
    assert absmax.tolist() == [b.abs().max().item() for b in w.flatten().split(64)]
    by_hand = codebooks.encode(w.flatten()[64:128] * (1 / absmax[1]), NF4)
    assert codes.flatten()[64:128].tolist() == by_hand.tolist()
    assert blockwise.dequantize(codes, absmax, NF4).shape == w.shape


@pytest.mark.parametrize("name", CODEBOOKS)
@pytest.mark.parametrize("n", [64, 40])
def test_the_error_holds_from_the_smallest_absmax_on(name, n):
    book = CODEBOOKS[name]
    reach = (torch.tensor(sorted(book.values)).diff().max() / 2).item()
    shape = torch.linspace(-1, 1, n)

    def worst(largest):
        w = largest * shape
        codes, absmax = blockwise.quantize(w, book)
        w_hat = blockwise.dequantize(codes, absmax, book)
        return ((w - w_hat).double().abs().max() / absmax.double()).item()

    # Four roundings of 2**-24 as above. Two of them, of numbers near 1e-38, are to
    # multiples of 2**-149: half of that is 2**-150 / 1e-38 < 2**-23 of absmax.
    assert worst(1.001e-38) <= reach + 4 * 2**-24 + 2 * 2**-23
    # Below, a whole block is divided by 1e-38, too much: codes near 0 for all.
    if n == 64:
        assert worst(1e-39) > 2 * reach


def test_more_blocks_than_a_piece_and_a_transposed_tensor():
    w = torch.randn(64, 2 * blockwise.PIECE // 64 + 1)
    codes, absmax = blockwise.quantize(w.T, NF4)
    for start in (0, blockwise.PIECE, w.numel() - 64):
        block = w.T.flatten()[start : start + 64]
        one, largest = blockwise.quantize(block, NF4)
        assert torch.equal(codes.flatten()[start : start + 64], one)
        assert absmax[start // 64] == largest[0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 63, 64, 99])
def test_nan_and_infinity_are_refused(bad, place):
    w = torch.ones(100)
    w[place] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        blockwise.quantize(w, NF4)


def test_refusals_say_what_to_do():
    with pytest.raises(ValueError, match="block_size must be at least 1, got 0"):
        blockwise.quantize(torch.ones(8), NF4, block_size=0)
    codes, absmax = blockwise.quantize(torch.ones(128), NF4)
    with pytest.raises(
        ValueError, match="128 codes are 4 blocks of 32, but there are 2"
    ):
        blockwise.dequantize(codes, absmax, NF4, block_size=32)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_codes_of_any_integer_type_are_read(dtype):
    w = torch.randn(100, generator=torch.Generator().manual_seed(0))
    codes, absmax = blockwise.quantize(w, NF4)
    expected = blockwise.dequantize(codes, absmax, NF4)
    assert torch.equal(blockwise.dequantize(codes.to(dtype), absmax, NF4), expected)


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (torch.tensor([0, -1]), "Codes of NF4 run from 0 to 15"),
        (torch.tensor([16, 0]), "Codes of NF4 run from 0 to 15"),
        (torch.tensor([0, 16], dtype=torch.uint8), "Codes of NF4 run from 0 to 15"),
        (torch.tensor([1.7, 2.0]), "Codes are integers, got torch.float32"),
    ],
)
def test_codes_beyond_the_codebook_are_refused(codes, words):
    with pytest.raises(ValueError, match=words):
        blockwise.dequantize(codes, torch.ones(1), NF4)
