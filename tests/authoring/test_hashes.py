import pytest

from course_utils import paths
from course_utils.authoring import hashes, notebook, sync
from course_utils.authoring.derive import derive
from course_utils.authoring.project import Project

SLUG = "01_half"


@pytest.fixture
def committed(project):
    """The chapter with a lesson that counts as executed today."""
    (project.code / "course_utils/report").mkdir()
    (project.code / "course_utils/report/__init__.py").write_text("", "utf-8")
    (project.code / "course_utils/report/say.py").write_text("X = 1\n", "utf-8")
    for kind in ("notebooks", "solutions"):
        nb = derive(project, kind, SLUG, None)
        for count, cell in enumerate(notebook.code_cells(nb), start=1):
            cell["execution_count"] = count
        stamp = {"hashes": hashes.today(project, nb), "profile": "ci"}
        nb["metadata"]["fewer_bits"] = stamp
        notebook.write_atomic(project.notebook(kind, SLUG), notebook.text_of(nb))
    sync.sync(project)
    return project


def stale(project):
    return [s for s in sync.stale(project) if s.startswith("notebooks/")]


def edit(path, old, new):
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    hashes._imports_of.cache_clear()


def test_nothing_is_stale_today(committed):
    assert sync.drift(committed) == []
    assert sync.stale(committed) == []


def test_prose_does_not_count(committed):
    edit(committed.master("notebooks", SLUG), "After the break.", "Behind it.")
    sync.sync(committed)
    assert sync.stale(committed) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("book/lessons/01_half.md", "halve(3.0)", "halve(5.0)", "its code cells"),
        ("course_utils/report/say.py", "X = 1", "X = 2", "modules"),
        ("course_utils/report/__init__.py", "", "Y = 1", "modules"),
        ("locks/learn.txt", "numpy==1", "numpy==2", "locks/learn.txt"),
    ],
)
def test_check_says_which_part_changed(committed, file, old, new, says):
    edit(committed.root / file, old, new)
    sync.sync(committed)
    (sentence,) = stale(committed)
    assert says in sentence
    assert "make execute" in sentence
    others = set(hashes.PARTS.values()) - {
        w for w in hashes.PARTS.values() if says in w
    }
    assert not any(words in sentence for words in others)


def test_another_profile_is_stale(committed):
    edit(committed.notebook("notebooks", SLUG), '"profile": "ci"', '"profile": "gpu"')
    (sentence,) = stale(committed)
    assert "profile gpu" in sentence


def test_a_notebook_that_never_ran_is_stale(project):
    sync.sync(project)
    assert "not been executed" in stale(project)[0]


def used(project, source):
    return {
        p.relative_to(project.root).as_posix()
        for p in hashes.used_files(project, source)
    }


def test_the_closure_follows_imports_javascript_and_data(project):
    package = project.code / "course_utils"
    (package / "widgets").mkdir()
    (package / "models").mkdir()
    (project.book / "texts").mkdir()
    for name, text in {
        "widgets/__init__.py": "",
        "widgets/line.py": "def f():\n    import course_utils.tiny\n",
        "widgets/line.js": "// draws",
        "widgets/look.css": "/* colours */",
        "models/__init__.py": "LAZY = {'load': 'course_utils.models.texts'}\n",
        "models/texts.py": "",
        "../book/texts/evaluation.md": "text",
    }.items():
        (package / name).write_text(text, "utf-8")
    source = "from course_utils.widgets.line import f\nfacts('speeds/mean')\n"
    assert used(project, source) == {
        "course_utils/__init__.py",
        "course_utils/tiny.py",
        "course_utils/widgets/__init__.py",
        "course_utils/widgets/line.py",
        "course_utils/widgets/line.js",
        "course_utils/widgets/look.css",
        "book/measured/speeds.json",
    }
    assert used(project, "from course_utils import models") == {
        "course_utils/__init__.py",
        "course_utils/models/__init__.py",
        "course_utils/models/texts.py",
        "book/texts/evaluation.md",
    }


def test_a_quiz_counts_its_items(project):
    assert used(project, "widget_items('01_half')") == {"book/items/01_half.yaml"}


def test_every_lesson_with_a_quiz_counts_its_own_items():
    real = Project()
    with_quiz = 0
    for path in real.lessons:
        nb = derive(real, "notebooks", path.stem, None)
        sources = [cell["source"] for cell in notebook.code_cells(nb)]
        if any("widget_items(" in source for source in sources):
            python = "\n".join(map(hashes._python, sources))
            items = real.book / "items" / f"{path.stem}.yaml"
            assert items in hashes.used_files(real, python), path.stem
            with_quiz += 1
    assert with_quiz


def test_a_record_that_appears_changes_the_hash(project):
    nb = derive(project, "notebooks", SLUG, None)
    nb["cells"].append(notebook.new_cell("code", "facts('speeds/mean')"))
    before = hashes.today(project, nb)
    (project.book / "measured").mkdir()
    (project.book / "measured/speeds.json").write_text("{}", "utf-8")
    after = hashes.today(project, nb)
    assert before["modules"] != after["modules"]
    assert before["cells"] == after["cells"]


def test_the_closure_of_the_library_stays_below_the_lesson():
    found = hashes.closure(
        "from course_utils.formats.affine import QuantSpec", paths.ROOT
    )
    assert set(found) == {
        "course_utils",
        "course_utils.formats",
        "course_utils.formats.affine",
    }
