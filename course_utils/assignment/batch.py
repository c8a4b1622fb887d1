"""Grade a folder of submissions: one JSON line each, and a table of points.

Every line is on disk before it counts, so a run that is killed goes on where it
stopped: a submission with the same bytes, checks and draws is not graded again. A
submission that cannot be read, or that takes its worker down, gets a line that says
so; the others are graded.
"""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from course_utils.assignment import one, plan
from course_utils.assignment.cluster import executor_of
from course_utils.assignment.gradebook import formula_free
from course_utils.assignment.plan import Plan
from course_utils.assignment.results import (
    RESULTS,
    Asked,
    Line,
    read_lines,
    write_asked,
)
from course_utils.grading.sandbox.limits import Limits
from course_utils.grading.submission import SubmissionError, read_bytes

TABLE = "points.csv"
BROKEN = "the grader's worker ended while it graded this; grade it by hand."
# Submissions read ahead for each worker; more would only fill memory.
AHEAD = 4


def grade_folder(  # noqa: PLR0913 -- what the command line asks for
    folder: Path,
    made: Plan,
    out: Path,
    *,
    workers: int | None = None,
    cluster: str = "",
    limits: Limits | None = None,
    say: Callable[[str], None] = print,
) -> list[Line]:
    """Grade every notebook below `folder` and return the lines, sorted by name.

    Args:
        folder: Where the notebooks are, also in folders of their own.
        made: What was asked, of whom.
        out: Where results.jsonl, asked.json and points.csv go.
        workers: Processes; all cores by default.
        cluster: Address of a Dask scheduler, which then decides about workers.
        limits: What each submission may use.
        say: Shows progress, a line at a time.

    Raises:
        ValueError: Where there is no such chapter or no notebook.
        NotIsolated: Where students' code cannot be isolated.
    """
    files = {path.relative_to(folder).as_posix(): path for path in _found(folder)}
    if not files:
        raise ValueError(f"{folder} holds no .ipynb file; name the folder of them.")
    limits = limits or Limits()
    asked = plan.checked(made).asked()
    if not cluster:
        _say_what_is_left(made, one.judged_outside(made, limits), say)
    out.mkdir(parents=True, exist_ok=True)
    write_asked(out, asked)
    done = read_lines(out, asked.fingerprint)
    todo = [n for n, p in files.items() if done.get(n, {}).get("sha256") != _hash(p)]
    if done:
        say(f"{len(files) - len(todo)} of {len(files)} were graded before.")
    with (out / RESULTS).open("a", encoding="utf-8") as file:
        jobs = _Jobs(files, made, limits)
        for line in jobs.lines(todo, workers or os.cpu_count() or 1, cluster):
            done[line["submission"]] = line | {"checks_sha256": asked.fingerprint}
            file.write(json.dumps(done[line["submission"]]) + "\n")
            file.flush()
            os.fsync(file.fileno())
            say(f"{line['submission']}: {line['error'] or _total(line, asked)}")
    lines = [done[name] for name in sorted(files)]
    _write_table(out / TABLE, lines, asked)
    return lines


def _found(folder: Path) -> list[Path]:
    """Return the notebooks of a folder and of those in it; no link is followed."""
    return sorted(
        Path(top) / name
        for top, _, names in os.walk(folder)
        for name in names
        if name.endswith(".ipynb")
    ) + sorted(p for p in Path(folder).glob("*.ipynb") if p.is_dir())


def _say_what_is_left(
    made: Plan, judged: frozenset[str], say: Callable[[str], None]
) -> None:
    """Name the questions that have code and are left to a person."""
    for question in made.questions():
        if question.reference and question.heading not in judged:
            say(f"{question.heading}: its argument cannot be sent; grade it by hand.")


class _Jobs:
    """The submissions that are being graded, with what that needs."""

    def __init__(self, files: dict[str, Path], made: Plan, limits: Limits) -> None:
        self.files, self.made, self.limits = files, made, limits
        self.running: dict[Future, str] = {}

    def lines(self, todo: list[str], workers: int, cluster: str) -> Iterator[Line]:
        """Yield lines as they come."""
        left = list(reversed(todo))
        if cluster:
            with executor_of(cluster) as (pool, n):
                yield from self._through(pool, left, AHEAD * n)
            return
        while left:
            try:
                with _pool(workers) as pool:
                    yield from self._through(pool, left, AHEAD * workers)
            except BrokenProcessPool:
                suspects = sorted(self.running.values())
                self.running.clear()
                for name in suspects:
                    yield from self._alone(name)

    def _alone(self, name: str) -> Iterator[Line]:
        """Grade a suspect in a pool of its own: if that breaks too, it is the cause."""
        try:
            with _pool(1) as pool:
                yield from self._through(pool, [name], 1)
        except BrokenProcessPool:
            self.running.clear()
            yield one.empty_line(name, self._data(name), BROKEN)

    def _through(self, pool: Executor, left: list[str], most: int) -> Iterator[Line]:
        """Send submissions to a pool, a bounded number at a time."""
        while left or self.running:
            while left and len(self.running) < most:
                name = left.pop()
                try:
                    data = read_bytes(self.files[name])
                except SubmissionError as error:
                    yield one.empty_line(name, b"", str(error))
                    continue
                arguments = (name, data, self.made, self.limits)
                self.running[pool.submit(one.grade_one, *arguments)] = name
            done, _ = wait(self.running, return_when=FIRST_COMPLETED)
            for job in done:
                line = self._line(job)
                del self.running[job]
                yield line

    def _line(self, job: Future) -> Line:
        """Return what a job found; a cluster says which job ended its workers."""
        error = job.exception()
        if error is None or isinstance(error, BrokenProcessPool):
            return job.result()
        if type(error).__name__ != "KilledWorker":
            raise error
        return one.empty_line(self.running[job], self._data(self.running[job]), BROKEN)

    def _data(self, name: str) -> bytes:
        return read_bytes(self.files[name])


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def _hash(path: Path) -> str:
    """Return the hash of a submission; "" if it cannot be read."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except SubmissionError:
        return ""


def _total(line: Line, asked: Asked) -> str:
    """Return the points in words."""
    of = sum(p for h, p in asked.points.items() if h not in asked.rubrics)
    return f"{sum(line['points'].values()):g} of {of:g} points"


def _write_table(path: Path, lines: list[Line], asked: Asked) -> None:
    """Write one row per submission, columns per question, for a gradebook."""
    headings = [h for h in asked.points if h not in asked.rubrics]
    temporary = path.with_suffix(".new")
    how = {"encoding": "utf-8", "errors": "backslashreplace"}  # a name may be no text
    with temporary.open("w", newline="", **how) as file:
        writer = csv.writer(file)
        writer.writerow(["submission", "student", *headings, "total", "remark"])
        for line in lines:
            points = [line["points"].get(heading, 0.0) for heading in headings]
            said = " ".join([line["error"], *line["remarks"]]).strip()
            row = [line["submission"], line["student"], *points, sum(points), said]
            writer.writerow([formula_free(v) if isinstance(v, str) else v for v in row])
    temporary.replace(path)
