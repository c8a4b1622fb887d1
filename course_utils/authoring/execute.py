"""Execute the notebooks that are out of date.

In place, the committed notebooks are executed in profile `ci`. With a folder, every
notebook is executed into it and the committed ones stay as they are. A notebook is
written when it is complete, so an interrupt costs the one that was running; the same
command goes on with the rest.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from course_utils.authoring import hashes, notebook, status
from course_utils.authoring.derive import derive
from course_utils.authoring.errors import AuthoringError
from course_utils.authoring.kernel import OVERRULING, Manager, environment
from course_utils.authoring.normalise import normalise
from course_utils.authoring.notebook import Node
from course_utils.authoring.project import COMMITTED_PROFILE, EXECUTED, Project
from course_utils.authoring.sync import why_stale

CELL_SECONDS = 1800
START_SECONDS = 300  # a busy machine, its disk cache cold
PEAK = "__import__('resource').getrusage(__import__('resource').RUSAGE_SELF).ru_maxrss"
# Linux counts in KiB, macOS in bytes.
PEAK_UNIT = 2**20 if sys.platform == "darwin" else 2**10

Failures = (CellExecutionError, CellTimeoutError, DeadKernelError)


@dataclass(frozen=True)
class Plan:
    """Where executed notebooks go and in which profile they run.

    Attributes:
        folder: Holds notebooks/, exercises/ and solutions/.
        status: File of seconds and memory.
        profile: Name of the profile, or "" to let the library choose.
    """

    folder: Path
    status: Path
    profile: str

    @property
    def label(self) -> str:
        """The profile as it is stored, with the variables that overrule it."""
        label = self.profile or "auto"
        if self.profile == COMMITTED_PROFILE:
            return label
        set_ = [f"{n}={os.environ[n]}" for n in OVERRULING if os.environ.get(n)]
        return " ".join([label, *set_])


def execute(
    project: Project, plan: Plan, slugs: tuple[str, ...] = ()
) -> dict[str, status.Entry | str]:
    """Execute what is stale and return, by name, what it took or why it failed.

    Raises: AuthoringError if a slug is unknown or a master is faulty.
    """
    targets = _chosen(project, slugs)
    results: dict[str, status.Entry | str] = {}
    for number, (kind, slug) in enumerate(targets, start=1):
        path = plan.folder / kind / f"{slug}.ipynb"
        nb = derive(project, kind, slug, notebook.read(path))
        name = f"{kind}/{slug}"
        if kind not in EXECUTED:
            notebook.write_atomic(path, notebook.text_of(nb))
        elif why_stale(project, nb, plan.label):
            results[name] = _one(project, plan, nb, name, f"[{number}/{len(targets)}]")
        else:
            print(f"[{number}/{len(targets)}] {name}: up to date", flush=True)
    return results


def run_notebook(
    nb: Node, folder: Path, profile: str, progress: Callable[[int, int], None]
) -> tuple[Node, int]:
    """Execute a copy of a notebook; return it with the kernel's peak memory in MiB.

    Args:
        nb: The notebook.
        folder: Working folder of the kernel.
        profile: As in `Plan`.
        progress: Called with (cell, cells) before each code cell.
    """
    live = nbformat.from_dict(json.loads(json.dumps(nb)))
    client = NotebookClient(
        live,
        timeout=CELL_SECONDS,
        startup_timeout=START_SECONDS,
        shutdown_kernel="immediate",
        kernel_name="python3",
        kernel_manager_class=Manager,
        extra_arguments=["--IPKernelApp.log_level=40"],
    )
    total = sum(cell.cell_type == "code" for cell in live.cells)
    folder.mkdir(parents=True, exist_ok=True)
    with _kernel(client, env=environment(profile), cwd=str(folder)):
        done = 0
        for index, cell in enumerate(live.cells):
            if cell.cell_type == "code":
                done += 1
                progress(done, total)
                _run_cell(client, index, done)
        client.set_widgets_metadata()
        peak = _peak(client)
    return json.loads(json.dumps(live)), peak


@contextmanager
def _kernel(client: NotebookClient, **options: object) -> Iterator[None]:
    """Start a kernel and end it, also when its start is interrupted."""
    try:
        with client.setup_kernel(**options):
            yield
    finally:
        if client.km is not None and client.km.has_kernel:
            run_sync(client.km.shutdown_kernel)(now=True)


def _run_cell(client: NotebookClient, index: int, number: int) -> None:
    """Execute one cell; its failure becomes a sentence that names it."""
    cell = client.nb.cells[index]
    try:
        client.execute_cell(cell, index, execution_count=number)
    except Failures as error:
        first = cell.source.strip().partition("\n")[0]
        raise AuthoringError(f"cell {number}, `{first}`: {_reason(error)}") from error


def overview(
    project: Project,
    plan: Plan,
    slugs: tuple[str, ...],
    results: dict[str, status.Entry | str],
) -> dict[str, status.Entry | str]:
    """Return the results of this run, and of earlier ones for what was up to date."""
    before = {n: status.Entry(**e) for n, e in status.read(plan.status).items()}
    names = [f"{kind}/{slug}" for kind, slug in _chosen(project, slugs)]
    known = before | results
    return {name: known[name] for name in names if name in known}


def table(results: dict[str, status.Entry | str]) -> str:
    """Return the seconds and the memory of each notebook as lines of text."""
    width = max(map(len, results), default=0)
    lines = [f"{'notebook':{width}}  seconds  peak MiB"]
    for name, result in results.items():
        if isinstance(result, status.Entry):
            lines.append(f"{name:{width}}  {result.seconds:7.1f}  {result.peak_mib:8d}")
        else:
            lines.append(f"{name:{width}}  failed")
    return "\n".join(lines)


def _chosen(project: Project, slugs: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the targets of the chapters asked for, all of them by default."""
    targets = project.targets()
    known = {slug for _, slug in targets}
    for slug in slugs:
        if slug not in known:
            names = ", ".join(sorted(known))
            raise AuthoringError(f"There is no chapter {slug}; there are {names}.")
    return [t for t in targets if not slugs or t[1] in slugs]


