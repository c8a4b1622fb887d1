"""Block inspector: the bytes of one GGUF block, and which bits make which weight.

Choose a type and a weight: the bytes that hold its code and its scale are marked, and
the line above them is the sum that rebuilds it. Choose a byte: what each of its bits is
for. The bytes are those of real weights.

The functions here are the arithmetic of the JavaScript, in float64 and rounded once to
float32; a test holds both equal to each other and to `formats.gguf_blocks`.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context
from pathlib import Path

import anywidget
import traitlets
from torch import Tensor

from course_utils.formats import gguf_blocks
from course_utils.widgets.bit_layout import written
from course_utils.widgets.block_layouts import (
    LAYOUTS,
    Piece,
    code_piece,
    ternary_piece,
)

HERE = Path(__file__).parent
WEIGHTS = 256  # the largest block
_FIVE = Context(prec=5, rounding=ROUND_HALF_UP)


@dataclass(frozen=True)
class Weight:
    """One weight of a block, and what it is made of.

    Attributes:
        value: The weight as rebuilt, a float32 number.
        d: The block's scale; None where it has none.
        sc: The number that scales d for a part of the block; None without.
        v: What the code stands for before it is scaled.
        q: The code.
        m: The block's offset, or the scale of the minima; None without.
        mn: The number that scales m for a part of the block; None without.
    """

    value: float
    d: float | None
    sc: float | None
    v: float
    q: int
    m: float | None
    mn: int | None


def pieces(kind: str, i: int) -> dict[str, list[Piece]]:
    """Return where the code of weight `i` stands, and its part's scale and minimum.

    Raises: ValueError on an unknown type or a weight that the block does not have.
    """
    layout = LAYOUTS[gguf_blocks.lookup(kind).name]
    if not 0 <= i < layout["size"]:
        raise ValueError(f"A block of {kind} has no weight {i}.")
    rules = layout["q"]
    found = {"q": [code_piece(rule, i) for rule in rules] or [ternary_piece(i)]}
    for name in ("sc", "mn"):
        if layout[name]:
            found[name] = layout[name][i // layout["sub"]]
    return found


def number(raw: bytes, parts: list[Piece]) -> int:
    """Return the number that pieces make."""
    return sum((raw[b] >> low & 2**n - 1) << shift for b, low, n, shift in parts)


def _digit(byte: int, place: int) -> int:
    """Return a digit of base 3 from a byte of TQ1_0."""
    return (byte * 3**place % 256) * 3 >> 8


def _scale(kind: str, code: int) -> float:
    """Return what the byte of a scale stands for."""
    if kind == "signed":
        return code - 256 if code > 127 else code
    if kind == "e8m0":
        return 2.0 ** (code - 128)  # half, for the table of values is doubled
    if kind == "e4m3":
        if code in (0, 127):
            return 0.0
        exponent, mantissa = code >> 3 & 15, code & 7
        if not exponent:
            return mantissa * 2.0**-10
        return (1 + mantissa / 8) * 2.0 ** (exponent - 8)
    return code


def _half(raw: bytes, at: int | None) -> float | None:
    return None if at is None else struct.unpack_from("<e", raw, at)[0]


def inspect(kind: str, raw: bytes, i: int) -> Weight:
    """Return weight `i` of a block and what it is made of.

    Raises: ValueError as `pieces` does.
    """
    found, layout = pieces(kind, i), LAYOUTS[kind]
    if layout["ternary"]:
        byte, _, _, place = found["q"][0]
        q = _digit(raw[byte], place)
    else:
        q = number(raw, found["q"])
    v = layout["values"][q] if layout["values"] else q - layout["zero"]
    if layout["signed"]:
        v = q - 256 if q > 127 else q
    sc = mn = None
    if "sc" in found:
        sc = _scale(layout["sc_kind"], number(raw, found["sc"])) - layout["sc_zero"]
    if "mn" in found:
        mn = number(raw, found["mn"])
    d, m = _half(raw, layout["d"]), _half(raw, layout["m"])
    value = (1 if d is None else d) * (1 if sc is None else sc) * v
    if m is not None:
        value += m if mn is None else -m * mn
    return Weight(_float32(value), d, sc, v, q, m, mn)


def _float32(x: float) -> float:
    return struct.unpack("<f", struct.pack("<f", x))[0]


def short(x: float) -> str:
    """Return a number with five digits, as JavaScript's toPrecision rounds."""
    return written(float(_FIVE.create_decimal(x)) + 0.0)  # no -0


