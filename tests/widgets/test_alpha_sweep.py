"""The alpha slider: its arithmetic against the library's, its record, its controls."""

import math

import pytest
import torch

from course_utils.measure import records
from course_utils.measure.smoothquant_sweep import settings
from course_utils.methods.smoothquant import smoothing_factors
from course_utils.widgets import alpha_sweep
from course_utils.widgets.alpha_sweep import (
    ALPHAS,
    AlphaSweep,
    chosen,
    factors,
    sentence,
    spread,
)


def maxima(n=100, seed=0):
    """Return maxima of inputs and weights that differ in size."""
    generator = torch.Generator().manual_seed(seed)
    act = 10 ** (3 * torch.rand(n, generator=generator) - 1)
    return act, 0.1 + torch.rand(n, generator=generator)


@pytest.fixture
def sweep():
    return AlphaSweep(*maxima())


def test_javascript_equals_python(mount, sweep):
    page = mount(sweep)
    script = """alphas => alphas.map((alpha) => [
      widget.factors(model.state.act, model.state.w, alpha),
      widget.channels(model.state.act, model.state.w, alpha).map(widget.spread)])"""
    answers = page.evaluate(script, list(ALPHAS))
    for alpha, (s, spreads) in zip(ALPHAS, answers, strict=True):
        sweep.alpha = alpha
        # Two powers and a quotient in float64; a power may end one bit off.
        assert s == pytest.approx(factors(sweep.act, sweep.w, alpha), rel=1e-14)
        expected = [spread(row) for row in sweep.channels()]
        assert spreads == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_factors_are_the_library_s(alpha, sweep):
    act, w = torch.tensor(sweep.act), torch.tensor(sweep.w)
    wanted = smoothing_factors(act, w[None], alpha=alpha).tolist()
    # float32 against float64: two powers and a quotient, each within 2 * 2**-24.
    assert factors(sweep.act, sweep.w, alpha) == pytest.approx(wanted, rel=10 * 2**-24)


def test_every_setting_is_said_as_python_says_it(mount, sweep):
    page = mount(sweep)
    for alpha in ALPHAS:
        sweep.alpha = alpha
        script = "a => widget.sentence({ ...model.state, alpha: a })"
        assert page.evaluate(script, alpha) == sentence(sweep)


def test_the_results_are_the_record_s(sweep):
    values = records.read("smoothquant")["values"]
    names = {n for n in settings() if n.startswith("token")}
    assert sweep.results.keys() == names
    for name, found in sweep.results.items():
        assert found["kl"] == values[f"kl_{name}"]["value"]
        assert found["high"] == values[f"ratio_{name}"]["spread"]["high"]
    assert "token_norms_30" in sweep.results


def test_without_a_record_it_says_so(monkeypatch, mount):
    monkeypatch.setattr(alpha_sweep, "sweep", dict)
    widget = AlphaSweep(*maxima())
    assert "smoothed behind norms: not measured at this setting." in repr(widget)
    status = mount(widget).get_by_role("status").inner_text()
    assert status == sentence(widget)


def test_channels_are_chosen_over_all_ranks():
    act, w = maxima(576)
    shown, beside = chosen(act, w)
    assert len(shown) == 48
    assert shown == sorted(shown, reverse=True)
    # Six digits are kept: half a unit of the last one is at most 5e-6 of the number.
    assert shown[0] == pytest.approx(act.max().item(), rel=5e-6)
    assert shown[-1] == pytest.approx(act.min().item(), rel=5e-6)
    assert beside[0] == pytest.approx(w[act.argmax()].item(), rel=5e-6)
    assert len(chosen(*maxima(3))[0]) == 3


def test_a_channel_of_zeros_keeps_its_place(mount):
    act, w = maxima(4)
    act[2] = 0
    widget = AlphaSweep(act, w)
    page = mount(widget)
    assert page.get_by_role("status").inner_text() == sentence(widget)
    assert factors(widget.act, widget.w, 0.5)[-1] == 1
    # Three channels have inputs, all four have weights; each drawn before and after.
    assert page.locator(".fb-channels circle").count() == 6
    assert page.locator(".fb-channels rect").count() == 8


@pytest.mark.parametrize(
    ("press", "alpha"), [("ArrowRight", 0.6), ("Home", 0), ("End", 1)]
)
def test_the_slider_by_keyboard(mount, sweep, press, alpha):
    page = mount(sweep)
    page.get_by_role("slider", name="alpha").focus()
    page.keyboard.press(press)
    assert page.evaluate("model.state.alpha") == alpha
    sweep.alpha = alpha
    assert page.get_by_role("status").inner_text() == sentence(sweep)
    assert page.evaluate("model.saves") == 1


def test_points_stand_where_the_numbers_say(mount, sweep):
    page = mount(sweep)
    script = "(a) => { model.set('alpha', a); return [...document.querySelectorAll("
    script += "'circle.fb-input:not(.fb-before)')].slice(0, 48)"
    script += ".map((c) => Number(c.getAttribute('cy'))); }"
    level = page.evaluate(script, 1)
    # At alpha 1 all inputs are equal, so all points stand on one line.
    assert max(level) - min(level) < 1e-6
    sloped = page.evaluate(script, 0)
    act, w = sweep.act, sweep.w
    rise = (sloped[0] - sloped[1]) / (sloped[0] - sloped[2])
    logs = [math.log10(act[j] * w[j]) for j in range(3)]
    assert rise == pytest.approx((logs[0] - logs[1]) / (logs[0] - logs[2]), rel=1e-6)


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_page(mount, page, sweep, width):
    page.set_viewport_size({"width": width, "height": 700})
    mount(sweep)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_change_from_python_is_drawn_and_unmounting_stops_it(mount, sweep):
    page = mount(sweep)
    page.evaluate("model.set('alpha', 0.2)")
    sweep.alpha = 0.2
    assert page.get_by_role("status").inner_text() == sentence(sweep)
    page.evaluate("unmount()")
    page.evaluate("model.set('alpha', 0.9)")
    assert page.get_by_role("status").inner_text() == sentence(sweep)


def test_an_alpha_beside_the_slider_is_refused():
    with pytest.raises(ValueError, match="alpha as a tenth from 0 to 1"):
        AlphaSweep(*maxima(), alpha=0.55)


def test_maxima_that_do_not_fit_are_refused():
    for act, w in [(torch.ones(3), torch.ones(4)), (torch.ones(2, 2),) * 2]:
        with pytest.raises(ValueError, match="one maximum of each for every channel"):
            AlphaSweep(act, w)


def test_the_file_is_small_and_loads_nothing():
    text = AlphaSweep._esm._path.read_text()
    assert len(text.encode()) <= 15_000
    for loader in ("import(", "fetch(", "XMLHttp", "Math.random", "http:"):
        assert loader not in text.replace("http://www.w3.org/2000/svg", "")
