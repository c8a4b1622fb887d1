"""The front of a GGUF file: its metadata and the list of its tensors.

    "GGUF"  version u32  tensors u64  fields u64
    fields   name, kind u32, value
    tensors  name, dimensions u32, sizes u64 (fastest first), type u32, offset u64
    padding  up to a multiple of the alignment
    data     the tensors, each aligned

A string is its length (u64) and its bytes; an array is the kind of its elements (u32),
their number (u64) and the elements. All numbers are little endian.

Values stay bytes, so that they can be copied into another file as they are: a tokenizer
of 49,152 tokens is read in a moment, where decoding it takes seconds.

Source: the GGUF specification, version 3. Left out: older versions and big endian.
"""

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

MAGIC, VERSION, ALIGNMENT = b"GGUF", 3, 32
MAX_DIMS = 4
START = struct.Struct("<4sIQQ")
STRING, ARRAY = GGUFValueType.STRING, GGUFValueType.ARRAY
UINT32 = GGUFValueType.UINT32
SCALARS = {
    GGUFValueType.UINT8: "B",
    GGUFValueType.INT8: "b",
    GGUFValueType.UINT16: "H",
    GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I",
    GGUFValueType.INT32: "i",
    GGUFValueType.FLOAT32: "f",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "Q",
    GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT64: "d",
}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a GGUF file.

    Attributes:
        kind: Type name, such as Q5_0.
        shape: As torch writes it, rows first.
        offset: Of its data, in bytes from the start of all data.
    """

    kind: str
    shape: tuple[int, ...]
    offset: int = 0

    @property
    def n_weights(self) -> int:
        """Weights of the tensor."""
        return prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes of its data: codes and scales."""
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType[self.kind]]
        return self.n_weights // block * size


@dataclass(frozen=True)
class Header:
    """Metadata and tensors of a GGUF file.

    Attributes:
        fields: Name -> (kind, value as stored).
        tensors: Name -> tensor, in the file's order.
    """

    fields: dict[str, tuple[GGUFValueType, bytes]]
    tensors: dict[str, StoredTensor]

    def count(self, name: str) -> int:
        """Return the number of elements of an array field.

        Raises: ValueError if there is no such array.
        """
        kind, value = self.fields.get(name, (None, b""))
        if kind != ARRAY:
            raise ValueError(f"The GGUF file has no array {name}.")
        return struct.unpack_from("<Q", value, 4)[0]

    def text(self, name: str) -> str:
        """Return the value of a string field, "" if there is none."""
        kind, value = self.fields.get(name, (None, b""))
        return value[8:].decode(errors="replace") if kind == STRING else ""

    def alignment(self) -> int:
        """Return the multiple at which tensors begin."""
        kind, value = self.fields.get("general.alignment", (None, b""))
        return struct.unpack("<I", value)[0] if kind == UINT32 else ALIGNMENT


