import nbformat
import pytest

from course_utils.authoring import notebook, sync
from course_utils.authoring.derive import derive, derived_text, hiding
from course_utils.authoring.errors import AuthoringError


def sources(nb, kind="code"):
    return [c["source"] for c in nb["cells"] if c["cell_type"] == kind]


def edit(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def executed(project):
    """The lesson with an output in every cell, as an execution leaves it."""
    nb = derive(project, "notebooks", "01_half", None)
    for count, cell in enumerate(notebook.code_cells(nb), start=1):
        text = f"output {count}\n"
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text}]
        cell["execution_count"] = count
    return nb


@pytest.mark.parametrize("kind", ["notebooks", "exercises", "solutions"])
def test_the_file_is_what_nbformat_writes(project, kind):
    text = derived_text(project, kind, "01_half")
    nb = nbformat.reads(text, as_version=4)
    nbformat.validate(nb)
    assert nbformat.writes(nb) + "\n" == text


@pytest.mark.parametrize("kind", ["notebooks", "exercises", "solutions"])
def test_two_derivations_are_the_same_bytes(project, kind):
    assert derived_text(project, kind, "01_half") == derived_text(
        project, kind, "01_half"
    )


def test_a_lesson(project):
    nb = derive(project, "notebooks", "01_half", None)
    text = sources(nb, "markdown")
    assert text[0] == "# What is half?"
    assert text[1] == (
        "A [step](../book/glossary.md#step) was halved by "
        "[Hoare (1961)](https://doi.org/10.1145/366622.366644)."
    )
    code = sources(nb)
    assert "google.colab" in code[0]
    assert "from course_utils.report" in code[1]
    assert "def halve" in code[2]


def test_colabs_cell_is_hidden_from_pages(project):
    nb = derive(project, "notebooks", "01_half", None)
    first = next(c for c in nb["cells"] if c["cell_type"] == "code")
    assert "remove-cell" in first["metadata"]["tags"]
    assert "git+https://example.org/us/book@main" in first["source"]
    assert len(notebook.code_cells(nb)) == len(sources(nb)) - 1


def test_cells_that_only_say_are_folded(project):
    nb = derive(project, "notebooks", "01_half", None)
    last = nb["cells"][-1]
    assert last["metadata"]["jupyter"] == {"source_hidden": True}
    assert set(last["metadata"]["tags"]) == {"remove-input", "nbval-check-output"}
    assert nb["cells"][-2]["metadata"] == {}


def tags_with(project, new):
    edit(project.master("notebooks", "01_half"), "half = halve(3.0)", new)
    nb = derive(project, "notebooks", "01_half", None)
    return nb["cells"][-2]["metadata"].get("tags", [])


def test_a_cell_that_says_among_other_things_is_compared_and_shown(project):
    tags = tags_with(project, "half = halve(3.0)\nsay('{h:.1f}', h=half)")
    assert tags == ["nbval-check-output"]


def test_a_cell_whose_output_varies_is_not_compared(project):
    new = ":tags: [varies]\nhalf = halve(3.0)\nsay('{h:.1f}', h=half)"
    assert tags_with(project, new) == ["varies"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("say('a')\nclaim('b', True, otherwise='c')", "remove-input"),
        ("x = 1\nsay('a')", "hide-input"),
        ("def f():\n    return 1\n\n\nsay('a')", ""),
        ("for x in y:\n    print(x)\nsay('a')", ""),
        ("say('a')\nx", ""),
        ("", ""),
    ],
)
def test_cells_that_say_sentences_are_hidden(source, expected):
    assert hiding(source) == expected


def test_an_exercise_holds_the_stub_and_no_answer(project):
    nb = derive(project, "exercises", "01_half", None)
    text = "\n".join(c["source"] for c in nb["cells"])
    assert "raise NotImplementedError" in text
    assert '"""Return twice x."""' in text
    assert "*Your answer here.*" in text
    for secret in (
        "secret_result",
        "cheaper",
        "second time",
        "Squares",
        "check_zero",
        "something",
    ):
        assert secret not in text
    checks = [c for c in nb["cells"] if "run_checks(double" in c["source"]]
    assert checks[0]["metadata"]["tags"] == ["raises-exception"]


