"""The outlier explorer: its words against Python's, and its controls."""

import pytest

from course_utils.measure import records
from course_utils.widgets import outlier_explorer
from course_utils.widgets.outlier_explorer import (
    PLACES,
    OutlierExplorer,
    levels,
    readable,
    sentence,
)


def entry(largest, middle, over):
    """Return an entry of a sweep whose largest channel is 7."""
    rest = largest / 3
    return {
        "channels": [[7, largest], [2, largest / 1.7], [11, middle]],
        "rest": [[2, rest], [7, rest / 1.01]],
        "median": middle,
        "rest_median": middle / 1.3,
        "over": over,
    }


@pytest.fixture
def explorer(monkeypatch):
    """An explorer of a made-up sweep: five layers, sizes from 0.01 to a million."""
    sweep = {
        site: [
            entry(3.7 * 10 ** (i + k / 2 - 1.5), 0.013 * 4.1**i, i) for i in range(5)
        ]
        for k, site in enumerate(PLACES)
    }
    made = (sweep, dict.fromkeys(PLACES, 64))
    monkeypatch.setattr(outlier_explorer, "sweep_and_channels", lambda: made)
    return OutlierExplorer(layer=2)


def words(widget, site, layer, rest):
    at = {"site": site, "layer": layer, "rest": rest}
    return sentence(widget.sweep[site][layer], **at, n_channels=widget.channels[site])


def test_javascript_says_what_python_says(mount, explorer):
    page = mount(explorer)
    cases = [
        (site, layer, rest)
        for site in PLACES
        for layer in range(5)
        for rest in (False, True)
    ]
    script = """cases => cases.map(([site, layer, rest]) => widget.sentence(
      model.state.sweep[site][layer], model.state.places[site], layer, rest,
      model.state.channels[site]))"""
    said = page.evaluate(script, cases)
    assert said == [words(explorer, *case) for case in cases]
    assert any("," in text.split("value, ")[1][:6] for text in said)  # a thousand


def test_numbers_are_written_alike(mount, explorer):
    page = mount(explorer)
    values = [0.001 * 1.37**k for k in range(80)] + [1000, 999.5, 99.95, 9.995, 0.125]
    found = page.evaluate("values => values.map(widget.readable)", values)
    assert found == [readable(v) for v in values]
    pairs = [(v, v / w) for v in values for w in (1, 2.5, 40, 254, 700)]
    found = page.evaluate("p => p.map(([a, b]) => widget.levels(a, b))", pairs)
    assert found == [levels(a, b) for a, b in pairs]


def test_known_levels():
    assert levels(127.0, 127.0) == 255
    assert levels(127.0, 3.0) == 7
    assert levels(127.0, 0.4) == 1
    assert readable(24643.7) == "24,644" and readable(49.14) == "49.1"


def test_controls_by_keyboard(mount, explorer):
    page = mount(explorer)
    status = page.get_by_role("status")
    assert status.inner_text() == words(explorer, "stream", 2, False)
    page.get_by_role("slider", name="layer").press("ArrowRight")
    assert status.inner_text() == words(explorer, "stream", 3, False)
    page.get_by_label("leave the first token out").press("Space")
    assert status.inner_text() == words(explorer, "stream", 3, True)
    page.get_by_role("combobox", name="place").select_option("down")
    assert status.inner_text() == words(explorer, "down", 3, True)
    assert page.evaluate("[model.state.layer, model.saves]") == [3, 3]


def test_a_change_from_python_is_drawn_and_unmounting_stops_it(mount, explorer):
    page = mount(explorer)
    page.evaluate("model.set('layer', 4)")
    said = page.get_by_role("status").inner_text()
    assert said == words(explorer, "stream", 4, False)
    page.evaluate("unmount()")
    page.evaluate("model.set('layer', 0)")
    assert page.get_by_role("status").inner_text() == said


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_page(mount, page, explorer, width):
    page.set_viewport_size({"width": width, "height": 700})
    mount(explorer)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("svg polyline").count() == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"site": "head"}, "No place 'head'"), ({"layer": 5}, "layers 0 to 4")],
)
def test_settings_out_of_range_are_refused(explorer, settings, said):
    with pytest.raises(ValueError, match=said):
        OutlierExplorer(**{"layer": 0} | settings)


def test_the_stored_sweep_is_shown_in_words():
    record = records.read("outliers")
    shown = repr(OutlierExplorer(site="stream", layer=15))
    channel = record["values"]["stream_channel"]["value"]
    assert f"channel {channel} has the largest value" in shown
    assert shown.startswith("Outliers. In the residual stream behind layer 15")


def test_the_file_is_small_and_loads_nothing():
    text = OutlierExplorer._esm._path.read_text()
    assert len(text.encode()) <= 15_000
    for loader in ("import(", "fetch(", "XMLHttp", "Math.random", "https:"):
        assert loader not in text
