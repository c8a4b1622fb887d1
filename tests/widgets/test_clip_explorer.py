"""The clip explorer: its arithmetic in two languages, and its controls."""

import numpy as np
import pytest
import torch

from course_utils.formats import affine
from course_utils.methods import clipping
from course_utils.widgets.clip_explorer import (
    ClipExplorer,
    best_percent,
    sentence,
    split,
)

COMPARED = 1_000
FIELDS = (
    *("rounding", "clipping", "clipped", "n", "scale", "zero_point", "low", "high"),
    *("total", "rmse"),
)
START = {"bits": 4, "low_percent": 100, "high_percent": 100, "symmetric": False}


def row(n: int = 200, seed: int = 0) -> list[float]:
    """Return a bell-shaped row with two large values, 5 digits each."""
    v = 0.05 * np.random.default_rng(seed).standard_normal(n)
    v[:2] = -0.31, 0.42
    return ClipExplorer(v).values


def random_cases(n: int) -> list[list]:
    """Return rows with ties and of one sign, and settings from the sliders."""
    rng = np.random.default_rng(1)
    cases = []
    for i in range(n):
        v = rng.standard_normal(rng.integers(1, 40)) * 10.0 ** rng.uniform(-5, 4)
        v = np.abs(v) if i % 5 == 0 else v
        v = np.round(v * 4) / 4 if i % 3 == 0 else v
        v[0] += 0.25
        symmetric = bool(rng.integers(2))
        bits = int(rng.integers(2 if symmetric else 1, 9))
        low, high = (int(x) for x in rng.integers(5, 101, 2))
        if i % 4 == 0:
            low = high = 100
        cases.append([v.tolist(), bits, low, high, symmetric])
    return cases


def test_javascript_equals_python_to_the_last_bit(mount):
    page = mount(ClipExplorer(row()))
    cases = random_cases(COMPARED)
    script = """cases => cases.map((c) => {
      const a = widget.split(...c);
      return [a.rounding, a.clipping, a.clipped, a.n, a.scale, a.zeroPoint, a.low,
              a.high, a.total, a.rmse, widget.sentence(...c)];
    })"""
    wrong, clipped = [], 0
    for case, answer in zip(cases, page.evaluate(script, cases), strict=True):
        found = split(*case)
        expected = [*(getattr(found, name) for name in FIELDS), sentence(*case)]
        clipped += found.clipped > 0
        if answer != expected:
            wrong.append((case, answer, expected))
    assert not wrong, wrong[:2]
    # The comparison means little unless many rows are clipped and many are not.
    assert COMPARED / 20 < clipped < COMPARED * 19 / 20


def test_the_best_percent_is_the_same_in_both_languages(mount):
    page = mount(ClipExplorer(row()))
    cases = [[c[0], c[1], c[4]] for c in random_cases(60)]
    found = page.evaluate("cases => cases.map((c) => widget.bestPercent(...c))", cases)
    assert found == [best_percent(*case) for case in cases]
    assert len(set(found)) > 5


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_split_is_the_error_of_the_tensor_code(bits, symmetric):
    w = torch.tensor([row()])
    spec = affine.QuantSpec(bits, symmetric)
    percents = (100, 80, 60, 40)
    scale, zero_point = clipping.search(
        w, spec=spec, ratios=[p / 100 for p in percents]
    )
    q = affine.quantize(w, scale, zero_point, spec=spec)
    w_hat = affine.dequantize(q, scale, zero_point, spec=spec)
    ours = min(
        (split(w[0].tolist(), bits, p, p, symmetric) for p in percents), key=total
    )
    # Float32 there, float64 here; no weight of this row lies that near a tie.
    assert (w - w_hat).square().sum().item() == pytest.approx(ours.total, rel=1e-4)
    assert scale.item() == pytest.approx(ours.scale, rel=1e-6)


def total(found):
    return found.total


def test_the_whole_range_clips_at_most_by_the_rounding_of_its_zero_point():
    found = split(row(), 4, 100, 100)
    assert found.clipping <= found.clipped * (found.scale / 2) ** 2 * (1 + 1e-12)
    assert split(row(), 4, 100, 100, True).clipped == 0


