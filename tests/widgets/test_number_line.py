"""The number line: its arithmetic in two languages, and its controls."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils.formats import affine
from course_utils.widgets.number_line import (
    NumberLine,
    decimals,
    fixed,
    grid,
    nearest,
    sentence,
)

COMPARED = 10_000
FIELDS = [
    *("code", "value", "error", "error_steps", "scale", "max_error", "saturated"),
]
SIZES = st.floats(1e-3, 1e3)


def random_cases(n: int, seed: int = 0) -> list[list]:
    """Return inputs of every width, with ties, exact grid values and saturation."""
    rng = np.random.default_rng(seed)
    cases = []
    for i in range(n):
        symmetric = bool(rng.integers(2))
        bits = int(rng.integers(2 if symmetric else 1, 9))
        size = 10.0 ** rng.uniform(-6, 6)
        lo, hi = np.sort(rng.uniform(-size, size, 2))
        if i % 7 == 0:  # one-signed, where the range is widened
            lo, hi = np.sort(np.abs([lo, hi]))
        g = grid(bits, float(lo), float(hi), symmetric)
        x = rng.uniform(-1.5 * size, 1.5 * size)
        if i % 3 == 0:  # a tie, as close as float64 gets
            x = (rng.integers(g.qmin, g.qmax) - g.zero_point + 0.5) * g.scale
        if i % 5 == 0:  # a grid value
            x = (rng.integers(g.qmin, g.qmax + 1) - g.zero_point) * g.scale
        cases.append([float(x), bits, float(lo), float(hi), symmetric])
    # Ranges and values from the sliders, where exact ties are common.
    cases[: n // 10] = [
        [round(float(x), 3), bits, round(float(lo), 2), round(float(hi), 2), False]
        for x, bits, lo, hi in zip(
            rng.uniform(-5, 5, n // 10),
            rng.integers(1, 9, n // 10).tolist(),
            rng.uniform(-4, 0, n // 10),
            rng.uniform(0, 4, n // 10),
            strict=True,
        )
    ]
    return cases


def test_javascript_equals_python_to_the_last_bit(mount):
    page = mount(NumberLine())
    cases = random_cases(COMPARED)
    script = """cases => cases.map((c) => {
      const a = widget.nearest(...c), g = widget.grid(...c.slice(1));
      return [a.code, a.value, a.error, a.errorSteps, a.scale, a.maxError, a.saturated,
              g.points[0], g.points[g.points.length - 1], g.points.length,
              widget.sentence(...c)];
    })"""
    answers = page.evaluate(script, cases)
    wrong = []
    for case, answer in zip(cases, answers, strict=True):
        at = nearest(*case)
        points = grid(*case[1:]).points
        expected = [getattr(at, name) for name in FIELDS]
        expected += [points[0], points[-1], len(points), sentence(*case)]
        if answer != expected:
            wrong.append((case, answer, expected))
    assert not wrong, json.dumps([str(w) for w in wrong[:3]], indent=1)
    landings = [nearest(*case) for case in cases]
    # The comparison means little unless the hard cases are among the inputs.
    assert sum(at.saturated for at in landings) > COMPARED / 20
    halves = [abs(abs(at.error_steps) - 0.5) < 1e-9 for at in landings]
    assert sum(halves) > COMPARED / 20


def test_ties_go_to_even_in_javascript(mount):
    page = mount(NumberLine())
    ties = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, -0.49999999999999994, 0.49999999999999994]
    rounded = page.evaluate("v => v.map(widget.roundHalfEven)", ties)
    assert rounded == [-2, -2, 0, 0, 2, 2, 0, 0]


@given(
    bits=st.integers(2, 8),
    ends=st.tuples(SIZES, SIZES),
    part=st.floats(0, 1),
    symmetric=st.booleans(),
)
def test_error_inside_the_range_is_at_most_half_a_step(bits, ends, part, symmetric):
    lo, hi = -ends[0], ends[1]
    x = lo + part * (hi - lo)
    at = nearest(x, bits, lo, hi, symmetric)
    # x / scale is below 2**9 and rounded once: relative float64 rounding, a few ulp.
    assert abs(at.error) <= at.max_error * (1 + 2**9 * 4 * np.finfo(float).eps)
    assert nearest(0.0, bits, lo, hi, symmetric).value == 0


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_same_grid_as_the_tensor_code(bits, symmetric):
    w = torch.tensor([[-0.75, -0.2, 0.1, 0.3, 1.0]])
    spec = affine.QuantSpec(bits=bits, symmetric=symmetric)
    scale, zero_point = affine.choose_qparams(w, spec=spec)
    q = affine.quantize(w, scale, zero_point, spec=spec)
    ours = [nearest(x, bits, -0.75, 1.0, symmetric) for x in w[0].tolist()]
    # None of these weights lies within float32 rounding of a tie.
    assert q[0].tolist() == [at.code for at in ours]
    assert scale.item() == pytest.approx(ours[0].scale, rel=2**-23)


def test_range_of_one_sign_is_widened_to_zero():
    g = grid(4, 0.5, 1.5)
    assert g.points[0] == 0
    assert g.points[-1] == pytest.approx(1.5)
    assert nearest(0.5, 4, 0.5, 1.5).value == 0.5


def test_range_of_zeros_has_step_one():
    assert grid(4, 0.0, 0.0).scale == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"bits": 9}, "bits must be 1 to 8"),
        ({"bits": 1, "symmetric": True}, "at least 2 bits"),
        ({"lo": 1.0, "hi": -1.0}, "lo must not be above hi"),
        ({"lo": 1.0, "hi": 1.0}, "needs a range"),
    ],
)
def test_a_grid_that_does_not_exist_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        NumberLine(**arguments)


def test_javascript_refuses_the_same(mount):
    page = mount(NumberLine())
    script = """calls => calls.map((c) => {
      try { widget.grid(...c); return "" } catch (e) { return e.message }
    })"""
    calls = [[9, -1, 1, False], [1, -1, 1, True], [4, 1, -1, False], [4, -1, 1, False]]
    said = page.evaluate(script, calls)
    assert [bool(text) for text in said] == [True, True, True, False]


def test_numbers_are_written_as_javascript_writes_them():
    assert fixed(0.03125, 4) == "0.0313"
    assert fixed(-0.03125, 4) == "-0.0313"
    assert fixed(-1e-17, 3) == "0.000"
    assert [decimals(s) for s in (2.0, 0.133, 0.0078, 1e-9)] == [2, 3, 5, 6]


def test_plain_text_says_where_the_value_lands():
    assert repr(NumberLine()) == (
        "Number line, 4 bits over -1 to 1: 0.300 gets code 10, 0.267"
    )


STARTS = {"bits": 4, "lo": -1.0, "hi": 1.0, "x": 0.3, "symmetric": False}


def shown_sentence(**changed) -> str:
    state = STARTS | changed
    return sentence(*(state[key] for key in ("x", "bits", "lo", "hi", "symmetric")))


@pytest.mark.parametrize(
    ("label", "key", "changed"),
    [
        ("value x", "ArrowRight", {"x": 0.305}),
        ("value x", "ArrowLeft", {"x": 0.295}),
        ("bits", "ArrowRight", {"bits": 5}),
        ("bits", "Home", {"bits": 1}),
        ("bits", "End", {"bits": 8}),
        ("low end", "ArrowLeft", {"lo": -1.05}),
        ("high end", "ArrowRight", {"hi": 1.05}),
        ("symmetric (2 bits or more)", "Space", {"symmetric": True}),
    ],
)
def test_each_control_by_keyboard(mount, label, key, changed):
    page = mount(NumberLine(**STARTS))
    page.get_by_label(label, exact=True).focus()
    page.keyboard.press(key)
    assert page.get_by_role("status").inner_text() == shown_sentence(**changed)
    assert page.evaluate("model.state") == STARTS | changed
    assert page.evaluate("model.saves") == 1


def test_tab_reaches_every_control_in_order(mount):
    page = mount(NumberLine())
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.labels[0].innerText"))
    assert [text.strip() for text in reached] == [
        *("value x", "bits", "low end", "high end"),
        "symmetric (2 bits or more)",
    ]


def test_impossible_combinations_move_the_other_control(mount):
    page = mount(NumberLine(bits=1, x=0.0))
    page.get_by_label("symmetric").check()
    assert page.evaluate("model.state.bits") == 2
    page.get_by_label("low end").press("End")
    state = page.evaluate("model.state")
    assert (state["lo"], state["hi"]) == (3.95, 4)
    page.get_by_label("high end").press("Home")
    state = page.evaluate("model.state")
    assert (state["lo"], state["hi"]) == (-4, -3.95)


@pytest.mark.parametrize("touch", [False, True])
def test_the_point_is_dragged_along_the_line(mount, page, touch):
    page.set_viewport_size({"width": 320, "height": 700})
    mount(NumberLine(**STARTS))
    box = page.locator(".fb-line").bounding_box()
    # The slider of x covers the stretch of the line that is shown.
    shown = page.get_by_role("slider", name="value x").evaluate("e => [+e.min, +e.max]")

    def left(x: float) -> float:
        return box["x"] + box["width"] * (x - shown[0]) / (shown[1] - shown[0])

    top = box["y"] + 28
    if touch:
        send = page.context.new_cdp_session(page).send
        for kind, x in (("Start", 0.3), ("Move", 0.0), ("Move", -0.6), ("End", None)):
            points = [] if x is None else [{"x": left(x), "y": top}]
            event = {"type": f"touch{kind}", "touchPoints": points}
            send("Input.dispatchTouchEvent", event)
    else:
        page.mouse.move(left(0.3), top)
        page.mouse.down()
        page.mouse.move(left(-0.6), top, steps=4)
        page.mouse.up()
        page.mouse.move(left(0.9), top)  # after the release nothing follows
    x = page.evaluate("model.state.x")
    # A pixel is 3.2 / 300 units; the pointer's position is rounded to one at most.
    assert x == pytest.approx(-0.6, abs=(shown[1] - shown[0]) / box["width"])
    assert page.get_by_role("status").inner_text() == shown_sentence(x=x)


def test_a_change_from_python_is_drawn_and_unmounting_stops_it(mount):
    page = mount(NumberLine(**STARTS))
    page.evaluate("model.set('bits', 2)")
    assert page.get_by_role("status").inner_text() == shown_sentence(bits=2)
    page.evaluate("unmount()")
    page.evaluate("model.set('bits', 3)")
    assert page.get_by_role("status").inner_text() == shown_sentence(bits=2)


@pytest.mark.parametrize("width", [320, 1200])
def test_nothing_is_wider_than_the_page(mount, page, width):
    page.set_viewport_size({"width": width, "height": 700})
    mount(NumberLine(bits=8, x=1.0))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for text in page.locator(".fb-line text").all():
        box = text.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_the_file_is_small_and_loads_nothing():
    for name in ("number_line.js", "quiz.js", "widgets.css"):
        text = (NumberLine._esm._path.parent / name).read_text()
        assert len(text.encode()) < 50_000
        plain = text.replace("http://www.w3.org/2000/svg", "")
        for loader in (
            "import(",
            "fetch(",
            "XMLHttp",
            "url(",
            "Math.random",
            "@import",
        ):
            assert loader not in plain
