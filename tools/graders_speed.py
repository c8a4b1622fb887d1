"""Seconds a submission, ours and the rivals', in one run on the same work.

Every submission holds the reference, so each check runs and passes: a grader that gave
less than all points would be timed on something else, and is refused.
"""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import graders_sandbox as sandbox
from graders_rivals import Nbgrader, Otter, Rival

from course_utils.assignment import batch, plan
from course_utils.grading import otter_files
from course_utils.grading.judge import Assignment
from course_utils.grading.questions import Master

OURS, THEIRS, ROUNDS, WORKERS = 200, 20, 2, 2
SECONDS = 600.0
API = """
import sys
from otter.api import grade_submission
for path in sys.argv[1:]:
    found = grade_submission(path, "autograder.zip", quiet=True)
    assert found.total == found.possible, path
"""


def measure(
    slug: str, task: Assignment, master: Master, environments: Path
) -> dict[str, list[float]]:
    """Return the seconds a submission of each grader, one entry a round."""
    otter = Otter(environments / "otter", task, master)
    nbgrader = Nbgrader(environments / "nbgrader", task, master)
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        turns = {
            "ours": ours(slug, master, task),
            "otter_run": _two(otter, api=False),
            "otter_api": _two(otter, api=True),
            "nbgrader": _one(nbgrader),
        }
        print(slug, turns, flush=True)
        for name, seconds in turns.items():
            found.setdefault(name, []).append(seconds)
    otter.close()
    nbgrader.close()
    return found


def ours(slug: str, master: Master, task: Assignment, n: int = OURS) -> float:
    """Return the seconds a submission of `assignment grade`, its start included."""
    with tempfile.TemporaryDirectory() as folder:
        handed_in = Path(folder) / "handed-in"
        handed_in.mkdir()
        for i in range(n):
            text = otter_files.notebook([f"student = {i}", *_answers(master, task)])
            (handed_in / f"{i:05}.ipynb").write_text(text)
        start = time.perf_counter()
        lines = batch.grade_folder(
            handed_in,
            plan.whole(slug),
            Path(folder) / "out",
            workers=WORKERS,
            say=lambda _: None,
        )
        seconds = time.perf_counter() - start
    full = {sum(line["points"].values()) for line in lines}
    _refuse(full != {float(len(lines[0]["points"]))} or len(lines) != n, "ours")
    return seconds / n


def _answers(master: Master, task: Assignment) -> list[str]:
    return [master.shared, *(t.question.reference for t in task.trials)]


def _two(rival: Otter, *, api: bool) -> float:
    """Time Otter: two at a time, by its command line or by its API."""
    names = [f"s{i:02}" for i in range(THEIRS)]
    halves = [names[::2], names[1::2]]
    start = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        seconds = list(pool.map(lambda half: _half(rival, half, api=api), halves))
    _refuse(min(seconds) <= 0, "otter")
    return (time.perf_counter() - start) / THEIRS


def _half(rival: Otter, students: list[str], *, api: bool) -> float:
    """Grade some submissions one after another in one sandbox."""
    cells = _answers(rival.master, rival.task)
    full = sum(rival.task.points.values())
    with rival.copy() as scratch:
        commands = [rival.place(scratch / "grader", cells, s) for s in students]
        if api:
            python = str(rival.environment / "bin" / "python")
            commands = [[python, "-c", API, *(argv[-1] for argv in commands)]]
        done = sandbox.run(rival.environment, scratch, commands, SECONDS)
        _refuse(set(done.codes) != {0}, rival.name)
        if not api:
            points = {rival.points(scratch, s) for s in students}
            _refuse(points != {full}, rival.name)
        return sum(done.seconds)


def _one(rival: Rival) -> float:
    """Time nbgrader: all students in one command."""
    students = [f"s{i:02}" for i in range(THEIRS)]
    answers = [t.question.reference for t in rival.task.trials]
    full = sum(rival.task.points.values())
    with rival.copy() as scratch:
        for student in students:
            rival.place(scratch / "grader", answers, student)
        command = ["nbgrader", "autograde", "lab", "--create"]
        done = sandbox.run(rival.environment, scratch, [command], SECONDS)
        points = {rival.points(scratch, s) for s in students}
        _refuse(points != {full}, rival.name)
        return done.seconds[0] / THEIRS


def _refuse(wrong: bool, name: str) -> None:
    """Stop where a grader did other work than the one to be timed."""
    if wrong:
        raise RuntimeError(f"{name} did not give every reference all points.")
