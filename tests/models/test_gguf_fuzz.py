"""GGUF files that are wrong in every field: a sentence, quickly, or a sound header."""

import struct
import time

import hypothesis.strategies as st
import pytest
from gguf import GGUFValueType
from hypothesis import HealthCheck, given, settings

from course_utils.models import gguf_header
from course_utils.models.gguf_header import MAGIC, START, StoredTensor, read_header

U32, U64 = GGUFValueType.UINT32, GGUFValueType.UINT64
ARRAY = GGUFValueType.ARRAY
fuzzed = settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def assert_sound_or_refused(path):
    """Read `path`; return True if it was refused in one sentence."""
    start = time.process_time()
    try:
        header = read_header(path)
    except ValueError as error:
        assert str(error).count(". ") == 0
        assert str(error).endswith(".")
        return True
    finally:
        assert time.process_time() - start < 2
    end = sum(tensor.n_bytes for tensor in header.tensors.values())
    assert end <= path.stat().st_size
    return False


def whole(fields=(), tensors=(), *, data=b"", counts=None):
    """Return a file made of parts that need not fit each other."""
    n_tensors, n_fields = counts or (len(tensors), len(fields))
    content = START.pack(MAGIC, 3, n_tensors, n_fields)
    content += b"".join(gguf_header.packed_field(*field) for field in fields)
    content += b"".join(gguf_header.packed_tensor(*tensor) for tensor in tensors)
    return content + bytes(-len(content) % 32) + data


GOOD = whole(
    fields=[("a", U32, struct.pack("<I", 7)), ("b", U64, bytes(8))],
    tensors=[
        ("x", StoredTensor("Q4_0", (2, 64), 0)),
        ("y", StoredTensor("F32", (3,), 96)),
    ],
    data=bytes(96 + 12),
)


def test_the_good_file_is_read(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(GOOD)
    assert not assert_sound_or_refused(path)
    path.write_bytes(GOOD + bytes(20))  # padded to the alignment
    assert not assert_sound_or_refused(path)


@fuzzed
@given(content=st.binary(max_size=400))
def test_random_bytes_after_the_magic(content, tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(MAGIC + struct.pack("<I", 3) + content)
    assert_sound_or_refused(path)


@fuzzed
@given(
    changes=st.lists(
        st.tuples(st.integers(8, len(GOOD) - 1), st.integers(0, 255)),
        min_size=1,
        max_size=4,
    ),
    cut=st.integers(0, len(GOOD)),
)
def test_changed_and_cut_files(changes, cut, tmp_path):
    content = bytearray(GOOD)
    for place, value in changes:
        content[place] = value
    path = tmp_path / "x.gguf"
    path.write_bytes(content[: len(GOOD) if cut % 3 else cut])
    assert_sound_or_refused(path)


@fuzzed
@given(
    number=st.sampled_from([2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1]),
    place=st.integers(8, len(GOOD) - 8),
)
def test_numbers_far_too_large(number, place, tmp_path):
    content = GOOD[:place] + struct.pack("<Q", number) + GOOD[place + 8 :]
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    assert_sound_or_refused(path)


def nested(depth):
    """Return an array of arrays of arrays."""
    return struct.pack("<IQ", ARRAY, 1) * depth + struct.pack("<IQ", U32, 0)


WRONG = {
    "longer than described": GOOD + bytes(32),
    "cut by one": GOOD[:-1],
    "two fields of a name": whole([("a", U32, bytes(4))] * 2),
    "two tensors of a name": whole(
        tensors=[
            ("x", StoredTensor("F32", (8,), 0)),
            ("x", StoredTensor("F32", (8,), 32)),
        ],
        data=bytes(64),
    ),
    "tensors that overlap": whole(
        tensors=[
            ("x", StoredTensor("F32", (8,), 0)),
            ("y", StoredTensor("F32", (8,), 0)),
        ],
        data=bytes(64),
    ),
    "a gap between tensors": whole(
        tensors=[("x", StoredTensor("F32", (8,), 32))], data=bytes(64)
    ),
    "half a block": whole(
        tensors=[("x", StoredTensor("Q4_0", (2, 48), 0))], data=bytes(54)
    ),
    "no rows": whole(tensors=[("x", StoredTensor("F32", (0, 8), 0))]),
    "no dimensions": whole(tensors=[("x", StoredTensor("F32", (), 0))], data=bytes(4)),
    "five dimensions": whole(
        tensors=[("x", StoredTensor("F32", (1, 1, 1, 1, 2), 0))], data=bytes(8)
    ),
    "alignment 0": whole([("general.alignment", U32, bytes(4))]),
    "a name that is no text": whole([("a", U32, bytes(4))]).replace(b"a", b"\xff"),
    "arrays in arrays": whole([("a", ARRAY, nested(50_000))]),
    "more fields than there are": whole(counts=(0, 2**60)),
    "more tensors than there are": whole(counts=(2**60, 0)),
    "an array of 2**61 numbers": whole([("a", ARRAY, struct.pack("<IQ", U64, 2**61))]),
    "an array of 2**61 texts": whole([("a", ARRAY, struct.pack("<IQ", 8, 2**61))]),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_kind_of_damage_is_refused(name, tmp_path):
    path = tmp_path / "wrong.gguf"
    path.write_bytes(WRONG[name])
    assert assert_sound_or_refused(path)
    with pytest.raises(ValueError, match=r"^wrong\.gguf (is cut|has 32 bytes more)"):
        read_header(path)


def test_a_missing_file_and_a_folder_are_one_sentence(tmp_path):
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(ValueError, match="There is no file"):
            read_header(path)
