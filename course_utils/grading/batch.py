"""Grade a folder of submissions: one JSON line each, and a table of points.

Every line is on disk before the next submission is taken, so a run that is killed
goes on where it stopped: a submission with the same bytes and the same checks is not
graded again. A submission that cannot be read, or that takes its worker down, gets a
line that says so; the others are graded.
"""

import csv
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from course_utils.grading.judge import Assignment, assignment, judge, score
from course_utils.grading.questions import load_master, masters
from course_utils.grading.sandbox.launch import Sandbox
from course_utils.grading.sandbox.limits import Limits
from course_utils.grading.sandbox.session import SandboxError
from course_utils.grading.submission import SubmissionError, read_bytes, read_cells
from course_utils.paths import book_dir

RESULTS, TABLE = "results.jsonl", "points.csv"
BROKEN = "the grader's worker ended while it graded this; grade it by hand."
Line = dict[str, object]


def grade_folder(  # noqa: PLR0913 -- what the command line asks for
    folder: Path,
    slug: str,
    out: Path,
    *,
    workers: int | None = None,
    limits: Limits | None = None,
    say: Callable[[str], None] = print,
) -> list[Line]:
    """Grade every notebook of `folder` and return the lines, sorted by name.

    Args:
        folder: Where the notebooks are.
        slug: The chapter whose exercises were handed in.
        out: Where results.jsonl and points.csv go.
        workers: Processes; all cores by default.
        limits: What each submission may use.
        say: Shows progress, a line at a time.

    Raises:
        ValueError: Where there is no such chapter or no notebook.
        NotIsolated: Where students' code cannot be isolated.
    """
    paths = sorted(p for p in Path(folder).glob("*.ipynb"))
    if not paths:
        raise ValueError(f"{folder} holds no .ipynb file; name the folder of them.")
    task, _ = _ready(slug, limits or Limits())
    out.mkdir(parents=True, exist_ok=True)
    fingerprint = _fingerprint(slug)
    done = _read(out / RESULTS, fingerprint)
    todo = [p for p in paths if done.get(p.name, {}).get("sha256") != _sha256(p)]
    if done:
        say(f"{len(paths) - len(todo)} of {len(paths)} were graded before.")
    with (out / RESULTS).open("a", encoding="utf-8") as file:
        for line in _graded(todo, slug, workers, limits or Limits()):
            done[line["submission"]] = line | {"checks_sha256": fingerprint}
            file.write(json.dumps(done[line["submission"]]) + "\n")
            file.flush()
            os.fsync(file.fileno())
            say(f"{line['submission']}: {line['error'] or _total(line, task)}")
    lines = [done[p.name] for p in paths]
    _write_table(out / TABLE, lines, task)
    return lines


def grade_one(path: Path, slug: str, limits: Limits) -> Line:
    """Return the line of one submission, whatever it is."""
    task, sandbox = _ready(slug, limits)
    start = time.perf_counter()
    found: Line = {"submission": path.name, "sha256": _sha256(path), "error": ""}
    try:
        outcomes = judge(read_cells(path), task, sandbox)
    except (SubmissionError, SandboxError) as error:
        return found | {"error": str(error), "points": {}, "checks": [], "seconds": 0.0}
    return found | {
        "points": score(outcomes, task),
        "checks": [asdict(outcome) for outcome in outcomes],
        "seconds": round(time.perf_counter() - start, 3),
    }


@cache
def _ready(slug: str, limits: Limits) -> tuple[Assignment, Sandbox]:
    """Return a chapter's checks and a sandbox, made once in each process.

    A question whose own solution cannot be judged from outside, since its argument is
    a whole model, say, is left to a person: it is not part of the assignment.
    """
    found = [path for path in masters() if path.stem == slug]
    if not found:
        raise ValueError(f"there are no exercises named {slug!r} in book/exercises.")
    master = load_master(found[0])
    task = assignment(master)
    sandbox = task.sandbox(limits)
    cells = [master.shared, *(t.question.reference for t in task.trials)]
    return task.only(score(judge(cells, task, sandbox), task)), sandbox


def _graded(
    todo: list[Path], slug: str, workers: int | None, limits: Limits
) -> Iterator[Line]:
    """Yield lines as they come; replace a pool that broke, and name what broke it."""
    left, context = list(todo), get_context("spawn")
    n = workers or os.cpu_count() or 1
    while left:
        try:
            with ProcessPoolExecutor(n, mp_context=context) as pool:
                jobs = {pool.submit(grade_one, p, slug, limits): p for p in left}
                for job in as_completed(jobs):
                    line = job.result()
                    left.remove(jobs[job])
                    yield line
        except BrokenProcessPool:
            if n == 1:
                # Alone in its pool: this one is the cause.
                path = left.pop(0)
                yield {
                    "submission": path.name,
                    "sha256": _sha256(path),
                    "error": BROKEN,
                    "points": {},
                    "checks": [],
                    "seconds": 0.0,
                }
            n = 1


def _fingerprint(slug: str) -> str:
    """Return a hash of the exercise master, which holds the checks."""
    data = (book_dir() / "exercises" / f"{slug}.md").read_bytes()
    return hashlib.sha256(data).hexdigest()


def _sha256(path: Path) -> str:
    """Return the hash of a submission; "" if it cannot be read."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except SubmissionError:
        return ""


def _read(path: Path, fingerprint: str) -> dict[str, Line]:
    """Return the lines of an earlier run with the same checks, by submission.

    A last line that was cut off is taken out of the file, so that the next one starts
    on a line of its own.
    """
    if not path.exists():
        return {}
    text = path.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    lines = [json.loads(line) for line in whole.splitlines()]
    kept = [line for line in lines if line["checks_sha256"] == fingerprint]
    return {line["submission"]: line for line in kept}


def _total(line: Line, task: Assignment) -> str:
    """Return the points in words."""
    return f"{sum(line['points'].values()):g} of {sum(task.points.values()):g} points"


def _write_table(path: Path, lines: list[Line], task: Assignment) -> None:
    """Write one row per submission, columns per question, for a gradebook."""
    temporary = path.with_suffix(".new")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["submission", *task.points, "total", "remark"])
        for line in lines:
            points = [line["points"].get(heading, 0.0) for heading in task.points]
            row = [line["submission"], *points, sum(points), line["error"]]
            writer.writerow([_harmless(value) for value in row])
    temporary.replace(path)


def _harmless(value: object) -> object:
    """Keep a spreadsheet from taking a file's name for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")):
        return f"'{value}"
    return value
