"""Encoders that search for scales, against ggml's: the same error, nearly its bytes."""

import pytest
import torch

from course_utils.formats import gguf_blocks, gguf_k, gguf_k_encode
from course_utils.formats.gguf_fields import (
    away_from_zero,
    gather,
    gather_bits,
    spread,
)
from course_utils.models import ggml_blocks, llama_cpp

SEARCHED = ("IQ4_NL", "Q4_K", "Q6_K")
built = pytest.mark.skipif(not llama_cpp.available(), reason=llama_cpp.MISSING)


def rmse(raw, w, name):
    return (gguf_blocks.decode(raw, name) - w).square().mean().sqrt().item()


def compared(w, name):
    """Return our error as a multiple of ggml's, and the share of other bytes."""
    ours, theirs = gguf_blocks.encode(w, name), ggml_blocks.encode(w, name)
    return rmse(ours, w, name) / rmse(theirs, w, name), (ours != theirs).float().mean()


@built
@pytest.mark.parametrize("name", SEARCHED)
@pytest.mark.parametrize("layer", [0, 10, 28])
def test_error_on_real_weights_is_ggmls(name, layer, embedded_model):
    w = embedded_model.model.layers[layer].mlp.down_proj.weight.detach()
    ratio, other = compared(w, name)
    # The demand of the parity table; the searches take the same steps, so that only
    # sums rounded otherwise can choose another of two nearly equal candidates.
    assert abs(ratio - 1) <= 0.01
    assert other < 0.01


@built
@pytest.mark.parametrize("name", SEARCHED)
@pytest.mark.parametrize("kind", ["gaussian", "one-signed", "outlier", "heavy"])
def test_error_on_other_shapes_is_at_most_one_percent_more(name, kind):
    w = torch.randn(64, 512, generator=torch.Generator().manual_seed(0))
    if kind == "one-signed":
        w = 1 + 0.1 * w.abs()
    elif kind == "outlier":
        w[:, ::100] *= 30
    elif kind == "heavy":
        w = w**3
    ratio, _ = compared(w, name)
    assert ratio <= 1.01


@built
@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ2_0"])
def test_encoders_without_search_give_the_bytes_of_the_c_library(name):
    w = torch.randn(64, 512, generator=torch.Generator().manual_seed(1))
    assert torch.equal(gguf_blocks.encode(w, name), ggml_blocks.encode(w, name))


@built
def test_what_the_c_library_would_not_survive_is_refused():
    w = torch.ones(2, 256)
    with pytest.raises(ValueError, match="importance matrix"):
        ggml_blocks.encode(w, "IQ2_XXS")
    with pytest.raises(ValueError, match="no block type"):
        ggml_blocks.encode(w, "F32")
    with pytest.raises(ValueError, match="blocks of 256"):
        ggml_blocks.encode(torch.ones(2, 128), "Q4_K")
    w[0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity"):
        ggml_blocks.encode(w, "Q4_K")


@pytest.mark.parametrize("name", SEARCHED)
def test_a_search_beats_the_first_guess(name, monkeypatch):
    """With the weights' own extremes as the range the error is larger."""
    w = torch.randn(64, 512, generator=torch.Generator().manual_seed(2))
    searched = rmse(gguf_blocks.encode(w, name), w, name)
    if name == "IQ4_NL":
        monkeypatch.setattr("course_utils.formats.gguf_iq4.PLACES", (-127,))
    elif name == "Q4_K":
        monkeypatch.setattr(gguf_k_encode, "STEPS_Q4_K", ())
    else:
        monkeypatch.setattr(gguf_k_encode, "STEPS_Q6_K", (32,))
    assert searched < rmse(gguf_blocks.encode(w, name), w, name)


def test_a_positive_minimum_is_stored_as_zero():
    w = torch.linspace(1, 2, 256)[None]
    raw = gguf_blocks.encode(w, "Q4_K")
    _, minima = gguf_k.six_bit_pairs(raw[:, 4:16])
    assert (minima == 0).all()


def test_six_bit_pairs_come_back():
    numbers = torch.arange(64, dtype=torch.uint8).repeat(2)[torch.randperm(128)]
    scales, minima = numbers[:64].reshape(8, 8), numbers[64:].reshape(8, 8)
    packed = gguf_k_encode.pack_six_bit_pairs(scales, minima)
    assert packed.shape == (8, 12)
    got = gguf_k.six_bit_pairs(packed)
    assert torch.equal(got[0], scales)
    assert torch.equal(got[1], minima)


@pytest.mark.parametrize(("bits", "run"), [(4, 16), (4, 32), (4, 64), (2, 32), (1, 32)])
def test_gather_and_spread_are_inverse(bits, run):
    codes = torch.randint(0, 2**bits, (5, 256), dtype=torch.uint8)
    packed = gather(codes, bits, run)
    assert packed.shape == (5, 256 * bits // 8)
    assert torch.equal(spread(packed, bits, run), codes)
    # Code 0 and code `run` share the first byte.
    assert (packed[:, 0] >> bits & (2**bits - 1)).equal(codes[:, run])


def test_gathered_bits_stand_in_order():
    codes = torch.randint(0, 2, (300, 32), dtype=torch.uint8)
    packed = gather_bits(codes)
    assert torch.equal(spread(packed, 1, 1), codes)
    assert torch.equal(packed[:, 0] & 1, codes[:, 0])
    assert gather_bits(torch.ones(1, 32, dtype=torch.uint8)).tolist() == [[255] * 4]


def test_ties_are_rounded_away_from_zero():
    x = torch.tensor([-2.5, -0.5, -0.49999997, 0.49999997, 0.5, 1.5, 126.5])
    assert away_from_zero(x).tolist() == [-3, -1, 0, 0, 1, 2, 127]
