import jupytext
import pytest

from course_utils.authoring.errors import AuthoringError
from course_utils.authoring.masters import read_master
from course_utils.authoring.project import Project

HEAD = "---\ntitle: T\nminutes: 5\n---\n"
REAL = Project()
TRICKY = (
    HEAD
    + """
# T

- a list with a fence

  ```{code-cell}
  not_a_cell = 1
  ```

```python
shown = "not run"
```

```{code-cell}
:tags: [shared, remove-input]

x = 1

:y: = 2
```
+++
> quoted
> ```{code-cell}
> no
> ```

+++

+++

last
"""
)


def master(tmp_path, text, folder="lessons"):
    path = tmp_path / folder / "01_t.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def as_jupytext(path):
    cells = jupytext.reads(path.read_text("utf-8"), fmt="md:myst").cells
    return [(c.cell_type, c.source, tuple(c.metadata.get("tags", []))) for c in cells]


def test_cells_are_those_of_jupytext(tmp_path):
    path = master(tmp_path, TRICKY)
    ours = [(c.kind, c.source, c.tags) for c in read_master(path).cells]
    assert ours == as_jupytext(path)
    assert len(ours) == 4


@pytest.mark.parametrize(
    "path", REAL.lessons + REAL.exercises, ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_committed_masters_read_as_in_jupytext(path):
    ours = [(c.kind, c.source, c.tags) for c in read_master(path).cells]
    assert ours == as_jupytext(path)


def test_each_cell_knows_its_line(tmp_path):
    path = master(tmp_path, TRICKY)
    lines = path.read_text("utf-8").splitlines()
    for cell in read_master(path).cells:
        assert lines[cell.line - 1] == cell.source.splitlines()[0]


CELL = "```{{code-cell}}\n{}\n```\n"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("# no front matter\n", 1, "front matter"),
        ("---\nminutes: 5\n---\n", 1, "no title"),
        ("---\ntitle: ''\nminutes: 5\n---\n", 1, "no title"),
        ("---\ntitle: T\n---\n", 1, "minutes"),
        ("---\ntitle: T\nminutes: 5\nlevel: 3\n---\n", 1, "level"),
        ("---\ntitle: T\nminutes: 5\npart: hard\n---\n", 1, "part must"),
        (HEAD + CELL.format("x = 1\n#| tags: [shared]"), 7, "`:tags:"),
        (HEAD + CELL.format(":tags: [sharde]\nx = 1"), 7, "'sharde' is unknown"),
        (HEAD + CELL.format(":tag: [shared]\nx = 1"), 6, "option ':tag"),
        (HEAD + CELL.format("#| include: numpy.sum"), 6, "include"),
        (HEAD + CELL.format("#| include: course_utils.a.b\nx = 1"), 6, "alone"),
        (HEAD + '\n+++ {"tags": ["answer"]}\n\ntext\n', 8, "'answer' is unknown"),
        (HEAD + "\n+++ answer\n\ntext\n", 6, "after +++"),
    ],
)
def test_a_fault_names_file_and_line(tmp_path, text, line, says):
    path = master(tmp_path, text)
    with pytest.raises(AuthoringError) as error:
        read_master(path)
    place, _, sentence = str(error.value).partition(": ")
    assert place == f"{path}:{line}"
    assert says in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_an_exercise_master_has_other_tags(tmp_path):
    text = HEAD + CELL.format(":tags: [reference]\nx = 1")
    assert read_master(master(tmp_path, text, "exercises")).cells[0].tags == (
        "reference",
    )
    with pytest.raises(AuthoringError, match="'reference' is unknown"):
        read_master(master(tmp_path, text))
