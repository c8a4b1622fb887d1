"""The parts of the page extension that are plain functions."""

import base64
import html
import json
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from fewer_bits import chart, headings, mathml, page, pictures, polish, tables


@pytest.mark.parametrize(
    ("latex", "holds"),
    [
        (r"\hat w = s\,(q - z)", "<mover"),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "<mtable"),
        (r"\lfloor w/s \rceil", "⌊"),
        (r"\left\lfloor \frac{w}{s} \right\rceil", "<mfrac>"),
        (r"a < b", "&lt;"),
        (r"\operatorname{clamp}(x)", "<mi>clamp</mi>"),
    ],
)
def test_formula_becomes_mathml(latex, holds):
    text = mathml.to_mathml(latex, block=True)
    assert text.startswith('<math display="block">')
    assert holds in text
    assert "\\" not in text
    assert "&#x" not in text


def test_log_keeps_its_distance():
    assert "mspace" in mathml.to_mathml(r"10\log_{10} x", block=False)
    assert "mspace" not in mathml.to_mathml(r"\log x", block=False)


def test_unknown_command_is_refused():
    with pytest.raises(ValueError, match=r"\\\\nonsense"):
        mathml.to_mathml(r"a + \nonsense", block=False)


@pytest.mark.parametrize(
    ("ids", "slug", "made", "expected"),
    [
        (["the-step"], "the-step", "the-step", ["the-step"]),
        (["implement-x"], "1-implement-x", "implement-x", ["1-implement-x"]),
        (["id3", "zero-point"], "offset", "offset", ["zero-point", "offset"]),
        (["plain"], None, "plain", ["plain"]),
    ],
)
def test_section_ids(ids, slug, made, expected):
    assert headings.stable_ids(ids, slug, made=made) == expected


def test_image_gets_size_and_loads_late():
    out = polish.images('<p><img src="a.png" alt="A &lt; b" /></p>', lambda _: (8, 4))
    assert 'width="8" height="4" loading="lazy"' in out
    assert 'alt="A &lt; b"' in out


def test_widget_gets_a_sentence_without_javascript():
    view = '<script type="application/vnd.jupyter.widget-view+json">{}</script>'
    out = polish.widgets(f"<div>{view}</div>")
    assert view in out
    assert "<noscript>" in out


def test_table_scrolls_and_loses_old_attributes():
    out = polish.tables('<table border="1" class="dataframe"><tr></tr></table>')
    assert out == '<div class="scroll"><table class="dataframe"><tr></tr></table></div>'


@pytest.mark.parametrize("done", ["", ' checked="checked"'])
def test_task_gets_a_name_and_can_be_ticked(done):
    box = f'<input class="task-list-item-checkbox"{done} disabled="disabled"'
    out = polish.tasks(f'<li><p>{box} type="checkbox"> Read <a>this</a></p></li>')
    named = f'<label><input type="checkbox"{done}> Read <a>this</a></label>'
    assert out == f"<li><p>{named}</p></li>"


def test_summary_is_cut_at_a_word_and_safe():
    text = polish.summary('A "quoted" word. ' + "word " * 60)
    assert len(html.unescape(text)) <= 155
    assert text.endswith("word…")
    assert "&quot;quoted&quot;" in text


def output(alt, mime="image/png", **metadata):
    data = {mime: base64.b64encode(b"png").decode(), "text/plain": "x"}
    return {"data": data, "metadata": {"fewer_bits": {"alt": alt}, **metadata}}


def test_alt_texts_follow_the_pictures_of_a_cell():
    text = {"data": {"text/html": "<p>"}, "metadata": {}}
    outputs = [
        output("First."),
        text,
        output("Second.", "image/jpeg"),
        {"name": "stdout"},
    ]
    assert pictures.alts(outputs) == ["First.", "Second."]


