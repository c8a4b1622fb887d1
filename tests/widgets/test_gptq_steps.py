"""GPTQ column by column: its arithmetic in two languages, and its controls."""

import numpy as np
import pytest
import torch

from course_utils.formats.affine import QuantSpec
from course_utils.methods import gptq
from course_utils.methods.statistics import LayerStats
from course_utils.widgets.gptq_slice import damped, inverse, lost, states, without
from course_utils.widgets.gptq_steps import GptqSteps, sentence

COMPARED = 2_000


def random_slice(rng: np.random.Generator, rows: int = 4, cols: int = 8):
    """Return weights and the second moment of inputs that go together."""
    shared = rng.normal(size=(64, 2)) @ rng.normal(size=(2, cols))
    x = shared + rng.uniform(0.1, 2) * rng.normal(size=(64, cols))
    x *= 10.0 ** rng.uniform(-2, 1)
    return rng.normal(size=(rows, cols)).tolist(), (x.T @ x / len(x)).tolist()


def random_case(rng: np.random.Generator) -> list:
    """Return the arguments of `states`."""
    weights, hessian = random_slice(rng, rng.integers(1, 5), rng.integers(1, 9))
    if rng.integers(5) == 0:  # a one-signed row, where the range is widened to 0
        weights[0] = np.abs(weights[0]).tolist()
    bits = int(rng.choice([2, 3, 4, 8]))
    damping = float(rng.choice([0, 0.001, 0.01, 0.1, 1, 10, 100]))
    return [weights, hessian, bits, damping, bool(rng.integers(2))]


@pytest.fixture
def start() -> GptqSteps:
    return GptqSteps(*random_slice(np.random.default_rng(3)))


def test_javascript_equals_python_to_the_last_bit(mount, start):
    page = mount(start)
    rng = np.random.default_rng(0)
    cases = [random_case(rng) for _ in range(COMPARED)]
    script = """cases => cases.map((c) => {
      const s = { bits: c[2], damping: c[3], compensate: c[4] };
      const words = (_, step) => widget.sentence(c[0], c[1], { ...s, step });
      return [widget.states(...c), c[1].map(words)];
    })"""
    moved = 0
    for case, (found, said) in zip(cases, page.evaluate(script, cases), strict=True):
        ours = states(*case)
        expected = [vars(state) for state in ours]
        assert found == expected, case
        words = dict(zip(("bits", "damping", "compensate"), case[2:], strict=True))
        assert said == [
            sentence(case[0], case[1], settings=words | {"step": i})
            for i in range(len(case[1]))
        ]
        moved += ours[-1].codes != states(*case[:4], False)[-1].codes
    # The comparison means little unless compensation changed many codes.
    assert moved > COMPARED / 10


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_same_codes_as_the_library(bits):
    rng = np.random.default_rng(bits)
    for _ in range(20):
        weights, hessian = random_slice(rng)
        moment = torch.tensor(hessian, dtype=torch.float32)
        ones = torch.ones(len(hessian))
        stats = LayerStats(64, moment, ones, ones)
        theirs = gptq.quantize(
            torch.tensor(weights), stats, spec=QuantSpec(bits), percdamp=0.01
        )
        last = states(weights, hessian, bits, 0.01, True)[-1]
        # A tie within float32 rounding could differ; these seeds have none.
        assert theirs.q.tolist() == last.codes


def test_inverse_and_elimination_against_numpy():
    _, hessian = random_slice(np.random.default_rng(1))
    hinv = inverse(hessian)
    # An inverse is exact to the condition number times float64 rounding.
    bound = np.linalg.cond(hessian) * 100 * np.finfo(float).eps
    assert np.allclose(np.array(hinv) @ np.array(hessian), np.eye(8), atol=bound)
    smaller = np.array(without(hinv, 0))
    assert np.abs(smaller[0]).max() <= bound * np.abs(hinv).max()
    rest = np.linalg.inv(np.array(hessian)[1:, 1:])
    assert np.allclose(smaller[1:, 1:], rest, rtol=0, atol=bound * np.abs(rest).max())


def test_loss_is_that_of_the_outputs():
    rng = np.random.default_rng(2)
    x, w, now = (rng.normal(size=shape) for shape in [(50, 6), (3, 6), (3, 6)])
    direct = ((x @ (now - w).T) ** 2).sum() / len(x)
    found = lost(w.tolist(), now.tolist(), (x.T @ x / len(x)).tolist())
    # A sum of 3 * 36 products: rounding is far below 1e-12 of the sum of magnitudes.
    assert found == pytest.approx(direct, rel=1e-12)


def test_free_weights_move_where_the_loss_is_least():
    weights, hessian = random_slice(np.random.default_rng(5))
    after = states(weights, hessian, 2, 0.0, True)[1].weights
    least = lost(weights, after, hessian)
    rng = np.random.default_rng(6)
    for size in (1e-3, 1e-1):
        for _ in range(20):
            other = np.array(after)
            other[:, 1:] += size * rng.normal(size=(4, 7))
            assert lost(weights, other.tolist(), hessian) > least


