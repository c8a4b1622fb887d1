"""What the committed notebooks show."""

import ast

import pytest

from course_utils.authoring import notebook
from course_utils.authoring.project import EXECUTED, Project

PROJECT = Project()
SHOWING = {"say", "claim", "show", "show_image", "print", "display", "run_checks"}
SILENT = (ast.Call, ast.Await, ast.Yield)


def targets(*kinds):
    chosen = [t for t in PROJECT.targets() if t[0] in kinds]
    values = [pytest.param(*t, id="/".join(t)) for t in chosen]
    return pytest.mark.parametrize(("kind", "slug"), values)


def code_of(kind, slug):
    nb = notebook.read(PROJECT.notebook(kind, slug))
    return [c for c in nb["cells"] if c["cell_type"] == "code"]


def shows(source):
    """Return True if a cell is certain to produce an output.

    A call at its end may return None, so only a call that is known to print counts.
    """
    body = ast.parse(source).body
    calls = [n.value for n in body if isinstance(n, ast.Expr)]
    names = {
        c.func.id for c in calls if isinstance(c, ast.Call) and hasattr(c.func, "id")
    }
    if names & SHOWING:
        return True
    last = body[-1] if body else None
    hidden = source.rstrip().endswith(";")
    return (
        isinstance(last, ast.Expr) and not isinstance(last.value, SILENT) and not hidden
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1", False),
        ("x = 1\nx", True),
        ("x;", False),
        ("plot(x)", False),
        ("say('a')\nx = 1", True),
        ("def f():\n    print(1)", False),
    ],
)
def test_shows(source, expected):
    assert shows(source) is expected


@targets(*EXECUTED)
def test_every_cell_was_run_in_order(kind, slug):
    counts = [cell["execution_count"] for cell in code_of(kind, slug)]
    assert counts == list(range(1, len(counts) + 1))


@targets(*EXECUTED)
def test_every_cell_that_shows_something_has_an_output(kind, slug):
    silent = [
        cell["source"]
        for cell in code_of(kind, slug)
        if shows(cell["source"]) and not cell["outputs"]
    ]
    assert silent == []


@targets(*EXECUTED)
def test_every_claim_is_true(kind, slug):
    outputs = [out for cell in code_of(kind, slug) for out in cell["outputs"]]
    claims = [
        (out["metadata"]["fewer_bits"]["claim"], out["data"]["text/plain"])
        for out in outputs
        if "claim" in out.get("metadata", {}).get("fewer_bits", {})
    ]
    assert [text for holds, text in claims if not holds] == []
    called = sum("claim(" in cell["source"] for cell in code_of(kind, slug))
    assert len(claims) >= called


@targets(*EXECUTED)
def test_no_cell_stores_an_error_that_was_not_meant(kind, slug):
    unmeant = [
        out["ename"]
        for cell in code_of(kind, slug)
        for out in cell["outputs"]
        if out["output_type"] == "error"
        and "raises-exception" not in notebook.tags_of(cell)
    ]
    assert unmeant == []


@targets(*EXECUTED)
def test_nothing_is_left_on_stderr(kind, slug):
    outputs = [out for cell in code_of(kind, slug) for out in cell["outputs"]]
    assert [out["text"] for out in outputs if out.get("name") == "stderr"] == []


@targets(*EXECUTED)
def test_every_picture_has_a_text(kind, slug):
    for cell in code_of(kind, slug):
        for out in cell["outputs"]:
            pictures = [m for m in out.get("data", {}) if m.startswith("image/")]
            for mime in pictures:
                alt = out["metadata"].get(mime, {}).get("alt", "")
                assert alt.endswith("."), (
                    f"a picture without alt text: {cell['source']}"
                )


@targets("exercises")
def test_an_exercise_notebook_holds_no_output(kind, slug):
    for cell in code_of(kind, slug):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