def test_chart_takes_the_picture_of_a_tagged_cell():
    cell = {
        "id": "a",
        "metadata": {"tags": ["figure-x"]},
        "outputs": [output("A line.")],
    }
    other = {"id": "b", "metadata": {}, "outputs": []}
    assert chart.first_picture(chart.find_cell([other, cell], "figure-x")) == (
        b"png",
        "A line.",
    )
    with pytest.raises(ValueError, match="0 cells"):
        chart.find_cell([other], "figure-x")
    with pytest.raises(ValueError, match="execute"):
        chart.first_picture(other)


def test_colab_address_comes_from_the_configuration():
    options = {
        "repository_url": "https://github.com/a/b/",
        "repository_branch": "main",
        "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    }
    assert page.colab_address(options, "notebooks/01_x") == (
        "https://colab.research.google.com/github/a/b/blob/main/notebooks/01_x.ipynb"
    )
    with pytest.raises(ValueError, match=r"repository\.url"):
        page.colab_address({"launch_buttons": {}}, "notebooks/01_x")


def test_rows_of_a_record_and_of_a_list():
    record = {
        "values": {"load_time": {"value": 1.5, "unit": "s", "n": 3, "spread": None}}
    }
    (row,) = tables.rows_of(record)
    assert row == {
        "quantity": "load time",
        "value": 1.5,
        "unit": "s",
        "n": 3,
        "spread": None,
    }
    assert tables.rows_of([{"a": 1}]) == [{"a": 1}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (3.0, "3"),
        (True, "yes"),
        ({"low": 1.0, "high": 2.5, "kind": "min-max"}, "1 to 2.5 (min-max)"),
    ],
)
def test_values_read_well(value, text):
    assert tables.text_of(value) == text


ENTRY = {
    "date": "2026-11-23",
    "seconds": 12.3,
    "peak_mib": 900,
    "profile": "ci",
    "python": "3.11.7",
    "versions": {"torch": "2.13.0"},
}


def test_status_names_each_notebook_and_the_versions():
    status = {"executions": {"notebooks/b": ENTRY, "notebooks/a": ENTRY}}
    assert [r["notebook"] for r in tables.status_rows(status)] == [
        "notebooks/a",
        "notebooks/b",
    ]
    assert tables.version_sentences(status) == ["All with torch 2.13.0."]
    status["executions"]["notebooks/b"] = ENTRY | {"versions": {"torch": "2.12.0"}}
    assert tables.version_sentences(status)[1] == "notebooks/b: torch 2.12.0."


class Tags(HTMLParser):
    """The elements that a page starts."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attrs):
        del attrs
        self.seen.append(tag)


def test_markup_in_a_widget_s_text_stays_text():
    items = [{"text": "</SCRIPT><img src=x onerror=alert(1)> </script> a < b"}]
    # As MyST-NB passes it on.
    body = json.dumps({"items": items}).replace("</script>", r"<\/script>")
    script = SimpleNamespace(attributes={"type": page.WIDGET_STATE, "body": body})
    state = page._widget_state({"script_files": [script]})
    assert json.loads(state) == {"items": items}
    tags = Tags()
    tags.feed(f"<script type='{page.WIDGET_STATE}'>{state}</script>")
    assert tags.seen == ["script"]


def test_a_title_is_escaped_in_the_description():
    config = SimpleNamespace(html_title='A "book"', html_theme_options={})
    context = {"title": "x &quot; onload=&quot;", "script_files": []}
    page.fill(SimpleNamespace(config=config), "search", "", context, None)
    assert context["description"] == (
        "x &quot; onload=&quot;: a page of A &quot;book&quot;"
    )


def test_a_folded_cell_is_named_by_what_a_reader_sees():
    summary = """<summary aria-label="Toggle hidden content">
    <p class="collapsed admonition-title">Show the code</p>
    <p class="expanded admonition-title">Hide the code</p>
    </summary>"""
    out = polish.folds(f"<details>{summary}</details>")
    shown = '<span class="collapsed">Show the code</span>'
    hidden = '<span class="expanded">Hide the code</span>'
    assert out == f"<details><summary>{shown}{hidden}</summary></details>"