def read_header(path: Path) -> Header:
    """Return the header of a GGUF file.

    Raises: ValueError if it is no GGUF file of version 3, not a whole one, or longer
        than its header says.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}; give a GGUF file that exists.")
    with path.open("rb") as file:
        start = file.read(START.size)
        if start[:4] != MAGIC:
            raise ValueError(f"{path} is not a GGUF file.")
        if len(start) < START.size:
            raise ValueError(_damaged(path))
        _, version, n_tensors, n_fields = START.unpack(start)
        if version != VERSION:
            raise ValueError(f"{path} is GGUF version {version}; this reads {VERSION}.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            cursor = _Cursor(data, START.size)
            try:
                header = _read(cursor, n_fields, n_tensors)
            except (
                struct.error,
                ValueError,
                ArithmeticError,
                LookupError,
                RecursionError,
            ) as error:
                raise ValueError(_damaged(path)) from error
            # After the last tensor there may be padding, and nothing else.
            if (extra := len(data) - cursor.place) >= max(header.alignment(), 1):
                raise ValueError(
                    f"{path.name} has {extra:,} bytes more than its header describes; "
                    "write or download it again."
                )
            return header


def _read(cursor: "_Cursor", n_fields: int, n_tensors: int) -> Header:
    """Read fields and tensors, and move past all data.

    Raises: ValueError, or what arithmetic with wrong numbers raises.
    """
    fields = dict(cursor.field() for _ in range(n_fields))
    header = Header(fields, dict(cursor.tensor() for _ in range(n_tensors)))
    if (len(fields), len(header.tensors)) != (n_fields, n_tensors):
        raise ValueError("Two fields or two tensors share a name.")
    alignment, end = header.alignment(), 0
    cursor.move(-cursor.place % alignment)
    for tensor in header.tensors.values():
        end += -end % alignment
        # As ggml demands: in the file's order, without gaps.
        if tensor.offset != end:
            raise ValueError("A tensor is not where the one before it ends.")
        end += tensor.n_bytes
    cursor.move(end)
    return header


def _damaged(path: Path) -> str:
    return f"{path.name} is cut or damaged; write or download it again."


def packed_string(text: str) -> bytes:
    """Return a string as GGUF stores it."""
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def packed_field(name: str, kind: GGUFValueType, value: bytes) -> bytes:
    """Return a field as GGUF stores it."""
    return packed_string(name) + struct.pack("<I", kind) + value


def packed_tensor(name: str, tensor: StoredTensor) -> bytes:
    """Return a tensor's entry in the list as GGUF stores it."""
    sizes = tensor.shape[::-1]
    kind = GGMLQuantizationType[tensor.kind]
    numbers = (len(sizes), *sizes, kind, tensor.offset)
    return packed_string(name) + struct.pack(f"<I{len(sizes)}QIQ", *numbers)


class _Cursor:
    """A place in the file that moves on as values are read."""

    def __init__(self, data: mmap.mmap, place: int) -> None:
        self.data, self.place = data, place

    def check(self, n: int) -> None:
        """Raise ValueError if fewer than `n` bytes are left."""
        if self.place + n > len(self.data):
            raise ValueError("The file ends early.")

    def move(self, n: int) -> None:
        """Move past `n` bytes.

        Raises: ValueError if they are not there.
        """
        self.check(n)
        self.place += n

    def number(self, form: str) -> int:
        """Read one number."""
        value = struct.unpack_from("<" + form, self.data, self.place)[0]
        self.place += struct.calcsize("<" + form)
        return value

    def string(self) -> str:
        """Read one string."""
        n = self.number("Q")
        self.move(n)
        return self.data[self.place - n : self.place].decode()

    def skip(self, kind: GGUFValueType) -> None:
        """Move past one value."""
        if kind == STRING:
            self.move(self.number("Q"))
        elif kind == ARRAY:
            inner, n = GGUFValueType(self.number("I")), self.number("Q")
            if inner in SCALARS:
                self.move(n * struct.calcsize("<" + SCALARS[inner]))
            else:
                for _ in range(n):
                    self.skip(inner)
        else:
            self.move(struct.calcsize("<" + SCALARS[kind]))

    def field(self) -> tuple[str, tuple[GGUFValueType, bytes]]:
        """Read one field; its value stays bytes."""
        name, kind = self.string(), GGUFValueType(self.number("I"))
        start = self.place
        self.skip(kind)
        return name, (kind, self.data[start : self.place])

    def tensor(self) -> tuple[str, StoredTensor]:
        """Read one entry of the list of tensors."""
        name, n_dims = self.string(), self.number("I")
        if not 1 <= n_dims <= MAX_DIMS:
            raise ValueError(f"A tensor has {n_dims} dimensions.")
        sizes = [self.number("Q") for _ in range(n_dims)]
        kind = GGMLQuantizationType(self.number("I"))
        if not all(sizes) or sizes[0] % GGML_QUANT_SIZES[kind][0]:
            raise ValueError("The rows of a tensor are no whole blocks.")
        return name, StoredTensor(kind.name, tuple(sizes[::-1]), self.number("Q"))
