"""Bits per weight, against counts of what is really stored."""

import pytest
import torch

from course_utils.formats import affine, blockwise, double_quant, packing, storage
from course_utils.formats.affine import QuantSpec
from course_utils.formats.codebooks import NF4


def test_a_group_shares_its_scale_and_zero_point():
    w = torch.randn(4, 256, generator=torch.Generator().manual_seed(0))
    spec = QuantSpec(bits=4, group_size=32)
    scale, zero_point = affine.choose_qparams(w, spec=spec)
    packed = packing.pack(affine.quantize(w, scale, zero_point, spec=spec), 4)
    zeros = packing.pack(zero_point, 4)
    n_bytes = packed.numel() + scale.half().nbytes + zeros.numel()
    expected = storage.bits_per_weight(4, group_size=32, scale_bits=16, zero_bits=4)
    assert 8 * n_bytes / w.numel() == expected
    assert storage.bits_per_weight(4, group_size=32) == 4.5


@pytest.mark.parametrize("double", [False, True])
def test_nf4_bits_are_those_stored(double):
    w = torch.randn(64 * 256 * 2, generator=torch.Generator().manual_seed(0))
    codes, absmax = blockwise.quantize(w, NF4)
    n_bytes = packing.pack_nibbles(codes).nbytes
    if double:
        nested = double_quant.quantize_absmax(absmax)
        n_bytes += nested.codes.nbytes + nested.scale.nbytes
    else:
        n_bytes += absmax.nbytes
    assert 8 * n_bytes / w.numel() == storage.nf4_bits(double=double)


def test_blocks_of_files():
    assert storage.block_bits(18, block_size=32) == 4.5  # Q4_0: 16 bytes and FP16
    assert storage.block_bits(34, block_size=32) == 8.5  # Q8_0: 32 bytes and FP16
    # MXFP4: E2M1 in blocks of 32 with an E8M0 scale.
    assert storage.bits_per_weight(4, group_size=32, scale_bits=8) == 4.25


def test_refusals_say_what_to_do():
    with pytest.raises(ValueError, match="group_size must be at least 1, got 0"):
        storage.bits_per_weight(4, group_size=0)
    with pytest.raises(ValueError, match="must not be negative"):
        storage.bits_per_weight(4, group_size=64, scale_bits=-1)
    with pytest.raises(ValueError, match="group_size must be at least 1"):
        storage.nf4_bits(0)