def test_a_solution_holds_both(project):
    nb = derive(project, "solutions", "01_half", None)
    text = "\n".join(c["source"] for c in nb["cells"])
    for part in (
        "secret_result",
        "cheaper",
        "second time",
        "run_checks",
        "1: something",
    ):
        assert part in text
    for left_out in (
        "NotImplementedError",
        "Squares",
        "check_zero",
        "Your answer here",
    ):
        assert left_out not in text
    assert nb["cells"][0]["source"] == "# Solutions: half"
    assert nb["metadata"]["title"] == "Solutions: half"


def test_ids_are_unique_and_follow_the_source(project):
    before = derive(project, "notebooks", "01_half", None)
    ids = [c["id"] for c in before["cells"]]
    assert len(set(ids)) == len(ids)
    edit(
        project.master("notebooks", "01_half"), "After the break.", "Behind the break."
    )
    after = [c["id"] for c in derive(project, "notebooks", "01_half", None)["cells"]]
    assert sum(a != b for a, b in zip(ids, after, strict=True)) == 1


def test_equal_cells_get_numbered_ids():
    cells = [notebook.new_cell("code", "x") for _ in range(3)]
    notebook.name_cells(cells)
    first = cells[0]["id"]
    assert [c["id"] for c in cells] == [first, f"{first}-2", f"{first}-3"]


def test_outputs_survive_an_edit_of_prose(project):
    old = executed(project)
    edit(project.master("notebooks", "01_half"), "After the break.", "Behind it.")
    nb = derive(project, "notebooks", "01_half", old)
    assert all(c["outputs"] for c in notebook.code_cells(nb))
    assert all(c["execution_count"] for c in notebook.code_cells(nb))


def test_no_output_stays_below_a_changed_cell(project):
    old = executed(project)
    edit(
        project.master("notebooks", "01_half"), "half = halve(3.0)", "half = halve(4.0)"
    )
    cells = notebook.code_cells(derive(project, "notebooks", "01_half", old))
    assert [bool(c["outputs"]) for c in cells] == [True, True, False, False]
    assert cells[3]["execution_count"] is None


def test_an_edit_of_an_included_function_drops_what_follows(project):
    old = executed(project)
    edit(project.code / "course_utils/tiny.py", "[x / 4, x / 4]", "[x / 2]")
    cells = notebook.code_cells(derive(project, "notebooks", "01_half", old))
    assert [bool(c["outputs"]) for c in cells] == [True, False, False, False]


def test_exercises_never_keep_outputs(project):
    old = derive(project, "exercises", "01_half", None)
    for cell in notebook.code_cells(old):
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x\n"}]
    nb = derive(project, "exercises", "01_half", old)
    assert not any(c["outputs"] for c in notebook.code_cells(nb))


def test_an_unknown_citation_names_the_master(project):
    edit(project.master("notebooks", "01_half"), "@hoare1961quicksort", "@nobody")
    with pytest.raises(
        AuthoringError, match=r"book/lessons/01_half\.md:7: \[@nobody\]"
    ):
        derive(project, "notebooks", "01_half", None)


def test_a_missing_repository_is_said(project):
    (project.root / "_config.yml").write_text("title: x\n", "utf-8")
    with pytest.raises(AuthoringError, match=r"repository\.url"):
        derive(project, "notebooks", "01_half", None)


def test_sync_writes_and_then_finds_nothing_to_do(project):
    assert len(sync.drift(project)) == 3
    assert sorted(sync.sync(project)) == [
        "exercises/01_half.ipynb",
        "notebooks/01_half.ipynb",
        "solutions/01_half.ipynb",
    ]
    assert sync.drift(project) == []
    assert sync.sync(project) == []


def test_an_edited_notebook_is_drift(project):
    sync.sync(project)
    edit(project.notebook("exercises", "01_half"), "Return twice", "Return thrice")
    (sentence,) = sync.drift(project)
    assert sentence.startswith("exercises/01_half.ipynb")
    assert "make sync" in sentence


def test_a_notebook_without_a_master_is_drift(project):
    sync.sync(project)
    (project.root / "notebooks" / "02_lost.ipynb").write_text("{}", "utf-8")
    (sentence,) = sync.drift(project)
    assert sentence.startswith("notebooks/02_lost.ipynb has no master")
