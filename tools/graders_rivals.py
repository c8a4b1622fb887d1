"""Otter and nbgrader as graders of our exercises, each in its own environment.

A rival gets the checks of a master in its own form (`otter_files` for Otter, cells of
a notebook for nbgrader), one point a check, and grades submissions that are lists of
cells. What it says is read from its results file or its database.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import graders_sandbox as sandbox

from course_utils.grading import otter_files
from course_utils.grading.judge import Assignment
from course_utils.grading.questions import Master

# Folders and files that a grader writes itself, or that its libraries leave.
OWN = ("home", "out", "log.txt", "report.json", "points.json", "gradebook.db")
LATE = "did not end"
READ_POINTS = """
import json, sqlite3
rows = sqlite3.connect("file:/grader/gradebook.db?mode=ro", uri=True).execute(
    "SELECT a.student_id, sum(coalesce(g.auto_score, 0)), max(g.auto_score)"
    " FROM submitted_assignment AS a"
    " JOIN submitted_notebook AS n ON n.assignment_id = a.id"
    " JOIN grade AS g ON g.notebook_id = n.id GROUP BY a.student_id")
json.dump({student: total for student, total, most in rows if most is not None},
          open("/grader/points.json", "w"))
"""
# A cell may take as long as an answer of ours and the limits that go with it.
CONFIG = """c = get_config()
c.CourseDirectory.course_id = "course"
c.ExecutePreprocessor.timeout = 15
c.ExecutePreprocessor.interrupt_on_timeout = False
"""


@dataclass(frozen=True)
class Verdict:
    """What a rival made of one submission.

    Attributes:
        points: None if it gave no result.
        outside: What had changed outside the submission; "" if nothing.
        run: How long it took, and how it ended.
    """

    points: float | None
    outside: str
    run: sandbox.Run


class Rival:
    """What both have in common: a folder prepared once, copied for each run."""

    name = ""

    def __init__(self, environment: Path, task: Assignment, master: Master) -> None:
        self.environment, self.master = environment, master
        each = {
            t.question.heading: float(len(t.visible + t.further)) for t in task.trials
        }
        self.task = Assignment(task.slug, task.trials, each, task.modules)
        self.prepared = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.prepare(self.prepared / "grader")
        classmates = self.prepared / "grader" / "classmates"
        classmates.mkdir()
        (classmates / "classmate.ipynb").write_text(otter_files.notebook(["x = 1"]))

    def prepare(self, folder: Path) -> None:
        """Write the assignment in the rival's form."""
        raise NotImplementedError

    def place(self, folder: Path, cells: list[str], student: str) -> list[str]:
        """Write a submission and return the command that grades it."""
        raise NotImplementedError

    def points(self, scratch: Path, student: str) -> float | None:
        """Return what the rival gave."""
        raise NotImplementedError

    def grade(self, cells: list[str], seconds: float = sandbox.SECONDS) -> Verdict:
        """Grade one submission in a copy of the prepared folder."""
        with self.copy() as scratch:
            command = self.place(scratch / "grader", cells, "student")
            before = _hashes(scratch / "grader")
            done = sandbox.run(self.environment, scratch, [command], seconds)
            outside = _outside(done, before, scratch)
            points = None if done.late else self.points(scratch, "student")
            return Verdict(points, outside, done)

    @contextmanager
    def copy(self) -> Iterator[Path]:
        """Yield a copy of the prepared folder, removed afterwards."""
        scratch = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        try:
            shutil.copytree(self.prepared / "grader", scratch / "grader")
            # What bubblewrap looks into as an ordinary user.
            scratch.chmod(0o755)
            yield scratch
        finally:
            sandbox.remove(scratch)

    def close(self) -> None:
        """Remove the prepared folder."""
        sandbox.remove(self.prepared)


class Otter(Rival):
    """`otter run` on one submission after another."""

    name = "otter"

    def prepare(self, folder: Path) -> None:
        """Build the archive that Gradescope would get."""
        python = self.environment / "bin" / "python"
        with tempfile.TemporaryDirectory() as files:
            otter_files.write(self.task, Path(files))
            folder.mkdir()
            archive = folder / "autograder.zip"
            otter_files.gradescope(Path(files), archive, python)

    def place(self, folder: Path, cells: list[str], student: str) -> list[str]:
        """Write the notebook."""
        (folder / "out" / student).mkdir(parents=True)
        (folder / "submitted").mkdir(exist_ok=True)
        path = folder / "submitted" / f"{student}.ipynb"
        path.write_text(otter_files.notebook(cells))
        return [
            *("otter", "run", "--no-logo", "-a", "autograder.zip"),
            *("-o", f"out/{student}", f"submitted/{student}.ipynb"),
        ]

    def points(self, scratch: Path, student: str) -> float | None:
        """Add up the scores of the questions in results.json."""
        scores = self.questions(scratch, student)
        return None if scores is None else sum(scores.values())

    def by_question(self, cells: list[str]) -> dict[str, float]:
        """Return the score of each question file for one submission."""
        with self.copy() as scratch:
            command = self.place(scratch / "grader", cells, "student")
            sandbox.run(self.environment, scratch, [command], sandbox.SECONDS)
            return self.questions(scratch, "student") or {}

    def questions(self, scratch: Path, student: str) -> dict[str, float] | None:
        """Return the score of each question file, "q1" and so on."""
        path = scratch / "grader" / "out" / student / "results.json"
        found = sandbox.read_json(path)
        if not isinstance(found, dict) or not isinstance(found.get("tests"), list):
            return None
        return {
            str(t["name"]): float(t["score"]) for t in found["tests"] if "score" in t
        }