def test_plain_text_says_what_is_lost():
    w = [-1.0, -0.5, 0.0, 0.5, 3.5]
    assert repr(ClipExplorer(w, bits=2, high_percent=50, low_percent=50)) == (
        "Clipping. 2 bits, grid from -0.750 to 1.500 in steps of 0.750, zero point 1. "
        "1 of 5 weights lie beyond it. Root mean squared error 0.9152, 4 % of its "
        "square from rounding and 96 % from clipping. With the data's own range it is "
        "0.4472."
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"values": []}, "Give 1 to 4096 values, got 0"),
        ({"values": [0.0, 0.0]}, "finite and not all zero"),
        ({"values": [1.0, float("nan")]}, "finite and not all zero"),
        ({"values": [1.0], "bits": 9}, "bits must be 1 to 8"),
        ({"values": [1.0], "bits": 1, "symmetric": True}, "at least 2 bits"),
        ({"values": [1.0], "low_percent": 4}, "low_percent must be 5 to 100, got 4"),
        ({"values": [1.0], "high_percent": 101}, "high_percent must be 5 to 100"),
    ],
)
def test_what_has_no_grid_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        ClipExplorer(**arguments)


def shown(page) -> dict:
    """Return the page's settings; its status line must fit them."""
    state = page.evaluate("model.state")
    settings = {name: state[name] for name in START}
    said = page.get_by_role("status").inner_text()
    assert said == sentence(state["values"], **settings)
    return settings


@pytest.mark.parametrize(
    ("label", "key", "changed"),
    [
        ("low end", "ArrowLeft", {"low_percent": 99}),
        ("low end", "Home", {"low_percent": 5}),
        ("high end", "ArrowLeft", {"high_percent": 99}),
        ("bits", "ArrowRight", {"bits": 5}),
        ("bits", "Home", {"bits": 1}),
        ("symmetric (2 bits or more)", "Space", {"symmetric": True}),
    ],
)
def test_each_control_by_keyboard(mount, label, key, changed):
    page = mount(ClipExplorer(row()))
    page.get_by_label(label, exact=True).focus()
    page.keyboard.press(key)
    assert shown(page) == START | changed
    assert page.evaluate("model.saves") == 1


def test_the_buttons_set_both_ends(mount):
    page = mount(ClipExplorer(row(), bits=3))
    page.get_by_role("button", name="least error").press("Enter")
    best = best_percent(row(), 3)
    assert 5 < best < 100
    expected = {"bits": 3, "low_percent": best, "high_percent": best}
    assert shown(page) == START | expected
    page.get_by_role("button", name="the data's range").click()
    assert shown(page) == START | {"bits": 3}


def test_one_bit_and_symmetric_do_not_go_together(mount):
    page = mount(ClipExplorer(row(), bits=1))
    page.get_by_label("symmetric").check()
    assert shown(page) == START | {"bits": 2, "symmetric": True}


def test_a_change_from_python_is_drawn_and_unmounting_stops_it(mount):
    page = mount(ClipExplorer(row()))
    page.evaluate("model.set('bits', 2)")
    assert shown(page) == START | {"bits": 2}
    page.evaluate("unmount()")
    page.evaluate("model.set('bits', 3)")
    said = page.get_by_role("status").inner_text()
    assert said == sentence(row(), **(START | {"bits": 2}))


@pytest.mark.parametrize("width", [320, 1200])
@pytest.mark.parametrize("values", [row(), [0.1, 0.5], [-3.0], [-1e-4, 2e4]])
def test_nothing_is_wider_than_the_page(mount, page, width, values):
    page.set_viewport_size({"width": width, "height": 800})
    mount(ClipExplorer(values, bits=8))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for text in page.locator(".fb-line text").all():
        box = text.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_the_file_is_small_and_loads_nothing():
    text = ClipExplorer._esm._path.read_text()
    assert len(text.encode()) < 50_000
    plain = text.replace("http://www.w3.org/2000/svg", "")
    for loader in ("import(", "fetch(", "XMLHttp", "Math.random", "@import"):
        assert loader not in plain
