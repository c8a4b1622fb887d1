"""Grade one submission: whose it is, what its code earns, what it says in words.

What takes long is made once in each process: the checks, a sandbox in which the
modules are imported, and which questions can be judged from outside at all.
"""

import hashlib
import re
import time
from dataclasses import asdict
from functools import cache, lru_cache
from threading import Lock

from course_utils.assignment import plan as planning
from course_utils.assignment.draw import CLASS
from course_utils.assignment.handout import KEY
from course_utils.assignment.plan import Plan
from course_utils.assignment.results import Line
from course_utils.assignment.roster import Student
from course_utils.authoring.derive import PLACEHOLDER
from course_utils.grading import judge
from course_utils.grading.sandbox.launch import Sandbox
from course_utils.grading.sandbox.limits import Limits
from course_utils.grading.sandbox.session import SandboxError
from course_utils.grading.submission import (
    SubmissionError,
    answers,
    code_cells,
    notebook_of,
)

# A sandbox talks to one submission at a time; a cluster's worker may have threads.
_ONE_AT_A_TIME = Lock()


def grade_one(name: str, data: bytes, made: Plan, limits: Limits) -> Line:
    """Return the line of one submission, whatever it is; see `results.Graded`."""
    start = time.perf_counter()
    found = empty_line(name, data)
    try:
        found["student"] = who = student_of(made, name)
        notebook = notebook_of(data)
        found["remarks"] = _remarks(made, notebook, who)
        found["answers"] = answers(notebook, _statements(made), PLACEHOLDER)
        with _ONE_AT_A_TIME:
            task, sandbox = ready(made, who or CLASS, limits)
            outcomes = judge.judge(code_cells(notebook), task, sandbox)
    except (SubmissionError, SandboxError) as error:
        return found | {"error": str(error)}
    return found | {
        "points": judge.score(outcomes, task),
        "checks": [asdict(outcome) for outcome in outcomes],
        "seconds": round(time.perf_counter() - start, 3),
    }


def empty_line(name: str, data: bytes, error: str = "") -> Line:
    """Return the line of a submission of which nothing is known yet."""
    return {
        "submission": name,
        "student": "",
        "sha256": hashlib.sha256(data).hexdigest() if data else "",
        "error": error,
        "points": {},
        "checks": [],
        "answers": {},
        "remarks": [],
        "seconds": 0.0,
    }


def student_of(made: Plan, name: str) -> str:
    """Return the id of the roster that a file's name holds; "" without a roster.

    The id is one word of the name or the whole of it, as learning platforms write it:
    `s123.ipynb`, `miller_s123_work.ipynb`, `s123_assignsubmission_file/work.ipynb`.

    Raises: SubmissionError if there is none, or more than one.
    """
    if not made.students:
        return ""
    by_name = {student.id.lower(): student.id for student in made.students}
    words = _ids(made.students).findall(name.removesuffix(".ipynb").lower())
    found = [by_name[word] for word in dict.fromkeys(words)]
    if len(found) == 1:
        return found[0]
    what = f"the ids {', '.join(found)}" if found else "no id"
    raise SubmissionError(
        f"its name holds {what} of the list of students; rename it to ID.ipynb."
    )


@cache
def _ids(students: tuple[Student, ...]) -> re.Pattern:
    """Return what finds an id between other signs than letters and digits."""
    longest_first = sorted((s.id.lower() for s in students), key=len, reverse=True)
    either = "|".join(map(re.escape, longest_first))
    return re.compile(f"(?<![a-z0-9])(?:{either})(?![a-z0-9])")


def _remarks(made: Plan, notebook: dict, who: str) -> list[str]:
    """Say what the instructor should look at."""
    metadata = notebook.get("metadata")
    ours = metadata.get(KEY) if isinstance(metadata, dict) else None
    meant = ours.get("for") if isinstance(ours, dict) else None
    if made.drawn_for_each and meant != who:
        said = f"to {str(meant)[:64]!r}" if meant else "to nobody we know"
        return [f"this notebook was handed out {said}."]
    return []


def _statements(made: Plan) -> dict[str, str]:
    return {q.heading: q.statement for q in made.questions() if not q.reference}


@lru_cache(maxsize=256)
def ready(made: Plan, who: str, limits: Limits) -> tuple[judge.Assignment, Sandbox]:
    """Return the checks for one student, and the sandbox of this process."""
    kept = _judged_outside(made.slug, limits)
    asked = [q for q in made.questions() if q.heading in kept]
    trials = tuple(planning.trial_of(made, q, who) for q in asked)
    points = {q.heading: made.points_of(q.number) for q in asked}
    return judge.task(made.slug, trials, points), _sandbox(made.slug, limits)


@cache
def _whole(slug: str) -> judge.Assignment:
    """Return the published questions of a chapter that have code."""
    coded = [q for q in planning.master_of(slug).questions if q.reference]
    trials = tuple(planning.published(slug, q.number) for q in coded)
    return judge.task(slug, trials, dict.fromkeys((q.heading for q in coded), 1.0))


@cache
def _sandbox(slug: str, limits: Limits) -> Sandbox:
    """Start the sandbox of a chapter; raises NotIsolated where there can be none."""
    return _whole(slug).sandbox(limits)


@cache
def _judged_outside(slug: str, limits: Limits) -> frozenset[str]:
    """Return the headings of the questions whose own solution gets all points.

    One whose argument is a whole model, say, cannot be judged from outside; it is
    left to a person.
    """
    task = _whole(slug)
    outcomes = judge.judge(task.solution(), task, _sandbox(slug, limits))
    return frozenset(task.only(judge.score(outcomes, task)).points)


def judged_outside(made: Plan, limits: Limits) -> frozenset[str]:
    """Return the headings of a plan's questions that the sandbox can judge."""
    asked = {q.heading for q in made.questions()}
    return asked & _judged_outside(made.slug, limits)
