"""The bit layout: its arithmetic against the library's, and its controls."""

import math
import struct

import numpy as np
import pytest
import torch

from course_utils.formats import catalogue, codebooks, floats, integers
from course_utils.widgets import bit_layout
from course_utils.widgets.bit_layout import (
    BitLayout,
    decode,
    encode,
    formula,
    hexadecimal,
    kind,
    neighbours,
    parsed,
    sentence,
    steps,
    written,
)

COMPARED = 10_000
WIDE = ("FP32", "TF32", "BF16", "FP16")
NARROW = [name for name in catalogue.FORMATS if name not in WIDE]

ANSWERS = """cases => cases.map(([name, code]) => {
  const n = widget.neighbours(name, code), f = widget.FLOATS[name];
  return [widget.decode(name, code), f ? widget.fields(name, code) : null,
          widget.kind(name, code), n.below, n.above, n.stepDown, n.stepUp,
          widget.hex(name, code), widget.formula(name, code),
          widget.sentence(name, code, "")];
})"""


def answers(name: str, code: int) -> list:
    """Return the library's answers, in the order of the script above."""
    parts = bit_layout.fields(name, code)
    return [
        decode(name, code),
        list(parts) if parts else None,
        kind(name, code),
        *neighbours(name, code),
        *steps(name, code),
        hexadecimal(name, code),
        formula(name, code),
        sentence(name, code),
    ]


def same(a: object, b: object) -> bool:
    """Tell whether two answers are one: NaN is NaN, and 0 is not -0."""
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, int | float) and isinstance(b, int | float):
        nan = math.isnan(a) and math.isnan(b)
        return nan or struct.pack("d", a) == struct.pack("d", b)
    return a == b


def codes(name: str, n: int, rng: np.random.Generator) -> list[int]:
    """Return every code of a format of up to 8 bits; else the edges and a sample."""
    fmt = catalogue.FORMATS[name]
    if fmt.bits <= 8:
        return list(range(2**fmt.bits))
    top, sign = fmt.max_code, 2 ** (fmt.bits - 1)
    one = 2**fmt.mantissa_bits
    edges = [0, 1, one - 1, one, one + 1, 2 * one, top - 1, top, top + 1, top + 2]
    edges += [sign + code for code in edges]
    sampled = rng.integers(0, 2**fmt.bits, n - len(edges)).tolist()
    return [*edges, sign - 1, 2 * sign - 1, *sampled]


