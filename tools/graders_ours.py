"""Our grader on single submissions, seen from outside as the rivals are."""

import hashlib
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from course_utils.grading.judge import Assignment, judge
from course_utils.grading.sandbox.limits import Limits

# Those of the tests: an attack that waits for the end of its time should not take long.
LIMITS = Limits(answer=3.0, wall=20.0, cpu=10, together=512 * 2**20)
LOOKED_AT = ("/tmp", "/dev/shm", "/var/tmp", "/")
USERS = range(40001, 60001)


@dataclass(frozen=True)
class Verdict:
    """Points, one a check, and what had changed outside."""

    points: float
    outside: str


class Ours:
    """A sandbox, and a classmate's work beside it."""

    def __init__(self, task: Assignment) -> None:
        self.task = task
        self.sandbox = task.sandbox(LIMITS)
        self.folder = tempfile.TemporaryDirectory()
        self.classmate = Path(self.folder.name) / "classmate.ipynb"
        self.classmate.write_text("{}")

    def __enter__(self) -> "Ours":
        """Return the grader."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the sandbox."""
        self.sandbox.close()
        self.folder.cleanup()

    def by_question(self, cells: list[str]) -> dict[str, float]:
        """Return the checks passed of each question, by its heading."""
        outcomes = judge(cells, self.task, self.sandbox)
        passed = Counter(o.question for o in outcomes if not o.message)
        return {heading: float(passed[heading]) for heading in self.task.points}

    def grade(self, cells: list[str]) -> Verdict:
        """Grade a submission and look what it left."""
        before = hashlib.sha256(self.classmate.read_bytes()).digest()
        points = sum(self.by_question(cells).values())
        found = {
            "grader ended": self.sandbox._process.poll() is not None,
            "files changed": before
            != hashlib.sha256(self.classmate.read_bytes()).digest(),
            "files left": _files() > 0,
            "processes left": _processes() > 0,
        }
        return Verdict(points, ", ".join(text for text, so in found.items() if so))


def _files() -> int:
    """Return how many files of the sandbox's users, or of its attacks, are outside."""
    found = 0
    for folder in LOOKED_AT:
        for path in Path(folder).iterdir():
            try:
                owner = path.lstat().st_uid
            except OSError:
                continue
            found += owner in USERS or path.name.startswith("fewer-bits-")
    return found


def _processes() -> int:
    """Return how many processes of a student are left after two seconds at most."""
    end = time.monotonic() + 2
    while (left := _nested()) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def _nested() -> int:
    """Return how many processes live in a namespace inside the sandbox's own."""
    found = 0
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit():
                status = (place / "status").read_text()
                line = next(x for x in status.splitlines() if x.startswith("NSpid"))
                found += len(line.split()) > 3
        except (OSError, StopIteration):
            continue
    return found