def _one(
    project: Project, plan: Plan, nb: Node, name: str, place: str
) -> status.Entry | str:
    """Execute and write one notebook; return what it took or why it failed."""
    start = time.monotonic()
    path = plan.folder / f"{name}.ipynb"
    show = _progress(f"{place} {name}", start)
    try:
        executed, peak = run_notebook(nb, path.parent, plan.profile, show)
    except (AuthoringError, RuntimeError) as error:  # the latter: no kernel started
        _end_line()
        print(f"{place} {name}: {error}", flush=True)
        return str(error)
    seconds = time.monotonic() - start
    stamp = {"hashes": hashes.today(project, nb), "profile": plan.label}
    executed["metadata"]["fewer_bits"] = stamp
    normalise(executed, project.root)
    notebook.write_atomic(path, notebook.text_of(executed))
    result = status.entry(seconds, peak, plan.label)
    status.record(plan.status, name, result)
    _end_line()
    print(f"{place} {name}: {seconds:.1f} s, {peak} MiB", flush=True)
    return result


def _peak(client: NotebookClient) -> int:
    """Ask the kernel for its peak memory, outside the notebook."""
    ask = run_sync(client.kc.execute_interactive)
    reply = ask("", silent=True, user_expressions={"peak": PEAK})
    data = reply["content"]["user_expressions"]["peak"].get("data", {})
    return round(int(data.get("text/plain", 0)) * PEAK_UNIT / 2**20)


def _progress(label: str, start: float) -> Callable[[int, int], None]:
    """Return a callback that shows which cell runs; one line on a terminal."""

    def show(cell: int, total: int) -> None:
        text = f"{label}: cell {cell} of {total}, {time.monotonic() - start:.0f} s"
        if sys.stdout.isatty():
            print(f"\r\033[K{text}", end="", flush=True)
        else:
            print(text, flush=True)

    return show


def _end_line() -> None:
    if sys.stdout.isatty():
        print("\r\033[K", end="")


def _reason(error: Exception) -> str:
    """Return the cause of a failure in one line."""
    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {error.evalue}"
    return f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