def values(name: str, n: int, rng: np.random.Generator) -> list[float]:
    """Return numbers to encode: values of the format, ties, sizes beyond its ends."""
    fmt = catalogue.FORMATS[name]
    bits = fmt.bits
    at = rng.integers(0, 2**bits, n // 2)
    exact = catalogue.decode(torch.from_numpy(at), name)
    exact = exact[~torch.isnan(exact)].tolist()  # JavaScript shows no sign of a NaN
    ties = []
    for code in at[: n // 4].tolist():
        value, above = decode(name, code), neighbours(name, code)[1]
        if above is not None and math.isfinite(value) and math.isfinite(above):
            tie = (value + above) / 2
            ties += [tie, math.nextafter(tie, math.inf), math.nextafter(tie, -math.inf)]
    low = math.log10(getattr(fmt, "min_subnormal", None) or 1e-3)
    sizes = 10 ** rng.uniform(low - 1, math.log10(fmt.max) + 1, n // 4)
    signs = rng.choice([-1, 1], n // 4)
    special = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e300, 5e-324, fmt.max]
    return [*exact, *ties, *(sizes * signs).tolist(), *special]


def code_or_none(name: str, x: float, saturate: bool) -> int | None:
    try:
        return encode(name, x, saturate)
    except ValueError:
        return None


def test_the_tables_are_one(mount):
    page = mount(BitLayout())
    theirs = page.evaluate("widget.FLOATS")
    assert theirs == {
        f.name: [f.exponent_bits, f.mantissa_bits, f.bias, f.specials]
        for f in floats.FLOATS.values()
    }
    assert page.evaluate("widget.INTEGERS") == {
        f.name: f.bits for f in integers.INTEGERS.values() if f.signed
    }
    books = page.evaluate("widget.CODEBOOKS")
    assert same(
        [books[name] for name in codebooks.CODEBOOKS],
        [list(book.values) for book in codebooks.CODEBOOKS.values()],
    )
    assert page.get_by_role("combobox", name="format").locator(
        "option"
    ).all_inner_texts() == list(catalogue.FORMATS)
    for name, fmt in catalogue.FORMATS.items():
        assert page.evaluate("n => widget.width(n)", name) == fmt.bits


def test_every_answer_about_a_code_equals_the_library(mount):
    page = mount(BitLayout())
    rng = np.random.default_rng(0)
    narrow = sum(2 ** catalogue.FORMATS[name].bits for name in NARROW)
    share = -(-(COMPARED - narrow) // len(WIDE))
    cases = [[n, c] for n in catalogue.FORMATS for c in codes(n, share, rng)]
    assert len(cases) >= COMPARED
    wrong = [
        (case, theirs, answers(*case))
        for case, theirs in zip(cases, page.evaluate(ANSWERS, cases), strict=True)
        if not same(theirs, answers(*case))
    ]
    assert not wrong, wrong[:3]
    # The comparison means little unless every sort of code is among them.
    sorts = {kind(*case) for case in cases}
    assert sorts >= {"NaN", "infinity", "zero", "subnormal", "normal", "integer"}


def test_every_encoding_equals_the_library(mount):
    page = mount(BitLayout())
    rng = np.random.default_rng(1)
    cases = [
        [name, x, saturate]
        for name in catalogue.FORMATS
        for x in values(name, 400, rng)
        for saturate in (False, True)
    ]
    assert len(cases) >= COMPARED
    theirs = page.evaluate("c => c.map((a) => widget.encode(...a))", cases)
    ours = [code_or_none(*case) for case in cases]
    wrong = [w for w in zip(cases, theirs, ours, strict=True) if w[1] != w[2]]
    assert not wrong, wrong[:3]
    assert ours.count(None) > 0


@pytest.mark.parametrize("name", NARROW)
def test_neighbours_are_the_next_values_of_all(name):
    every = catalogue.decode(
        torch.arange(2 ** catalogue.FORMATS[name].bits), name
    ).tolist()
    for code, value in enumerate(every):
        below = max((v for v in every if v < value), default=None)
        above = min((v for v in every if v > value), default=None)
        assert neighbours(name, code) == (below, above)


def test_numbers_are_written_and_read_as_in_javascript(mount):
    page = mount(BitLayout())
    rng = np.random.default_rng(2)
    numbers = (10 ** rng.uniform(-45, 40, 500) * rng.choice([-1, 1], 500)).tolist()
    numbers += [1e-6, 9.99e-7, 1e21, 1e20, 123.0, 0.0, -0.0, math.inf, math.nan]
    assert page.evaluate("v => v.map(widget.written)", numbers) == [
        written(x) for x in numbers
    ]
    texts = [written(x) for x in numbers]
    texts += [
        "",
        "1,5",
        "0x10",
        "1e",
        ".5",
        "5.",
        ".",
        "-inf",
        "Infinity",
        "+NaN",
        "1_0",
    ]
    assert same(
        page.evaluate("v => v.map(widget.parsed)", texts), [parsed(t) for t in texts]
    )
    typed = [["FP16", 0x2E66, t] for t in ("0.1", "0.099", "-3e4", "inf", "x", "nan")]
    # Errors with exactly five digits, the fifth of them 5: halves away from 0.
    typed += [["FP32", 0, t] for t in ("0.00015625", "-1.00025", "1.00015")]
    said = page.evaluate("c => c.map((a) => widget.sentence(...a))", typed)
    assert said == [sentence(*case) for case in typed]


def test_a_known_code_in_words():
    assert sentence("E4M3FN", 0x7E, "1000") == (
        "E4M3FN code 0x7E stands for 448 (normal). Next below: 416. Next above: none. "
        "1000 was typed, and the error is -552."
    )
    assert formula("E4M3FN", 0x7E) == "2^(15 - 7) \u00d7 (1 + 6/8) = 448"
    assert formula("FP16", 0x8001) == (
        "-2^(1 - 15) \u00d7 1/1024 = -5.960464477539063e-8"
    )
    assert formula("INT8", 0xC8) == "200 - 256 = -56"
    assert repr(BitLayout("E8M0")).endswith("2^(124 - 127) = 0.125")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"format": "FP12"}, "Unknown format 'FP12'"),
        ({"format": "E2M1", "code": 16}, "run from 0 to 15"),
        ({"code": -1}, "run from 0 to 65535"),
        ({"code": 1, "value": 1.0}, "not both"),
        ({"format": "E2M1", "value": math.nan}, "no code for NaN"),
        ({"format": "E2M1", "value": 9.0, "saturate": False}, "neither infinity"),
    ],
)
def test_what_does_not_exist_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        BitLayout(**arguments)


START = {"format": "FP16", "code": 0x2E66, "typed": "0.1", "saturate": True}


def state_is(page, **changed) -> None:
    state = START | changed
    assert page.evaluate("model.state") == state
    said = page.get_by_role("status").inner_text()
    assert said == sentence(state["format"], state["code"], state["typed"])


def test_bits_are_clicked(mount):
    page = mount(BitLayout())
    state_is(page)
    bit = page.get_by_role("button", name="bit 15, sign")
    assert bit.get_attribute("aria-pressed") == "false"
    bit.click()
    assert bit.get_attribute("aria-pressed") == "true"
    state_is(page, code=0xAE66, typed="")
    page.get_by_role("button", name="bit 9, mantissa").click()
    state_is(page, code=0xAC66, typed="")
    assert page.evaluate("model.saves") == 2
    assert page.locator(".fb-formula").inner_text() == formula("FP16", 0xAC66)


