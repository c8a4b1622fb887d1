import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from course_utils.authoring import __main__ as command
from course_utils.authoring import execute as execution
from course_utils.authoring import notebook, probe, status, sync
from course_utils.authoring.errors import one_sentence
from course_utils.authoring.execute import Plan, execute, overview, table
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
    assert overview(project, plan, (), {}) == {f"notebooks/{SLUG}": first}
    failed = {f"notebooks/{SLUG}": "cell 4"}
    assert overview(project, plan, (), failed) == failed


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


# A shell's background job ignores SIGINT, and its children would too.
STOPPED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import sys
from pathlib import Path
from course_utils.authoring import __main__ as command
from course_utils.authoring.project import Project
root = Path(sys.argv[1])
command.Project = lambda: Project(root, root)
sys.exit(command.main(["execute", "--fresh", "--out", str(root / "out")]))
"""


def wait_until(done):
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ended(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_after_an_interrupt_what_is_finished_is_kept(lesson_only, capsys, number):
    project = lesson_only
    second = project.book / "lessons" / "02_slow.md"
    lesson = project.master("notebooks", SLUG).read_text("utf-8")
    note = project.root / "pid"
    slow = lesson.replace(
        "half = halve(3.0)",
        "import os, pathlib, time\n"
        f"pathlib.Path({str(note)!r}).write_text(f'{{os.getpid()}} ')\n"
        "time.sleep(600)",
    )
    second.write_text(slow, "utf-8")
    command = [sys.executable, "-c", STOPPED, str(project.root)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: note.exists() and note.read_text("utf-8").endswith(" "))
    kernel = int(note.read_text("utf-8"))
    child.send_signal(number)
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 130
    assert "Stopped. What is finished is kept" in said
    wait_until(lambda: ended(kernel))
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


def test_in_place_the_profile_is_the_committed_one(project, monkeypatch, capsys):
    plans = []
    monkeypatch.setenv("COURSE_PROFILE", "gpu")
    monkeypatch.setattr(command, "Project", lambda: project)
    monkeypatch.setattr(command, "_stop_on_signals", lambda: None)
    monkeypatch.setattr(execution, "overview", lambda *_: {})
    monkeypatch.setattr(execution, "execute", lambda _, p, __: plans.append(p) or {})
    assert command.main(["execute"]) == 0
    assert command.main(["execute", "--fresh", "--out", str(project.root / "o")]) == 0
    assert [plan.profile for plan in plans] == ["ci", "gpu"]


def test_another_model_is_another_label(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_MODEL", "a-large-one")
    labels = [Plan(tmp_path, tmp_path, name).label for name in ("", "gpu", "ci")]
    assert labels == [
        "auto COURSE_MODEL=a-large-one",
        "gpu COURSE_MODEL=a-large-one",
        "ci",
    ]


def test_a_kernel_that_does_not_start_is_a_failure_of_its_notebook(
    lesson_only, monkeypatch
):
    def refuse(*_):
        raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr(execution, "run_notebook", refuse)
    results = execute(lesson_only, fresh(lesson_only))
    assert results == {
        f"notebooks/{SLUG}": "Kernel died before replying to kernel_info"
    }


def test_a_full_disk_is_one_sentence(project, monkeypatch, capsys):
    def fill(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(command, "Project", lambda: project)
    monkeypatch.setattr(command.sync, "sync", fill)
    assert command.main(["sync"]) == 1
    assert capsys.readouterr().err == (
        "No space left on device: free disk space and run the same command again.\n"
    )
    denied = PermissionError(errno.EACCES, "Permission denied", "x.ipynb")
    assert one_sentence(denied).startswith("Permission denied (x.ipynb): ")
