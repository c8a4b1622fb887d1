"""Packing: the two orders of bits, and unpack as the inverse of pack."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from course_utils.formats import packing


@settings(max_examples=300, deadline=None)
@given(data=st.data(), bits=st.integers(1, 8))
def test_unpack_is_the_inverse_of_pack(data, bits):
    codes = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40))
    packed = packing.pack(torch.tensor(codes, dtype=torch.int64), bits)
    assert packed.dtype == torch.uint8
    assert len(packed) == -(-len(codes) * bits // 8)
    assert packing.unpack(packed, bits, len(codes)).tolist() == codes
    # Oracle: one integer of arbitrary length, lowest bits first.
    stream = sum(code << (bits * i) for i, code in enumerate(codes))
    assert bytes(packed.tolist()) == stream.to_bytes(len(packed), "little")


@settings(max_examples=100, deadline=None)
@given(codes=st.lists(st.integers(0, 15), max_size=9))
def test_nibbles_have_the_first_code_in_the_high_half(codes):
    packed = packing.pack_nibbles(torch.tensor(codes, dtype=torch.int64), fill=7)
    even = codes + [7] * (len(codes) % 2)
    expected = [16 * even[i] + even[i + 1] for i in range(0, len(even), 2)]
    assert packed.tolist() == expected
    assert packing.unpack_nibbles(packed, len(codes)).tolist() == codes


def test_refusals_say_what_to_do():
    codes = torch.tensor([0, 8])
    with pytest.raises(ValueError, match="bits must be 1 to 8, got 9"):
        packing.pack(codes, 9)
    with pytest.raises(ValueError, match="Codes of 3 bits run from 0 to 7"):
        packing.pack(codes, 3)
    for dtype in (torch.uint8, torch.int64):
        with pytest.raises(ValueError, match="Codes of 4 bits run from 0 to 15"):
            packing.pack_nibbles(torch.tensor([16], dtype=dtype))
    for fill in (-1, 16, 99, 1.5):
        with pytest.raises(ValueError, match=f"from 0 to 15, got {fill}"):
            packing.pack_nibbles(torch.tensor([5]), fill=fill)
    packed = packing.pack(codes, 4)
    with pytest.raises(ValueError, match="1 bytes hold 2 codes, not 3"):
        packing.unpack(packed, 4, 3)
    with pytest.raises(ValueError, match="1 bytes hold 2 codes, not 3"):
        packing.unpack_nibbles(packed, 3)
    with pytest.raises(ValueError, match=r"bytes \(uint8\), got torch.int64"):
        packing.unpack(codes, 4, 1)
