"""The Pareto explorer: its words against Python's, and its controls."""

import pytest

from course_utils.measure import pareto
from course_utils.widgets import pareto_explorer
from course_utils.widgets.pareto_explorer import (
    COSTS,
    KINDS,
    LOSSES,
    ParetoExplorer,
    points_of,
    sentence,
    shown,
)

KIND = ("weights", "weights and inputs", "file")


def points():
    """Twelve methods: some beaten, some with equal numbers, one without seconds."""
    made = []
    for i in range(12):
        numbers = {
            "bits": 3 + i // 2,
            "megabytes": 80.25 * 1.1**i,
            "seconds": 0.0 if i == 3 else 0.001 * 5.0 ** (7 - i % 8),
            "kl": 1.7 / (1 + i * (i % 3)) ** 2,
            "ratio": 1 + 10.0 ** (3 - i),
            "disagreement": 0.4 / (1 + i),
        }
        kept = {name: float(f"{x:.4g}") for name, x in numbers.items()}
        made.append({"label": f"method {11 - i}", "kind": KIND[i % 3], **kept})
    return made


def states():
    return [
        (x, y, kind, index)
        for x in COSTS
        for y in LOSSES
        for kind in KINDS
        for index in (0, 3, 11)
    ]


def test_javascript_says_what_python_says(mount):
    page = mount(ParetoExplorer(points=points()))
    script = """cases => cases.map(([x, y, kind, index]) => widget.sentence(
      model.state.points, x, y, kind, index, model.state.costs, model.state.losses))"""
    said = page.evaluate(script, states())
    assert said == [sentence(points(), *state) for state in states()]
    assert len(set(said)) > 50


def test_numbers_are_written_alike(mount):
    page = mount(ParetoExplorer(points=points()))
    values = [3.217e-7 * 2.9**k for k in range(40)] + [0.0001, 100000.0, 1e6, 4.5, 2]
    values = [float(f"{v:.4g}") for v in values]
    found = page.evaluate("values => values.map(widget.short)", values)
    assert found == [f"{v:g}" for v in values]
    assert page.evaluate("widget.short(0)") == "0"


def test_one_in_words():
    two = [p for p in points() if p["label"] in ("method 11", "method 10")]
    assert [p["label"] for p in shown(two, "bits", "all")] == ["method 10", "method 11"]
    said = sentence(two, "bits", "kl", "all", 1)
    assert said == (
        "method 11: 3 bits per weight, KL divergence in nats 1.7. 1 of 2 are beaten by "
        "none. This one is beaten by method 10."
    )
    assert sentence([], "bits", "kl", "all", 0) == "Nothing is measured yet."


def test_points_of_a_record():
    def row(key, kl):
        value = dict.fromkeys(pareto.NUMBERS, 0.5) | {"kl": kl, "bytes": 2.5e6}
        return pareto.Row(key, value, {}, {})

    rows = {key: row(key, kl) for key, kl in (("float32", 0.0), ("rtn4", 0.3))}
    (found,) = points_of(rows)
    assert found["label"] == "RTN, 4 bits"
    assert (found["megabytes"], found["kl"], found["disagreement"]) == (2.5, 0.3, 0.5)


def test_no_record_is_said(monkeypatch, mount):
    monkeypatch.setattr(pareto_explorer, "stored_rows", dict)
    widget = ParetoExplorer()
    assert repr(widget) == "Methods compared. Nothing is measured yet."
    page = mount(widget)
    assert page.get_by_role("status").inner_text() == "Nothing is measured yet."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"x": "price"}, "No 'price' here; choose one of bits, megabytes, seconds"),
        ({"y": "bits"}, "No 'bits' here; choose one of kl, ratio, disagreement"),
        ({"kind": "other"}, "No 'other' here"),
        ({"index": -1}, "index counts from 0, got -1"),
    ],
)
def test_what_does_not_exist_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        ParetoExplorer(points=points(), **arguments)


def test_controls_by_keyboard(mount):
    page = mount(ParetoExplorer(points=points()))
    page.get_by_label("method", exact=True).focus()
    page.keyboard.press("ArrowRight")
    page.get_by_label("across").select_option("seconds")
    page.get_by_role("combobox").nth(1).select_option("ratio")
    page.get_by_label("kind").select_option("file")
    state = page.evaluate("model.state")
    got = (state["x"], state["y"], state["kind"], state["index"])
    assert got == ("seconds", "ratio", "file", 1)
    assert page.evaluate("model.saves") == 4
    assert page.get_by_role("status").inner_text() == sentence(points(), *got)


def test_the_table_has_a_row_for_each_method_shown(mount):
    page = mount(ParetoExplorer(points=points(), kind="file"))
    page.get_by_text("as a table").press("Enter")
    rows = page.locator("tbody tr")
    assert rows.count() == 4
    assert rows.first.locator("th").inner_text() == "method 9"
    heads = page.locator("thead th").all_inner_texts()
    assert heads == ["method", COSTS["bits"], LOSSES["kl"], "beaten by none"]


def test_a_click_chooses_and_unmounting_stops_it(mount):
    page = mount(ParetoExplorer(points=points()))
    page.locator("rect[pointer-events]").nth(1).click()
    index = page.evaluate("model.state.index")
    assert index > 0
    said = sentence(points(), "bits", "kl", "all", index)
    assert page.get_by_role("status").inner_text() == said
    page.evaluate("unmount()")
    page.evaluate("model.set('kind', 'file')")
    assert page.get_by_role("status").inner_text() == said


@pytest.mark.parametrize("width", [320, 1200])
def test_nothing_is_wider_than_the_page(mount, page, width):
    page.set_viewport_size({"width": width, "height": 900})
    mount(ParetoExplorer(points=points(), x="seconds", y="ratio"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for text in page.locator("svg text").all():
        box = text.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_the_file_is_small_and_loads_nothing():
    text = ParetoExplorer._esm._path.read_text()
    assert len(text.encode()) < 20_000
    plain = text.replace("http://www.w3.org/2000/svg", "")
    for loader in ("import(", "fetch(", "XMLHttp", "Math.random", "@import"):
        assert loader not in plain
