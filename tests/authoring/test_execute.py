import json
import os
import signal
import subprocess
import sys
import time

import pytest

from course_utils.authoring import notebook, probe, status, sync
from course_utils.authoring.execute import Plan, execute, table
from course_utils.authoring.kernel import environment

SLUG = "01_half"


def fresh(project):
    out = project.root / "out"
    return Plan(out, out / "status.json", "ci")


def texts(path):
    nb = json.loads(path.read_text("utf-8"))
    outputs = [o for c in nb["cells"] for o in c.get("outputs", [])]
    return ["".join(o["data"]["text/plain"]) for o in outputs if "data" in o]


@pytest.fixture
def lesson_only(project):
    """The small chapter without its exercises."""
    project.master("exercises", SLUG).unlink()
    sync.sync(project)
    return project


def test_in_place_it_executes_what_is_stale_and_only_that(lesson_only, capsys):
    project = lesson_only
    plan = Plan(project.root, project.root / "status.json", "ci")
    (first,) = execute(project, plan).values()
    path = project.notebook("notebooks", SLUG)
    assert texts(path) == ["1.5", "Half of it is 1.50.", "It is more than 1."]
    assert isinstance(first, status.Entry)
    assert first.seconds > 0
    assert first.peak_mib > 20
    assert status.read(plan.status)[f"notebooks/{SLUG}"]["peak_mib"] == first.peak_mib
    assert "cell 5 of 5" in capsys.readouterr().out
    assert sync.drift(project) == []
    assert sync.stale(project) == []
    assert execute(project, plan) == {}
    assert "up to date" in capsys.readouterr().out


def test_the_truth_of_a_claim_is_kept(lesson_only):
    plan = fresh(lesson_only)
    execute(lesson_only, plan)
    nb = notebook.read(plan.folder / "notebooks" / f"{SLUG}.ipynb")
    said = nb["cells"][-1]["outputs"]
    assert [o["metadata"] for o in said] == [{}, {"fewer_bits": {"claim": True}}]


def test_two_fresh_executions_are_the_same_bytes_and_touch_nothing(lesson_only):
    project = lesson_only
    path = project.notebook("notebooks", SLUG)
    committed = path.read_bytes()
    one = fresh(project)
    other = Plan(project.root / "other", project.root / "other.json", "ci")
    execute(project, one)
    execute(project, other)
    name = f"notebooks/{SLUG}.ipynb"
    assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()
    assert path.read_bytes() == committed


def test_exercises_go_along_without_outputs(project):
    plan = fresh(project)
    results = execute(project, plan)
    assert list(results) == [f"notebooks/{SLUG}", f"solutions/{SLUG}"]
    nb = notebook.read(plan.folder / "exercises" / f"{SLUG}.ipynb")
    assert not any(cell.get("outputs") for cell in nb["cells"])
    assert "peak MiB" in table(results)


def test_a_failing_cell_is_named_and_nothing_is_written(lesson_only, capsys):
    project = lesson_only
    path = project.master("notebooks", SLUG)
    path.write_text(
        path.read_text("utf-8").replace("halve(3.0)", "halve('a')"), "utf-8"
    )
    plan = fresh(project)
    (result,) = execute(project, plan).values()
    assert result.startswith("cell 4, `half = halve('a')`: TypeError")
    assert result in capsys.readouterr().out
    assert not (plan.folder / "notebooks" / f"{SLUG}.ipynb").exists()


STOPPED = """
import sys
from pathlib import Path
from course_utils.authoring.execute import Plan, execute
from course_utils.authoring.project import Project
root = Path(sys.argv[1])
out = root / "out"
execute(Project(root, root), Plan(out, out / "status.json", "ci"))
"""


def test_after_an_interrupt_what_is_finished_is_kept(lesson_only, capsys):
    project = lesson_only
    second = project.book / "lessons" / "02_slow.md"
    lesson = project.master("notebooks", SLUG).read_text("utf-8")
    slow = lesson.replace("half = halve(3.0)", "import time; time.sleep(600)")
    second.write_text(slow, "utf-8")
    command = [sys.executable, "-c", STOPPED, str(project.root)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if "02_slow: cell 4" in line:
            break
    time.sleep(1)
    os.kill(child.pid, signal.SIGINT)
    assert child.wait(timeout=120) != 0
    done = project.root / "out" / "notebooks"
    assert sorted(p.name for p in done.iterdir()) == [f"{SLUG}.ipynb"]

    second.write_text(lesson.replace("halve(3.0)", "halve(4.0)"), "utf-8")
    capsys.readouterr()
    assert list(execute(project, fresh(project))) == ["notebooks/02_slow"]
    assert f"{SLUG}: up to date" in capsys.readouterr().out


def test_an_edit_of_an_included_cell_changes_the_numbers(lesson_only):
    project = lesson_only
    plan = fresh(project)
    execute(project, plan)
    nb = notebook.read(plan.folder / "notebooks" / f"{SLUG}.ipynb")
    assert list(probe.included_functions(nb)) == ["halve"]
    changed = probe.effect_of_zeros(nb, "halve", project.root, "ci")
    assert "1.50 became 0.00" in changed


def test_a_lesson_that_ignores_its_included_cell_is_found_out(lesson_only):
    project = lesson_only
    path = project.master("notebooks", SLUG)
    text = path.read_text("utf-8").replace("halve(3.0)", "3.0 / 2")
    path.write_text(text, "utf-8")
    plan = fresh(project)
    execute(project, plan)
    nb = notebook.read(plan.folder / "notebooks" / f"{SLUG}.ipynb")
    assert probe.effect_of_zeros(nb, "halve", project.root, "ci") is None


def test_the_profile_of_the_committed_outputs_cannot_be_overruled(monkeypatch):
    monkeypatch.setenv("COURSE_MODEL", "a-large-one")
    monkeypatch.setenv("COURSE_PROFILE", "gpu")
    assert "COURSE_MODEL" not in environment("ci")
    assert environment("ci")["COURSE_PROFILE"] == "ci"
    assert environment(None)["COURSE_MODEL"] == "a-large-one"
    assert environment(None)["COURSE_PROFILE"] == "gpu"