def test_damping_beyond_measure_is_round_to_nearest():
    weights, hessian = random_slice(np.random.default_rng(7))
    # At 1e9 times the mean diagonal no weight moves by more than 1e-8 steps.
    far = states(weights, hessian, 3, 1e9, True)[-1].codes
    assert far == states(weights, hessian, 3, 0.01, False)[-1].codes
    assert damped([[1.0, 0.5], [0.5, 3.0]], 0.5) == [[2.0, 0.5], [0.5, 4.0]]


def shown(page, start) -> dict:
    """Return the settings in the page's model; its status line must fit them."""
    state = page.evaluate("model.state")
    settings = {name: state[name] for name in start.settings()}
    said = sentence(start.weights, start.hessian, settings=settings)
    assert page.get_by_role("status").inner_text() == said
    return settings


@pytest.mark.parametrize(
    ("control", "key", "changed"),
    [
        (("slider", "columns"), "ArrowRight", {"step": 1}),
        (("slider", "columns"), "End", {"step": 8}),
        (("button", "next column"), "Enter", {"step": 1}),
        (("combobox", "bits"), "ArrowDown", {"bits": 4}),
        (("combobox", "damping"), "End", {"damping": 100}),
        (("checkbox", "let free weights"), "Space", {"compensate": False}),
    ],
)
def test_each_control_by_keyboard(mount, start, control, key, changed):
    page = mount(start)
    page.get_by_role(control[0], name=control[1]).focus()
    page.keyboard.press(key)
    assert shown(page, start) == start.settings() | changed
    assert page.evaluate("model.saves") == 1


def test_buttons_go_back_and_start_over(mount):
    start = GptqSteps(*random_slice(np.random.default_rng(3)), step=5)
    page = mount(start)
    page.get_by_role("button", name="back").click()
    assert shown(page, start)["step"] == 4
    page.get_by_role("button", name="start over").click()
    assert shown(page, start)["step"] == 0
    assert page.get_by_role("button", name="back").is_disabled()


def test_play_walks_to_the_end_and_stops(mount, start):
    page = mount(start)
    page.clock.install()
    page.get_by_role("button", name="play").click()
    page.clock.run_for(2_000)
    assert shown(page, start)["step"] == 2
    page.get_by_role("button", name="stop").click()
    page.clock.run_for(5_000)
    assert shown(page, start)["step"] == 2
    page.get_by_role("button", name="play").click()
    page.clock.run_for(60_000)
    assert shown(page, start)["step"] == 8
    assert page.get_by_role("button", name="play").is_visible()
    page.get_by_role("button", name="play").click()
    page.evaluate("unmount()")
    before = page.evaluate("model.state.step")
    page.clock.run_for(5_000)
    assert page.evaluate("model.state.step") == before


def test_cells_show_codes_and_moves(mount, start):
    page = mount(start)
    page.get_by_role("slider", name="columns").press("ArrowRight")
    state = start.states()[1]
    rows = page.locator("tbody tr").all()
    for r, row in enumerate(rows):
        cells = row.locator("td").all_inner_texts()
        assert f"code {state.codes[r][0]}" in cells[0]
        for c, cell in enumerate(cells):
            assert f"{state.weights[r][c]:.3f}".replace("-0.000", "0.000") in cell
            assert ("free" in cell) == (c > 0)
    widths = page.locator(".fb-moved").evaluate_all("n => n.map((x) => x.style.width)")
    assert len(set(widths)) > 16


def test_a_change_from_python_is_drawn_and_unmounting_stops_it(mount, start):
    page = mount(start)
    page.evaluate("model.set('step', 3)")
    assert shown(page, start)["step"] == 3
    before = page.get_by_role("status").inner_text()
    page.evaluate("unmount()")
    page.evaluate("model.set('step', 4)")
    assert page.get_by_role("status").inner_text() == before


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_page(mount, page, start, width):
    page.set_viewport_size({"width": width, "height": 700})
    mount(start)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for cell in page.locator(".fb-lost span").all():
        box = cell.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"bits": 5}, "bits must be one of"),
        ({"damping": -1}, "damping must be 0 to 1000"),
        ({"step": 9}, "step must be 0 to 8, got 9"),
        ({"speed": 1}, "speed is no setting"),
    ],
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        GptqSteps(*random_slice(np.random.default_rng(0)), **settings)


def test_matrices_that_do_not_fit_are_refused():
    weights, hessian = random_slice(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"must be \(8, 8\); got \(7, 8\)"):
        GptqSteps(weights, hessian[:7])
    with pytest.raises(ValueError, match="Give a slice"):
        GptqSteps(weights * 3, hessian)
    with pytest.raises(ValueError, match="finite"):
        GptqSteps([[float("nan")] * 8], hessian)
    with pytest.raises(ValueError, match="no inverse; give a damping above 0"):
        GptqSteps([[1.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]], damping=0)
    assert "0 of 2" in repr(GptqSteps([[1.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]]))


def test_the_file_is_small_and_loads_nothing():
    text = GptqSteps._esm._path.read_text()
    assert len(text.encode()) <= 15_000
    for loader in ("import(", "fetch(", "XMLHttp", "Math.random", "http"):
        assert loader not in text
