"""Grade one submission: its code in a sandbox, the checks outside.

Each check gets a stand-in for the student's function and never meets the student's
objects. A function that hangs or kills its process fails the check that called it;
the cells are run again in a new process for the next one.

A function that changes its arguments is seen twice: first with the check's own values
safe from it, so that none can bend what is expected of it, then as in a notebook, so
that a check which forbids the change sees it. It must pass both times.

Points of a question are shared equally among its checks.
"""

import ast
import time
from dataclasses import dataclass

from course_utils.grading import check as checking
from course_utils.grading.gate import Trial, prepare
from course_utils.grading.questions import Master
from course_utils.grading.sandbox.launch import Sandbox
from course_utils.grading.sandbox.limits import Limits
from course_utils.grading.sandbox.session import SandboxError, Session

# A submission that hangs in every check should not hold up a class.
MOST_SESSIONS = 12


@dataclass(frozen=True)
class Outcome:
    """What one check found.

    Attributes:
        message: "" if it passed, else the hint for the student.
        hidden: Whether the check is not in the student's notebook.
    """

    question: str
    check: str
    message: str
    hidden: bool


@dataclass(frozen=True)
class Assignment:
    """The questions of a chapter, with their checks ready to run.

    Attributes:
        points: Of each question, by its heading.
        modules: What its cells import, for the sandbox to import once.
    """

    slug: str
    trials: tuple[Trial, ...]
    points: dict[str, float]
    modules: tuple[str, ...] = ("numpy",)

    @property
    def library(self) -> bool:
        """Whether the exercises call `course_utils` themselves."""
        return any(name.startswith("course_utils") for name in self.modules)

    def only(self, reached: dict[str, float]) -> "Assignment":
        """Return the questions for which all points were reached."""
        kept = {h: p for h, p in self.points.items() if reached[h] == p}
        trials = tuple(t for t in self.trials if t.question.heading in kept)
        return Assignment(self.slug, trials, kept, self.modules)

    def solution(self) -> list[str]:
        """Return cells that hold the references, below what they need."""
        parts = (part for t in self.trials for part in (t.shared, t.question.reference))
        return list(dict.fromkeys(part for part in parts if part))

    def sandbox(self, limits: Limits | None = None) -> Sandbox:
        """Start a sandbox with what the exercises import.

        Raises: NotIsolated where there can be none.
        """
        return Sandbox(",".join(self.modules), limits, library=self.library)


def assignment(master: Master, points: float = 1.0) -> Assignment:
    """Return the coded questions of a master, each worth `points`."""
    coded = [q for q in master.questions if q.reference]
    trials = tuple(prepare(q, master.shared) for q in coded)
    return task(master.slug, trials, dict.fromkeys((q.heading for q in coded), points))


def task(slug: str, trials: tuple[Trial, ...], points: dict[str, float]) -> Assignment:
    """Return an assignment of these questions, with the points of each heading."""
    sources = [part for t in trials for part in (t.shared, t.question.reference)]
    return Assignment(slug, trials, points, _modules("\n".join(sources)))


def _modules(source: str) -> tuple[str, ...]:
    """Return the modules that a source imports, but for the checks."""
    names = {"numpy"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return tuple(sorted(names - {"course_utils.grading.check"}))


def judge(cells: list[str], task: Assignment, sandbox: Sandbox) -> list[Outcome]:
    """Run every check of every question on a submission's cells.

    Those that are in the notebook come first: what they say of a failure may be shown
    in full, since the student's code has not met an input of the others yet.
    """
    shown = [(trial, check) for trial in task.trials for check in trial.visible]
    hidden = [(trial, check) for trial in task.trials for check in trial.further]
    with _Attempt(cells, sandbox) as attempt:
        return [
            Outcome(
                trial.question.heading,
                check.__name__,
                attempt.message(trial.question.function, check),
                check in trial.further,
            )
            for trial, check in shown + hidden
        ]


def score(outcomes: list[Outcome], task: Assignment) -> dict[str, float]:
    """Return the points of each question."""
    found = {}
    for heading, points in task.points.items():
        passed = [not o.message for o in outcomes if o.question == heading]
        found[heading] = points * sum(passed) / len(passed)
    return found


class _Attempt:
    """The cells of one submission in a process, which is replaced when it dies."""

    def __init__(self, cells: list[str], sandbox: Sandbox) -> None:
        self.cells, self.sandbox = cells, sandbox
        self.fatal: set[int] = set()
        self.opened = 0
        self.session: Session | None = None
        self.end = time.monotonic() + sandbox.limits.wall

    def message(self, function: str, check: checking.Check) -> str:
        """Run one check and return its message; "" if it passes."""
        try:
            session = self._alive()
        except SandboxError as error:
            return f"your code was stopped: {error}"
        session.changed = session.puts_back = False
        message = checking.failure(session.function(function), check)
        if session.changed and not message and not session.over:
            session.puts_back = True
            message = checking.failure(session.function(function), check)
            session.undo()
        if session.over:
            return f"your code was stopped: {session.over}"
        return message or ""

    def _alive(self) -> Session:
        """Return a session in which the cells have run."""
        while self.session is None or self.session.over:
            if self.opened >= MOST_SESSIONS or time.monotonic() > self.end:
                raise SandboxError("it used all of its time.")
            self.opened += 1
            self.session = self.sandbox.open()
            self._run_cells(self.session)
        return self.session

    def _run_cells(self, session: Session) -> None:
        """Run the cells in order; one that kills the process is left out next time."""
        for number, cell in enumerate(self.cells):
            if number in self.fatal:
                continue
            try:
                session.run(cell)
            except SandboxError:
                self.fatal.add(number)
                return
            except Exception:
                continue  # As in a notebook: the next cell may still run.

    def __enter__(self) -> "_Attempt":
        return self

    def __exit__(self, *_: object) -> None:
        if self.session:
            self.session.close()