def test_the_highest_bit_of_32_is_no_negative_number(mount):
    page = mount(BitLayout("FP32", value=1.0))
    page.get_by_role("button", name="bit 31, sign").click()
    assert page.evaluate("model.state.code") == 0xBF800000


def test_bits_by_keyboard(mount):
    page = mount(BitLayout("E4M3FN", 0x00))
    page.get_by_role("button", name="encode").focus()
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.ariaLabel ?? "
                "document.activeElement.labels?.[0]?.innerText ?? "
                "document.activeElement.innerText"
            )
        )
    assert [text.strip() for text in reached] == [
        *("saturate", "bit 7, sign", "next below", "next above"),
    ]
    page.get_by_role("button", name="bit 7, sign").focus()
    for key in ("ArrowLeft", "ArrowRight", "Space", "End", "Enter", "ArrowRight"):
        page.keyboard.press(key)
    assert page.evaluate("model.state.code") == 0x41
    assert page.evaluate("document.activeElement.ariaLabel") == "bit 0, mantissa"
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    assert page.evaluate("model.state.code") == 0xC1
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")  # the toolbar remembers its place
    assert page.evaluate("document.activeElement.ariaLabel") == "bit 7, sign"


def test_a_value_is_typed(mount):
    page = mount(BitLayout())
    box = page.get_by_label("value")
    for typed in ("65520", "-1e-7", "inf"):
        box.fill(typed)
        box.press("Enter")
        code = encode("FP16", float(typed), True)
        state_is(page, code=code, typed=typed)
    box.fill("12 apples")
    page.get_by_role("button", name="encode").click()
    assert "not a number" in page.get_by_role("status").inner_text()
    assert box.get_attribute("aria-invalid") == "true"
    assert page.evaluate("model.state.typed") == "inf"
    box.fill("65520")
    box.press("Enter")
    page.get_by_label("saturate").uncheck()
    state_is(page, code=0x7C00, typed="65520", saturate=False)
    assert box.get_attribute("aria-invalid") is None


def test_another_format_keeps_the_number(mount):
    page = mount(BitLayout())
    for name in catalogue.FORMATS:
        page.get_by_role("combobox", name="format").select_option(name)
        state_is(page, format=name, code=encode(name, 0.1))
        assert page.locator(".fb-cells button").count() == catalogue.FORMATS[name].bits
    page.get_by_label("value").fill("nan")
    page.get_by_role("button", name="encode").click()
    assert page.get_by_role("status").inner_text() == "FP4_BNB has no code for NaN."
    page.get_by_role("combobox", name="format").select_option("FP16")
    page.get_by_label("value").fill("nan")
    page.get_by_role("button", name="encode").click()
    page.get_by_role("combobox", name="format").select_option(
        "E2M1"
    )  # which has none either
    state_is(page, format="E2M1", code=0, typed="")


@pytest.mark.parametrize("name", ["E2M1", "E4M3FNUZ", "NF4", "FP4_BNB", "INT4", "E5M2"])
def test_steps_walk_through_all_values(mount, name):
    fmt = catalogue.FORMATS[name]
    every = catalogue.decode(torch.arange(2**fmt.bits), name)
    distinct = sorted(set(every[~torch.isnan(every)].tolist()))
    page = mount(BitLayout(name, encode(name, distinct[0], saturate=False)))
    walked = page.evaluate(
        """name => {
      const values = [widget.decode(name, model.state.code)];
      const up = document.querySelector("div.fb-answer > :last-child");
      while (up.ariaDisabled === "false" && values.length < 300) {
        up.click();
        values.push(widget.decode(name, model.state.code));
      }
      up.click();
      return values;
    }""",
        name,
    )
    assert walked == distinct
    page.get_by_role("button", name="next below").click()
    assert decode(name, page.evaluate("model.state.code")) == distinct[-2]


def test_a_change_from_python_is_drawn_and_unmounting_stops_it(mount):
    page = mount(BitLayout())
    page.evaluate("model.set('format', 'E2M1')")  # the code is still too long for it
    page.evaluate("model.set('code', 3)")
    page.evaluate("model.set('typed', '')")
    state_is(page, format="E2M1", code=3, typed="")
    page.evaluate("unmount()")
    page.evaluate("model.set('code', 5)")
    assert page.get_by_role("status").inner_text() == sentence("E2M1", 3)


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("name", ["FP32", "NF4"])
def test_nothing_is_wider_than_the_page(mount, page, width, name):
    page.set_viewport_size({"width": width, "height": 700})
    mount(BitLayout(name, value=-1e-40))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for bit in page.locator(".fb-cells button").all():
        box = bit.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert min(box["width"], box["height"]) >= 24  # room for a finger


def test_the_file_is_small_and_loads_nothing():
    text = BitLayout._esm._path.read_text()
    assert len(text.encode()) <= 15_000
    for loader in ("import(", "fetch(", "XMLHttp", "Math.random", "http"):
        assert loader not in text
