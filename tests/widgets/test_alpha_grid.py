"""The slider of AWQ's search: its factors, its words, its controls."""

import pytest
import torch

from course_utils.methods.awq import Search, scales
from course_utils.widgets.alpha_grid import AlphaGrid, sentence

STEPS = 20


def found(least, seed):
    """Return magnitudes of 100 channels and a search with its least error at a step."""
    generator = torch.Generator().manual_seed(seed)
    s_X = 10 ** (3 * torch.rand(100, generator=generator) - 2)
    losses = {k / (STEPS - 1): 2 + abs(k - least) / 10 for k in range(STEPS)}
    best = least / (STEPS - 1)
    return s_X, Search(scales(s_X, best), best, losses)


@pytest.fixture
def grid():
    return AlphaGrid({"q, k, v": found(6, seed=0), "down": found(11, seed=1)})


def test_it_starts_at_the_best_step_of_its_place(grid):
    assert grid.step == 6
    assert AlphaGrid({"a": found(6, 0), "b": found(11, 1)}, place=1).step == 11


def test_the_loudest_and_the_quietest_channel_are_shown(grid):
    s_X, _ = found(6, seed=0)
    shown = grid.places[0]["magnitudes"]
    assert len(shown) == 48
    # Six digits are kept: half a unit of the last one is at most 5e-6 of the number.
    assert shown[0] == pytest.approx(s_X.max().item(), rel=5e-6)
    assert shown[-1] == pytest.approx(s_X.min().item(), rel=5e-6)


def test_javascript_factors_are_the_library_s(mount, grid):
    page = mount(grid)
    script = """n => [...Array(n).keys()].map((k) =>
      widget.factors(model.state.places[0].magnitudes, k / (n - 1)))"""
    magnitudes = torch.tensor(grid.places[0]["magnitudes"])
    for step, s in enumerate(page.evaluate(script, STEPS)):
        grid.step = step
        # A power, a root and a quotient in float64; a power may end one bit off.
        assert s == pytest.approx(grid.factors(), rel=1e-14)
        # The same in float32, each within 2 * 2**-24.
        wanted = scales(magnitudes, step / (STEPS - 1)).tolist()
        assert s == pytest.approx(wanted, rel=10 * 2**-24)


def test_every_state_is_said_as_python_says_it(mount, grid):
    page = mount(grid)
    for grid.place in (0, 1):
        for grid.step in range(STEPS):
            script = "s => widget.sentence({ ...model.state, ...s })"
            state = {"place": grid.place, "step": grid.step}
            assert page.evaluate(script, state) == sentence(grid)


@pytest.mark.parametrize(
    ("press", "step"), [("ArrowRight", 7), ("Home", 0), ("End", STEPS - 1)]
)
def test_the_slider_by_keyboard(mount, grid, press, step):
    page = mount(grid)
    page.get_by_role("slider", name="alpha").focus()
    page.keyboard.press(press)
    assert page.evaluate("model.state.step") == step
    grid.step = step
    assert page.get_by_role("status").inner_text() == sentence(grid)


def test_another_place_shows_its_own_errors(mount, grid):
    page = mount(grid)
    page.get_by_role("combobox", name="layers").select_option("down")
    grid.place = 1
    assert page.get_by_role("status").inner_text() == sentence(grid)
    filled = page.locator(".fb-channels").first.locator("circle:not(.fb-before)")
    lowest = page.locator(".fb-channels").first.locator("circle").nth(11)
    assert filled.count() == 1
    assert float(lowest.get_attribute("cy")) > float(filled.get_attribute("cy"))


def test_no_place_or_an_unknown_one_is_refused():
    for searched, place in (({}, 0), ({"a": found(3, 0)}, 1)):
        with pytest.raises(ValueError, match="count places from 0"):
            AlphaGrid(searched, place=place)


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_page(mount, page, grid, width):
    page.set_viewport_size({"width": width, "height": 700})
    mount(grid)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