def formula(kind: str, raw: bytes, i: int) -> str:
    """Return how the weight comes out of the block."""
    w = inspect(kind, raw, i)
    factors = [("d", w.d), ("sc", w.sc), ("v", w.v)]
    there = [(name, x) for name, x in factors if x is not None]
    left = " \u00d7 ".join(name for name, _ in there)
    right = " \u00d7 ".join(short(x) for _, x in there)
    if w.m is not None and w.mn is None:
        left, right = f"{left} + m", f"{right} + {short(w.m)}"
    elif w.m is not None:
        left = f"{left} - dmin \u00d7 mn"
        right = f"{right} - {short(w.m)} \u00d7 {w.mn}"
    return f"w = {left} = {right} = {short(w.value)}"


def sentence(kind: str, raw: bytes, i: int, original: float) -> str:
    """Return what is shown of a weight, in words."""
    found = pieces(kind, i)
    w = inspect(kind, raw, i)
    where = {name: " and ".join(map(_place, parts)) for name, parts in found.items()}
    if LAYOUTS[kind]["ternary"]:
        byte, _, _, place = found["q"][0]
        where["q"] = f"byte {byte}, digit {place} of base 3"
    text = f"{kind}, weight {i}: its code {w.q} is in {where['q']}."
    if "sc" in where:
        text += f" The scale of its part is in {where['sc']}."
    if "mn" in where:
        text += f" The minimum is in {where['mn']}."
    return f"{text} The weight was {short(original)}."


def _place(piece: Piece) -> str:
    byte, low, n, _ = piece
    if n == 8:
        return f"byte {byte}"
    bits = f"bit {low}" if n == 1 else f"bits {low} to {low + n - 1}"
    return f"byte {byte}, {bits}"


def field_of(kind: str, byte: int) -> str:
    """Return the name of the field a byte belongs to."""
    for name, n in LAYOUTS[kind]["fields"]:
        if byte < n:
            return name
        byte -= n
    raise ValueError(f"A block of {kind} has no byte so far to the right.")


class BlockInspector(anywidget.AnyWidget):
    """The bytes of a block in any type, with the bits of one weight marked.

    Args:
        weights: At least 256 weights of one row; a block holds the first of them.
        blocks: Name of a type -> its block of these weights, (n_bytes,) uint8.
        kind: The type shown first.
        weight: The weight shown first.

    Raises:
        ValueError: If a type is unknown or a block has another number of bytes.
    """

    _esm = HERE / "block_inspector.js"
    _css = HERE / "block_inspector.css"

    layouts = traitlets.Dict().tag(sync=True)
    blocks = traitlets.Dict().tag(sync=True)
    weights = traitlets.List(traitlets.Float()).tag(sync=True)
    kind = traitlets.Unicode().tag(sync=True)
    weight = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        weights: Sequence[float],
        blocks: Mapping[str, Tensor],
        *,
        kind: str = "Q4_K",
        weight: int = 0,
    ) -> None:
        kept = [float(f"{float(w):.5g}") for w in weights[:WEIGHTS]]
        if len(kept) < WEIGHTS:
            raise ValueError(f"Give at least {WEIGHTS} weights, got {len(kept)}.")
        raw = {name: bytes(block.tolist()) for name, block in blocks.items()}
        for name, block in raw.items():
            n = gguf_blocks.lookup(name).n_bytes
            if len(block) != n:
                raise ValueError(
                    f"A block of {name} has {n} bytes, {len(block)} were given."
                )
        if kind not in raw:
            raise ValueError(f"There is no block of {kind}; give one.")
        pieces(kind, weight)  # a weight that is not there is refused before it is drawn
        super().__init__(
            layouts={name: LAYOUTS[name] for name in raw},
            blocks={name: block.hex() for name, block in raw.items()},
            weights=kept,
            kind=kind,
            weight=weight,
        )

    def __repr__(self) -> str:
        """Return the state in words: what a viewer without widgets shows."""
        at = self.kind, bytes.fromhex(self.blocks[self.kind]), self.weight
        words = sentence(*at, self.weights[self.weight])
        return f"Block inspector. {words} {formula(*at)}."
