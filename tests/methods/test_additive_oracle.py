"""Oracle: the layer and the kernel of the library `aqlm` decode our codes."""

import pytest
import torch

from course_utils.measure import aqlm_library
from course_utils.methods import additive
from course_utils.models.layers import weight_of
from course_utils.models.texts import calibration_tokens
from course_utils.models.walk import walk

NAMES = ("self_attn.q_proj", "self_attn.k_proj", "mlp.down_proj")
ROWS = 64  # of each matrix: enough groups for a codebook of 256


@pytest.fixture(scope="module")
def matrices(loaded, apart):
    apart("aqlm")
    block = next(walk(loaded.model, calibration_tokens()[:4]))
    stats = block.statistics(NAMES)
    return [(weight_of(block.linear[n]).detach()[:ROWS], stats[n]) for n in NAMES]


@pytest.mark.parametrize("n_codebooks", [1, 2, 3])
def test_the_kernel_decodes_our_codes_to_the_last_bit(matrices, n_codebooks):
    """An input with a single 1 adds one vector of each codebook and many zeros."""
    for w, stats in matrices:
        found = additive.quantize(w, stats, n_codebooks=n_codebooks, turns=1, beam=2)
        assert found.codes.max() > 127  # codes that a signed byte has to wrap
        assert torch.equal(aqlm_library.decoded(found), found.dequantize())


def test_the_kernels_output_is_ours(matrices):
    for w, stats in matrices:
        found = additive.quantize(w, stats, turns=1, beam=1)
        x = torch.randn(8, w.shape[1], generator=torch.Generator().manual_seed(0))
        ours, theirs = x @ found.dequantize().T, aqlm_library.output(found, x)
        # Sums of up to 1536 products, added in another order: each addition is
        # rounded to 2**-24 of a partial sum no larger than that of all sizes.
        sizes = x.abs() @ found.dequantize().abs().T
        assert ((ours - theirs).abs() <= w.shape[1] * 2**-24 * sizes).all()


def test_the_codes_are_left_as_they_are(matrices):
    w, stats = matrices[0]
    found = additive.quantize(w, stats, turns=0)
    before = found.codes.clone()
    aqlm_library.output(found, torch.ones(1, w.shape[1]))
    assert torch.equal(found.codes, before)


def test_a_library_refuses_half_precision(matrices):
    """aqlm 1.1.7 on a processor: float32 only. Take the trap out when this fails."""
    w, stats = matrices[0]
    found = additive.quantize(w, stats, turns=0)
    with pytest.raises(AssertionError, match="float32"):
        aqlm_library.output(found, torch.ones(1, w.shape[1], dtype=torch.bfloat16))