class Nbgrader(Rival):
    """`nbgrader autograde`, with its database."""

    name = "nbgrader"

    def prepare(self, folder: Path) -> None:
        """Write the course and let nbgrader make the assignment's release."""
        source = folder / "source" / "lab"
        source.mkdir(parents=True)
        solutions = {t.question.heading: t.question.reference for t in self.task.trials}
        (source / "lab.ipynb").write_text(self.lab([], solutions))
        (folder / "nbgrader_config.py").write_text(CONFIG)
        files, _ = otter_files.needed(self.task)
        for path in files:
            copied = folder / "lib" / path.relative_to(otter_files.PACKAGE.parent)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)
        command = ["nbgrader", "generate_assignment", "lab", "--create"]
        done = sandbox.run(self.environment, folder.parent, [command], 120)
        if done.codes != (0,):
            log = (folder / "log.txt").read_text(errors="replace")
            raise RuntimeError(f"nbgrader made no assignment: {log[-500:]}")

    def lab(self, before: list[str], answers: dict[str, str]) -> str:
        """Return the assignment's notebook with some answers, after some cells."""
        cells = [(s, {}) for s in (self.master.shared, *before)]
        for trial in self.task.trials:
            question, name = trial.question, f"q{trial.question.number}"
            answer = answers.get(question.heading, question.stub)
            cells.append((answer, _meta(name, solution=True)))
            helpers = otter_files.without_run(question.checks)
            defined = f"{helpers}\n\n{question.further}"
            cells.append((defined, _meta(f"{name}-checks", locked=True)))
            for check in trial.visible + trial.further:
                meta = _meta(
                    f"{name}-{check.__name__}", locked=True, grade=True, points=1
                )
                cells.append((f"{check.__name__}({question.function})", meta))
        body = json.loads(otter_files.notebook([source for source, _ in cells]))
        for cell, (_, meta) in zip(body["cells"], cells, strict=True):
            cell["metadata"] = meta
        return json.dumps(body)

    def place(self, folder: Path, cells: list[str], student: str) -> list[str]:
        """Write the student's notebook; the last cells answer the questions."""
        count = len(self.task.trials)
        before, last = cells[:-count], cells[-count:]
        headings = [t.question.heading for t in self.task.trials]
        answers = dict(zip(headings, last, strict=True))
        place = folder / "submitted" / student / "lab"
        place.mkdir(parents=True)
        (place / "lab.ipynb").write_text(self.lab(before, answers))
        return ["nbgrader", "autograde", "lab", "--create", f"--student={student}"]

    def points(self, scratch: Path, student: str) -> float | None:
        """Ask the database, inside the sandbox, as a student could have written it."""
        (scratch / "grader" / "report.json").unlink(missing_ok=True)
        python = str(self.environment / "bin" / "python")
        command = [python, "-I", "-c", READ_POINTS]
        sandbox.run(self.environment, scratch, [command], 60)
        found = sandbox.read_json(scratch / "grader" / "points.json")
        points = found.get(student) if isinstance(found, dict) else None
        return None if points is None else float(points)


def version(environment: Path, package: str) -> str:
    """Return the version of a package in an environment."""
    code = f"from importlib import metadata; print(metadata.version({package!r}))"
    command = [environment / "bin" / "python", "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip().partition("+")[0]


def _meta(name: str, **values: object) -> dict:
    """Return the metadata by which nbgrader knows a cell."""
    meta = {"grade": False, "solution": False, "locked": False, "task": False}
    return {"nbgrader": meta | {"schema_version": 3, "grade_id": name} | values}


def _hashes(folder: Path) -> dict[str, str]:
    """Return a hash of every file that a grading must not change."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.is_symlink()
        and path.relative_to(folder).parts[0] not in (*OWN, "autograded")
        and "__pycache__" not in path.parts
    }


def _outside(done: sandbox.Run, before: dict[str, str], scratch: Path) -> str:
    """Say what had changed after a run, in the words of the table."""
    after = _hashes(scratch / "grader")
    left = [p.name for p in (scratch / "tmp").iterdir() if not _expected(p.name)]
    found = {
        LATE: done.late,
        "grader ended": not done.late and (not done.codes or min(done.codes) < 0),
        "files changed": any(after.get(path) != h for path, h in before.items()),
        "files left": bool(left) or bool(after.keys() - before.keys()),
        "processes left": done.left > 0,
    }
    return ", ".join(text for text, so in found.items() if so)


def _expected(name: str) -> bool:
    """Return whether a name in /tmp is one that the grader's libraries leave."""
    return name.startswith(("tmp", "torchinductor"))
