"""Where in a GGUF block each number stands, bit by bit, for every type decoded here.

A *piece* is [byte, lowest bit, bits, shift]: some bits of one byte, and how far left
they go in the number they belong to. A number is its pieces put together. Codes follow
the one pattern of `formats.gguf_fields`, so a rule gives their pieces: [first byte,
bits, run, shift]. Scales are listed.

    w = d * (sc - sc_zero) * value(q) - m * mn

with what a type does not have left out, and value(q) = q - zero, an entry of a table,
or a signed code. `m` is added where it has no `mn`.

The table is plain lists and dicts: the widget in JavaScript reads the same one.
"""

from course_utils.formats import gguf_blocks, gguf_float4, gguf_iq4, gguf_ternary

Layout = dict[str, object]
Piece = list[int]


def code_piece(rule: Piece, i: int) -> Piece:
    """Return where the bits of code `i` stand that follow a rule."""
    start, bits, run, shift = rule
    chunk = run * (8 // bits)
    return [start + i // chunk * run + i % run, bits * (i % chunk // run), bits, shift]


def ternary_piece(i: int) -> Piece:
    """Return byte and digit of weight `i` of TQ1_0: [byte, 0, 8, digit]."""
    byte = first = 0
    for n, run in gguf_ternary.RUNS:
        if i < first + n * run:
            return [byte + (i - first) % run, 0, 8, (i - first) // run]
        byte, first = byte + run, first + n * run
    raise ValueError(f"TQ1_0 has 256 weights, there is no weight {i}.")


def _six_bit_pairs(start: int) -> tuple[list[list[Piece]], list[list[Piece]]]:
    """Return the pieces of 8 scales and 8 minima in 12 bytes."""
    sc, mn = [], []
    for k in range(4):
        sc.append([[start + k, 0, 6, 0]])
        mn.append([[start + 4 + k, 0, 6, 0]])
    for k in range(4):
        sc.append([[start + 8 + k, 0, 4, 0], [start + k, 6, 2, 4]])
        mn.append([[start + 8 + k, 4, 4, 0], [start + 4 + k, 6, 2, 4]])
    return sc, mn


def _both(low: Piece, high: Piece, n: int) -> list[list[Piece]]:
    """Return the pieces of n numbers with fields for low and for high bits."""
    return [[code_piece(low, k), code_piece(high, k)] for k in range(n)]


def _bytes(start: int, n: int) -> list[list[Piece]]:
    """Return the pieces of n numbers of one byte each."""
    return [[[start + k, 0, 8, 0]] for k in range(n)]


def _layout(kind: str, fields: list[tuple[str, int]], **more: object) -> Layout:
    """Return a layout with the parts that a type does not name left empty."""
    block = gguf_blocks.lookup(kind)
    if sum(n for _, n in fields) != block.n_bytes:
        raise ValueError(f"The fields of {kind} do not make {block.n_bytes} bytes.")
    empty = dict.fromkeys(("values", "sc", "mn", "d", "m"))
    flags = {"zero": 0, "sc_zero": 0, "signed": False, "sc_kind": "", "ternary": False}
    rest = {"size": block.block_size, "sub": block.block_size, "q": []}
    return {"fields": [list(f) for f in fields]} | rest | empty | flags | more


E4M3 = {"sc": _bytes(0, 4), "sc_kind": "e4m3"}
DOUBLED, UNEVEN = gguf_float4.DOUBLED.tolist(), gguf_iq4.VALUES.tolist()
PAIRS = dict(zip(("sc", "mn"), _six_bit_pairs(4), strict=True))
HEAD = (("d", 2), ("dmin", 2), ("scales and minima", 12))
NIBBLES = {"sc": [[[k, 0, 4, 0]] for k in range(16)]}
NIBBLES["mn"] = [[[k, 4, 4, 0]] for k in range(16)]
XS_SCALES = _both([4, 4, 1, 0], [2, 2, 1, 4], 8)
Q3_SCALES = _both([96, 4, 8, 0], [104, 2, 4, 4], 16)

LAYOUTS: dict[str, Layout] = {
    kind: _layout(kind, fields, **more)
    for kind, fields, more in (
        (
            "Q4_0",
            [("d", 2), ("codes", 16)],
            {"q": [[2, 4, 16, 0]], "zero": 8, "d": 0},
        ),
        (
            "Q4_1",
            [("d", 2), ("m", 2), ("codes", 16)],
            {"q": [[4, 4, 16, 0]], "d": 0, "m": 2},
        ),
        (
            "Q5_0",
            [("d", 2), ("fifth bits", 4), ("codes", 16)],
            {"q": [[6, 4, 16, 0], [2, 1, 1, 4]], "zero": 16, "d": 0},
        ),
        (
            "Q5_1",
            [("d", 2), ("m", 2), ("fifth bits", 4), ("codes", 16)],
            {"q": [[8, 4, 16, 0], [4, 1, 1, 4]], "d": 0, "m": 2},
        ),
        (
            "Q8_0",
            [("d", 2), ("codes", 32)],
            {"q": [[2, 8, 1, 0]], "signed": True, "d": 0},
        ),
        ("TQ1_0", [("codes", 52), ("d", 2)], {"ternary": True, "zero": 1, "d": 52}),
        (
            "TQ2_0",
            [("codes", 64), ("d", 2)],
            {"q": [[0, 2, 32, 0]], "zero": 1, "d": 64},
        ),
        (
            "MXFP4",
            [("exponent", 1), ("codes", 16)],
            {"q": [[1, 4, 16, 0]], "values": DOUBLED}
            | {"sc": [[[0, 0, 8, 0]]], "sc_kind": "e8m0"},
        ),
        (
            "NVFP4",
            [("scales", 4), ("codes", 32)],
            {"q": [[4, 4, 8, 0]], "values": DOUBLED, "sub": 16} | E4M3,
        ),
        (
            "IQ4_NL",
            [("d", 2), ("codes", 16)],
            {"q": [[2, 4, 16, 0]], "values": UNEVEN, "d": 0},
        ),
        (
            "IQ4_XS",
            [("d", 2), ("high scales", 2), ("low scales", 4), ("codes", 128)],
            {"q": [[8, 4, 16, 0]], "values": UNEVEN, "sub": 32, "d": 0}
            | {"sc": XS_SCALES, "sc_zero": 32},
        ),
        (
            "Q2_K",
            [("scales and minima", 16), ("codes", 64), ("d", 2), ("dmin", 2)],
            {"q": [[16, 2, 32, 0]], "sub": 16, "d": 80, "m": 82} | NIBBLES,
        ),
        (
            "Q3_K",
            [("third bits", 32), ("codes", 64), ("scales", 12), ("d", 2)],
            {"q": [[32, 2, 32, 0], [0, 1, 32, 2]], "zero": 4, "sub": 16, "d": 108}
            | {"sc": Q3_SCALES, "sc_zero": 32},
        ),
        (
            "Q4_K",
            [*HEAD, ("codes", 128)],
            {"q": [[16, 4, 32, 0]], "sub": 32, "d": 0, "m": 2} | PAIRS,
        ),
        (
            "Q5_K",
            [*HEAD, ("fifth bits", 32), ("codes", 128)],
            {"q": [[48, 4, 32, 0], [16, 1, 32, 4]], "sub": 32, "d": 0, "m": 2} | PAIRS,
        ),
        (
            "Q6_K",
            [("low bits", 128), ("high bits", 64), ("scales", 16), ("d", 2)],
            {"q": [[0, 4, 64, 0], [128, 2, 32, 4]], "zero": 32, "sub": 16, "d": 208}
            | {"sc": _bytes(192, 16), "sc_kind": "signed"},
        ),
    )
}
