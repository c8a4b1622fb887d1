"""GGUF block types: gguf's bytes and values, half a step of error, refusals."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize
from hypothesis import given, settings

from course_utils.formats import gguf_blocks
from course_utils.formats.gguf_blocks import TYPES

EXACT = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4")
SEARCHED = ("IQ4_NL", "Q4_K", "Q6_K")
F32 = np.float32


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def adversarial(size):
    """Return blocks where encoders go wrong: ties, one sign, zeros, both extremes."""
    steps = torch.arange(size) % 16
    rows = [
        torch.zeros(size),
        -torch.zeros(size),
        torch.ones(size),
        -torch.ones(size),
        torch.linspace(1, 6, size),
        -torch.linspace(1, 6, size),
        torch.linspace(-8, 8, size),  # both ends have one magnitude
        torch.linspace(8, -8, size),
        steps.float() - 8,  # on the grid of Q4_0
        steps.float() - 7.5,  # between its points
        (torch.arange(size) % 32).float() - 15.5,
        (torch.arange(size) % 255).float() - 127.5,
        torch.where(steps == 3, 1e-30, 0.0),
        torch.where(steps == 3, 2.0**-110, 2.0**-120),  # float16 stores scale 0
        torch.where(steps == 3, 6e4, -3e-5),
        torch.where(steps == 5, 1.0, 0.5),  # ties of ternary types
        torch.where(steps == 5, -1.0, 0.49999997),
        # Ties of E2M1, and the number below a power of two.
        torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 6.0]).repeat(size // 8),
        -torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 7.9]).repeat(size // 8),
        torch.full((size,), float(np.nextafter(F32(0.0625), F32(0)))),
        torch.full((size,), float(np.nextafter(F32(4.0), F32(0)))),
    ]
    return torch.stack([row.float() for row in rows])


def theirs(w, name):
    # gguf divides by 0 in blocks of zeros and replaces the result.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return quantize(w.numpy(), GGMLQuantizationType[name])


def assert_same_bytes(w, name):
    np.testing.assert_array_equal(gguf_blocks.encode(w, name).numpy(), theirs(w, name))


@pytest.mark.parametrize("name", TYPES)
def test_sizes_are_those_of_gguf(name):
    kind = TYPES[name]
    sizes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    assert (kind.block_size, kind.n_bytes) == sizes
    assert kind.bits_per_weight == 8 * sizes[1] / sizes[0]


@pytest.mark.parametrize("name", TYPES)
def test_random_bytes_are_decoded_as_gguf_does(name):
    """Every field takes every value: also NaN and infinite scales."""
    shape = (40, 25 * TYPES[name].n_bytes)
    raw = torch.randint(0, 256, shape, generator=generator(), dtype=torch.uint8)
    with np.errstate(invalid="ignore", over="ignore"):
        expected = dequantize(raw.numpy(), GGMLQuantizationType[name])
    got = gguf_blocks.decode(raw, name)
    np.testing.assert_array_equal(got.numpy(), expected)
    assert got.isfinite().float().mean() > 0.8


@pytest.mark.parametrize("name", EXACT)
def test_random_weights_become_gguf_bytes(name):
    for seed, scale in enumerate([1.0, 0.03, 1e-4, 1e3]):
        w = scale * torch.randn(48, 1536, generator=generator(seed))
        assert_same_bytes(w, name)
        assert_same_bytes(w.bfloat16().float(), name)  # coarse numbers have more ties


@pytest.mark.parametrize("name", EXACT)
def test_adversarial_blocks_become_gguf_bytes(name):
    w = adversarial(TYPES[name].block_size)
    if name in ("Q4_1", "Q5_1"):
        # Which of 0 and -0 is the minimum depends on the order of the comparisons.
        w = w + 0.0
    assert_same_bytes(w, name)


@pytest.mark.parametrize("name", EXACT)
def test_real_weights_become_gguf_bytes(name, embedded_model):
    layer = embedded_model.model.layers[10].mlp
    for weight in (layer.down_proj.weight, embedded_model.lm_head.weight[:1024]):
        w = weight.detach().reshape(-1, TYPES[name].block_size)
        assert_same_bytes(w, name)


@settings(max_examples=100)
@given(
    values=st.lists(
        st.floats(-1e4, 1e4, width=32).map(lambda x: 0.0 if abs(x) < 1e-30 else x),
        min_size=32,
        max_size=32,
    ),
    name=st.sampled_from(EXACT),
)
def test_any_block_becomes_gguf_bytes(values, name):
    w = torch.tensor(values).repeat(TYPES[name].block_size // 32)[None]
    assert_same_bytes(w, name)


def widest_gap(name):
    """Return the largest distance between values of a block with scale 1."""
    return {"Q4_1": 1 / 15, "Q5_1": 1 / 31, "Q8_0": 1 / 127}.get(name)


@pytest.mark.parametrize("name", ["Q4_1", "Q5_1", "Q8_0"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_error_is_at_most_half_a_step(name, sign):
    """One-signed blocks too; the float16 scale adds its own rounding."""
    w = sign * torch.linspace(1, 6, 64)[None]
    w_hat = gguf_blocks.decode(gguf_blocks.encode(w, name), name)
    extent = w.abs().amax() if name == "Q8_0" else w.amax() - w.amin()
    step = extent * widest_gap(name)
    # A float16 errs by 2**-11 of itself: the scale by that of up to 6, m the same.
    assert (w - w_hat).abs().max() <= step / 2 + 2 * 6 * 2**-11


@pytest.mark.parametrize("name", EXACT + SEARCHED)
def test_zero_blocks_stay_zero_and_find_no_nan(name):
    w = torch.zeros(3, 512)
    assert (gguf_blocks.decode(gguf_blocks.encode(w, name), name) == 0).all()
    w[1] = torch.randn(512, generator=generator())
    w_hat = gguf_blocks.decode(gguf_blocks.encode(w, name), name)
    assert (w_hat[[0, 2]] == 0).all()
    assert w_hat.isfinite().all()
    if not name.startswith("TQ"):  # three values lose most of a Gaussian
        assert (w_hat[1] - w[1]).square().mean() < 0.02 * w[1].square().mean()


@pytest.mark.parametrize("name", EXACT + SEARCHED)
def test_arguments_are_not_changed_and_pieces_do_not_show(name, monkeypatch):
    w = torch.randn(6, 512, generator=generator())
    before = w.clone()
    raw = gguf_blocks.encode(w, name)
    kept = raw.clone()
    w_hat = gguf_blocks.decode(raw, name)
    assert torch.equal(w, before)
    assert torch.equal(raw, kept)
    assert raw.shape == (6, 512 // TYPES[name].block_size * TYPES[name].n_bytes)
    assert w_hat.shape == w.shape
    monkeypatch.setattr(gguf_blocks, "PIECE", 700)
    assert torch.equal(gguf_blocks.encode(w, name), raw)
    assert torch.equal(gguf_blocks.decode(raw, name), w_hat)


@pytest.mark.parametrize("name", EXACT + SEARCHED)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_weights_without_a_scale_are_refused(name, bad):
    w = torch.ones(2, 512)
    w[1, 300] = bad
    if name == "MXFP4" and bad == 3e38:  # powers of two reach as far as float32
        assert gguf_blocks.encode(w, name).shape == (2, 16 * 17)
        return
    with pytest.raises(ValueError, match="NaN or infinity"):
        gguf_blocks.encode(w, name)


@pytest.mark.parametrize("name", EXACT + SEARCHED)
def test_the_smallest_numbers_do_no_harm(name):
    w = torch.full((1, 256), 2.0**-149)
    w[0, ::2] *= -3
    w_hat = gguf_blocks.decode(gguf_blocks.encode(w, name), name)
    assert (w_hat.abs() <= 2.0**-125).all()  # the smallest value but 0 of MXFP4


def test_refusals_say_what_to_do():
    w = torch.ones(2, 512)
    with pytest.raises(ValueError, match=r"Unknown block type 'Q9'.*Q4_0"):
        gguf_blocks.encode(w, "Q9")
    with pytest.raises(ValueError, match=r"Q2_K is only decoded here; encode Q4_0"):
        gguf_blocks.encode(w, "Q2_K")
    for shape in ((2, 48), (0, 32), (), (3, 0)):
        with pytest.raises(ValueError, match="blocks of 32 weights"):
            gguf_blocks.encode(torch.ones(shape), "Q4_0")
    with pytest.raises(ValueError, match=r"bytes \(uint8\), got torch\.int32"):
        gguf_blocks.decode(torch.ones(18, dtype=torch.int32), "Q4_0")
    for shape in ((2, 17), (0, 18), ()):
        with pytest.raises(ValueError, match="blocks of 18 bytes"):
            gguf_blocks.decode(torch.ones(shape, dtype=torch.uint8), "Q4_0")
