"""The rotation explorer: its arithmetic in two languages, and its controls."""

import math

import numpy as np
import pytest
import torch

from course_utils.methods.rotation import peak
from course_utils.widgets.rotation_explorer import (
    RotationExplorer,
    best_angle,
    sentence,
    turn,
    turned,
)

START = {"angle": 0, "bits": 4}


def points(n: int = 60, seed: int = 0) -> list[list[float]]:
    """Return tokens whose first channel is loud, 5 digits each."""
    v = np.random.default_rng(seed).standard_normal((n, 2)) * [4.0, 0.5]
    return RotationExplorer(v).pairs


def test_javascript_equals_python(mount):
    page = mount(RotationExplorer(points()))
    rng = np.random.default_rng(1)
    cases = [
        [
            (rng.standard_normal((int(rng.integers(1, 30)), 2)) * 10.0**e).tolist(),
            int(rng.integers(0, 91)),
            int(rng.integers(2, 9)),
        ]
        for e in rng.uniform(-3, 3, 300)
    ]
    script = """cases => cases.map((c) => {
      const a = widget.turned(...c);
      return [a.peak, a.step, a.rmse, widget.sentence(...c)];
    })"""
    for case, answer in zip(cases, page.evaluate(script, cases), strict=True):
        found = turned(*case)
        # Sine and cosine may differ by 2**-53 between the two; a code that is moved
        # by that lies on a tie, where both errors are alike.
        assert answer[:3] == pytest.approx([found.peak, found.step, found.rmse], 1e-9)
        assert answer[3] == sentence(*case)


def test_the_best_angle_is_the_same_in_both_languages(mount):
    page = mount(RotationExplorer(points()))
    cases = [[points(20, seed), bits] for seed in range(5) for bits in (2, 4)]
    found = page.evaluate("cases => cases.map((c) => widget.bestAngle(...c))", cases)
    assert found == [best_angle(*case) for case in cases]
    assert len(set(found)) > 2


def test_a_turn_keeps_every_length_and_the_peak_is_that_of_the_library():
    before, after = np.array(points()), turn(points(), 30)
    # A sum of two products in float64.
    assert np.allclose(np.hypot(*before.T), np.hypot(*after.T), rtol=1e-14)
    flat = torch.tensor(after).flatten()
    assert turned(points(), 30, 4).peak == pytest.approx(peak(flat).item(), rel=1e-6)


def test_one_loud_channel_gains_at_most_the_root_of_two():
    loud = [[3.0, 0.0], [-2.0, 0.0]]
    gains = [turned(loud, 0, 4).step / turned(loud, a, 4).step for a in range(91)]
    assert max(gains) == pytest.approx(math.sqrt(2))
    assert gains.index(max(gains)) == 45


def test_plain_text_says_what_is_shown():
    widget = RotationExplorer([[3.0, 0.0], [0.0, 1.0]], bits=2, angle=90)
    assert repr(widget) == (
        "Rotation. Turned by 90 degrees, 2 bits: the largest value is 1.90 times the "
        "root mean square, the step 3.00, the root mean squared error 0.500. As it is "
        "they are 1.90, 3.00 and 0.500."
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"pairs": []}, "Give 1 to 256 pairs"),
        ({"pairs": [[1.0, 2.0, 3.0]]}, r"pairs of values, got shape \(1, 3\)"),
        ({"pairs": [[0.0, 0.0]]}, "finite and not all zero"),
        ({"pairs": [[1.0, float("nan")]]}, "finite and not all zero"),
        ({"pairs": [[1.0, 0.0]], "bits": 9}, "bits must be 2 to 8, got 9"),
        ({"pairs": [[1.0, 0.0]], "angle": 91}, "angle must be 0 to 90, got 91"),
    ],
)
def test_what_has_no_grid_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        RotationExplorer(**arguments)


def shown(page) -> dict:
    """Return the page's settings; its status line must fit them."""
    state = page.evaluate("model.state")
    settings = {name: state[name] for name in START}
    said = page.get_by_role("status").inner_text()
    assert said == sentence(state["pairs"], **settings)
    return settings


@pytest.mark.parametrize(
    ("label", "key", "changed"),
    [
        ("angle", "ArrowRight", {"angle": 1}),
        ("angle", "End", {"angle": 90}),
        ("bits", "ArrowLeft", {"bits": 3}),
        ("bits", "End", {"bits": 8}),
    ],
)
def test_each_control_by_keyboard(mount, label, key, changed):
    page = mount(RotationExplorer(points()))
    page.get_by_label(label, exact=True).focus()
    page.keyboard.press(key)
    assert shown(page) == START | changed
    assert page.evaluate("model.saves") == 1


def test_the_buttons_turn(mount):
    page = mount(RotationExplorer(points(), bits=3))
    page.get_by_role("button", name="least error").press("Enter")
    best = best_angle(points(), 3)
    assert 0 < best < 90
    assert shown(page) == {"angle": best, "bits": 3}
    page.get_by_role("button", name="as it is").click()
    assert shown(page) == {"angle": 0, "bits": 3}


def test_a_change_from_python_is_drawn_and_unmounting_stops_it(mount):
    page = mount(RotationExplorer(points()))
    page.evaluate("model.set('angle', 20)")
    assert shown(page) == START | {"angle": 20}
    page.evaluate("unmount()")
    page.evaluate("model.set('angle', 30)")
    said = page.get_by_role("status").inner_text()
    assert said == sentence(points(), 20, 4)


@pytest.mark.parametrize("width", [320, 1200])
def test_nothing_is_wider_than_the_page(mount, page, width):
    page.set_viewport_size({"width": width, "height": 800})
    mount(RotationExplorer(points(), bits=8, angle=45))
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_file_is_small_and_loads_nothing():
    text = RotationExplorer._esm._path.read_text()
    assert len(text.encode()) < 15_000
    plain = text.replace("http://www.w3.org/2000/svg", "")
    for loader in ("import(", "fetch(", "XMLHttp", "Math.random", "@import"):
        assert loader not in plain
