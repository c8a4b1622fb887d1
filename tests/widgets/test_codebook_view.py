"""The codebook view: its arithmetic in two languages, and its controls."""

import itertools

import numpy as np
import pytest
import torch

from course_utils.methods import kmeans
from course_utils.widgets import codebook_view
from course_utils.widgets.codebook_view import CodebookView, sentence, view

COMPARED = 120


def cloud(n: int = 60, seed: int = 0) -> list[list[float]]:
    """Return a round cloud of pairs, 4 digits each."""
    return CodebookView(np.random.default_rng(seed).standard_normal((n, 2))).pairs


def random_cases(n: int) -> list[list]:
    """Return clouds of other sizes and scales, with ties, and settings."""
    rng = np.random.default_rng(1)
    cases = []
    for i in range(n):
        pairs = rng.standard_normal((rng.integers(2, 40), 2)) * 10.0 ** rng.uniform(
            -3, 3
        )
        pairs = np.round(pairs * 2) / 2 if i % 3 == 0 else pairs
        pairs[0] += 1.0
        cases.append([pairs.tolist(), int(rng.integers(1, 4)), int(rng.integers(21))])
    return cases


def test_javascript_equals_python_to_the_last_bit(mount):
    page = mount(CodebookView(cloud()))
    cases = random_cases(COMPARED)
    script = """cases => cases.map((c) => {
      const v = widget.view(...c);
      return [v.points, v.codes, v.rmse, v.unused, widget.sentence(...c)];
    })"""
    wrong, unused = [], 0
    for case, answer in zip(cases, page.evaluate(script, cases), strict=True):
        found = view(*case)
        points = [list(point) for point in found.points]
        expected = [points, found.codes, found.rmse, found.unused, sentence(*case)]
        unused += found.unused > 0
        if answer != expected:
            wrong.append((case, answer, expected))
    assert not wrong, wrong[:1]
    # Points without pairs are the special case; the comparison must meet both.
    assert COMPARED / 10 < unused < COMPARED


def test_a_turn_never_raises_the_error_and_twenty_lower_it():
    errors = [view(cloud(), 2, turns).rmse for turns in range(21)]
    assert all(b <= a for a, b in itertools.pairwise(errors))
    assert errors[20] < 0.8 * errors[0]


def test_it_is_the_kmeans_of_the_lesson():
    """From the same start, in float32 there and in float64 here."""
    pairs = cloud()
    start = torch.tensor(codebook_view.grid(pairs, 2), dtype=torch.float32)
    points = torch.tensor(pairs)
    centres = start  # there it starts from points that it draws
    for _ in range(3):
        b = kmeans.nearest(points, centres)
        used = [
            points[b == k].mean(dim=0) if (b == k).any() else centres[k]
            for k in range(16)
        ]
        centres = torch.stack(used)
    found = view(pairs, 2, 3)
    assert kmeans.nearest(points, centres).tolist() == found.codes
    np.testing.assert_allclose(centres, found.points, atol=1e-5)


def test_the_grid_covers_the_numbers():
    points = codebook_view.grid([[-1.0, 0.5], [2.0, 0.0]], 1)
    assert points == [(-1.0, -1.0), (2.0, -1.0), (-1.0, 2.0), (2.0, 2.0)]


def test_plain_text_says_what_is_lost():
    pairs = [[-1.0, -1.0], [1.0, 1.0], [1.0, 0.5], [0.5, 1.0]]
    assert repr(CodebookView(pairs, bits=1, turns=1)) == (
        "Codebook. 4 points for 4 pairs, 1 bit a weight, 1 turn of k-means. Root mean "
        "squared error 0.2041; that of the grid is 0.2500. 2 of the points have no "
        "pair."
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"pairs": []}, "Give 1 to 600 pairs of numbers; there are 0 rows"),
        ({"pairs": [[1.0, 2.0, 3.0]]}, "Give 1 to 600 pairs"),
        ({"pairs": [[1.0, 1.0]]}, "finite and not all equal"),
        ({"pairs": [[1.0, float("nan")]]}, "finite and not all equal"),
        ({"pairs": [[1.0, 2.0]], "bits": 4}, "bits must be 1 to 3, got 4"),
        ({"pairs": [[1.0, 2.0]], "turns": 21}, "turns must be 0 to 20, got 21"),
    ],
)
def test_what_has_no_codebook_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        CodebookView(**arguments)


def shown(page) -> dict:
    """Return the page's settings; its status line must fit them."""
    state = page.evaluate("model.state")
    settings = {name: state[name] for name in ("bits", "turns")}
    said = page.get_by_role("status").inner_text()
    assert said == sentence(state["pairs"], **settings)
    return settings


@pytest.mark.parametrize(
    ("label", "key", "changed"),
    [
        ("bits a weight", "ArrowRight", {"bits": 3}),
        ("bits a weight", "Home", {"bits": 1}),
        ("turns of k-means", "ArrowRight", {"turns": 1}),
        ("turns of k-means", "End", {"turns": 20}),
    ],
)
def test_each_control_by_keyboard(mount, label, key, changed):
    page = mount(CodebookView(cloud()))
    page.get_by_label(label, exact=True).focus()
    page.keyboard.press(key)
    assert shown(page) == {"bits": 2, "turns": 0} | changed
    assert page.evaluate("model.saves") == 1


def test_a_change_from_python_is_drawn_and_unmounting_stops_it(mount):
    page = mount(CodebookView(cloud()))
    page.evaluate("model.set('turns', 2)")
    assert shown(page) == {"bits": 2, "turns": 2}
    page.evaluate("unmount()")
    page.evaluate("model.set('turns', 3)")
    said = page.get_by_role("status").inner_text()
    assert said == sentence(cloud(), bits=2, turns=2)


@pytest.mark.parametrize("width", [320, 1200])
@pytest.mark.parametrize("pairs", [cloud(), [[0.1, 0.5]], [[-3.0, 2e4], [1e-4, 0.0]]])
def test_nothing_is_wider_than_the_page(mount, page, width, pairs):
    page.set_viewport_size({"width": width, "height": 800})
    mount(CodebookView(pairs, bits=3, turns=2))
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_file_is_small_and_loads_nothing():
    text = CodebookView._esm._path.read_text()
    assert len(text.encode()) < 20_000
    plain = text.replace("http://www.w3.org/2000/svg", "")
    for loader in ("import(", "fetch(", "XMLHttp", "Math.random", "@import"):
        assert loader not in plain
