"""A folder of submissions: every one gets a line, whatever it is, and only once."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from course_utils.assignment import batch, plan
from course_utils.grading.questions import load_master, masters
from course_utils.grading.sandbox.limits import Limits
from course_utils.grading.submission import (
    LARGEST_FILE,
    SubmissionError,
    read_cells,
    without_magics,
)

SLUG = "00_start-here"
MASTER = load_master(next(p for p in masters() if p.stem == SLUG))
CODED = [q for q in MASTER.questions if q.reference]
REFERENCE = [MASTER.shared, *(q.reference for q in CODED)]
LIMITS = Limits(answer=3.0, wall=20.0)


def notebook(cells):
    found = [{"cell_type": "code", "source": source} for source in cells]
    return json.dumps({"cells": found, "nbformat": 4, "metadata": {}})


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "handed-in"
    place.mkdir()
    (place / "good.ipynb").write_text(notebook(REFERENCE))
    (place / "same.ipynb").write_text(notebook(REFERENCE))
    stubs = [MASTER.shared, *(q.stub for q in CODED)]
    (place / "empty.ipynb").write_text(notebook(stubs))
    partial = [MASTER.shared, CODED[0].reference]
    (place / "partial.ipynb").write_text(notebook(partial))
    (place / "wide.ipynb").write_text(notebook(REFERENCE), encoding="utf-16")
    magics = ["%matplotlib inline\n!pip list", "%%bash\nls", *REFERENCE]
    (place / "magics.ipynb").write_text(notebook(magics))
    (place / "cut.ipynb").write_text(notebook(REFERENCE)[:300])
    (place / "deep.ipynb").write_text("[" * 100_000)
    (place / "large.ipynb").write_bytes(b" " * (LARGEST_FILE + 1))
    (place / "link.ipynb").symlink_to("/etc/passwd")
    (place / "folder.ipynb").mkdir()
    (place / "=cmd.ipynb").write_text(notebook([]))
    (place / "poison.ipynb").write_text(notebook(["while True: pass", *REFERENCE]))
    os.mkfifo(place / "pipe.ipynb")
    return place


def test_every_submission_gets_what_it_earned(folder, tmp_path):
    said = []
    lines = batch.grade_folder(
        folder,
        plan.whole(SLUG),
        tmp_path / "out",
        workers=2,
        limits=LIMITS,
        say=said.append,
    )
    points = {line["submission"]: sum(line["points"].values()) for line in lines}
    full = float(len(CODED))
    whole = ("good", "same", "wide", "magics", "poison")
    assert {name: points[f"{name}.ipynb"] for name in whole} == dict.fromkeys(
        whole, full
    )
    assert points["partial.ipynb"] == 1.0
    assert points["empty.ipynb"] == points["=cmd.ipynb"] == 0.0
    refused = ("cut", "deep", "large", "link", "folder", "pipe")
    errors = {line["submission"]: line["error"] for line in lines}
    assert [name for name in refused if not errors[f"{name}.ipynb"]] == []
    assert len(said) == len(lines)
    rows = list(csv.reader((tmp_path / "out" / batch.TABLE).open()))
    assert len(rows) == len(lines) + 1
    assert rows[1][0] == "'=cmd.ipynb"


def test_one_process_and_two_find_the_same(folder, tmp_path):
    for unneeded in ("poison.ipynb", "large.ipynb"):
        (folder / unneeded).unlink()

    def found(n):
        lines = batch.grade_folder(
            folder,
            plan.whole(SLUG),
            tmp_path / f"out{n}",
            workers=n,
            say=lambda _: None,
        )
        return [line | {"seconds": 0} for line in lines]

    assert found(1) == found(2)


def test_a_killed_run_goes_on_and_grades_nothing_twice(tmp_path):
    place, out = tmp_path / "handed-in", tmp_path / "out"
    place.mkdir()
    for n in range(12):
        slow = f"import time\ntime.sleep(0.3)  # {n}"
        (place / f"{n:02}.ipynb").write_text(notebook([slow, *REFERENCE]))
    command = [sys.executable, "-m", "course_utils", "assignment", "grade", str(place)]
    command += ["--chapter", SLUG, "--out", str(out), "--workers", "1"]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    results = out / batch.RESULTS
    while not results.exists() or len(results.read_text().splitlines()) < 3:
        assert first.poll() is None
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    before = results.read_text().splitlines()
    assert len(before) < 12
    # As if the kill had come in the middle of a line.
    with results.open("a") as file:
        file.write('{"submission": "11.ipy')
    subprocess.run(command, check=True, capture_output=True)
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert results.read_text().splitlines()[: len(before)] == before
    assert sorted(line["submission"] for line in lines) == [
        f"{n:02}.ipynb" for n in range(12)
    ]
    assert {sum(line["points"].values()) for line in lines} == {float(len(CODED))}


def test_a_changed_submission_is_graded_again(tmp_path):
    (tmp_path / "a.ipynb").write_text(notebook([]))
    grade = lambda: batch.grade_folder(  # noqa: E731
        tmp_path, plan.whole(SLUG), tmp_path / "out", workers=1, say=lambda _: None
    )
    assert sum(grade()[0]["points"].values()) == 0
    (tmp_path / "a.ipynb").write_text(notebook(REFERENCE))
    assert sum(grade()[0]["points"].values()) == len(CODED)


def test_an_empty_folder_and_an_unknown_chapter_are_said(tmp_path):
    with pytest.raises(ValueError, match=r"no \.ipynb file"):
        batch.grade_folder(tmp_path, plan.whole(SLUG), tmp_path)
    (tmp_path / "a.ipynb").write_text(notebook([]))
    with pytest.raises(ValueError, match="no exercises named '99'"):
        plan.whole("99")


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("%time f()\nx = 1", "\nx = 1"),
        ("!ls\nx = 1", "\nx = 1"),
        ("%%time\nx = 1", ""),
        ('x = """\n%d\n"""', 'x = """\n%d\n"""'),
        ("x = (7\n% 2)", "x = (7\n% 2)"),
    ],
)
def test_only_magics_are_taken_out(source, kept):
    assert without_magics(source) == kept


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"cells": 3}', '{"cells": [{"cell_type": "code", "source": 3}]}'],
)
def test_what_is_no_notebook_is_refused(tmp_path, text):
    path = tmp_path / "a.ipynb"
    path.write_text(text)
    with pytest.raises(SubmissionError):
        read_cells(path)
