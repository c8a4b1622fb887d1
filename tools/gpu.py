"""Run every lesson on a GPU and keep what it took: the record `lessons-gpu`.

    python tools/gpu.py --model FOLDER [SLUG ...]

FOLDER holds a model (config.json, *.safetensors, a tokenizer); a name on the hub or
`embedded` will do too. The notebooks are executed in profile `gpu` into
`_build/gpu`; the committed ones stay as they are. Seconds are those of a notebook,
imports included. GPU memory is what the device had in use beyond what it had before,
looked at several times a second, so a shorter peak can be missed; programs of others
on the same GPU count as well.
"""

import argparse
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from course_utils import paths
from course_utils.authoring import execute, status
from course_utils.authoring.errors import AuthoringError
from course_utils.authoring.project import Project
from course_utils.measure import hardware, provenance, records

NAME = "lessons-gpu"
EVERY = 0.1  # seconds between two looks at the memory


def used_bytes() -> int:
    """Return the bytes in use on the GPU, whoever uses them."""
    import torch  # noqa: PLC0415 -- seconds, and --help needs none

    free, total = torch.cuda.mem_get_info()
    return total - free


class Peak:
    """The most that was in use beyond the start; `bytes` when watching has ended."""

    bytes = 0


@contextmanager
def watching(used: Callable[[], int], every: float = EVERY) -> Iterator[Peak]:
    """Watch the memory from another thread.

    Units: every in seconds.
    """
    peak, start, ended = Peak(), used(), threading.Event()

    def look() -> None:
        while not ended.is_set():
            peak.bytes = max(peak.bytes, used() - start)
            ended.wait(every)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
        peak.bytes = max(peak.bytes, used() - start)


def run_lessons(
    project: Project, plan: execute.Plan, slugs: tuple[str, ...], used: Callable
) -> tuple[dict[str, status.Entry | str], dict[str, int]]:
    """Execute chapter after chapter.

    Returns what each notebook took, and the peak bytes of each chapter.
    """
    entries: dict[str, status.Entry | str] = {}
    peaks: dict[str, int] = {}
    for slug in slugs or tuple(dict.fromkeys(slug for _, slug in project.targets())):
        with watching(used) as peak:
            entries |= execute.execute(project, plan, (slug,))
        peaks[slug] = peak.bytes
    return entries, peaks


def values_of(
    entries: dict[str, status.Entry], peaks: dict[str, int]
) -> dict[str, records.Value]:
    """Return the values of the record."""
    values = {
        f"{_key(name)}_seconds": records.exact(entry.seconds, "s")
        for name, entry in entries.items()
    }
    values |= {
        f"chapter_{_key(slug)}_peak": records.exact(b, "B") for slug, b in peaks.items()
    }
    values["seconds"] = records.exact(
        round(sum(e.seconds for e in entries.values()), 1), "s", n=len(entries)
    )
    return values


def _key(name: str) -> str:
    """Return a key of a record: notebooks/01_a-b becomes notebooks_01_a_b."""
    return name.replace("/", "_").replace("-", "_")


def record_of(
    values: dict[str, records.Value], described: dict[str, dict], model: str
) -> records.Record:
    """Return the record; of a model's folder only its last part is named."""
    short = Path(model).name if Path(model).is_dir() else model
    return records.Record(
        name=NAME,
        title="All lessons in profile gpu",
        command="python tools/gpu.py --model FOLDER",
        date=datetime.now(UTC).date().isoformat(),
        commit=provenance.commit(),
        device=described["device"],
        versions=described["versions"],
        model=None,
        inputs_sha256=provenance.inputs_sha256(
            {"model": short, "code": provenance.code_sha256()}
        ),
        values=values,
        slice=None,
        notes=[
            f"Model: {short}.",
            "Seconds of a notebook count from the start of its kernel. Peaks are GPU "
            "memory in use beyond what was in use before, per chapter.",
        ],
    )


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    summary = "Run every lesson on a GPU and write the record lessons-gpu."
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument(
        "--model", required=True, help="a folder, a hub name or `embedded`"
    )
    parser.add_argument("slugs", nargs="*", help="chapters; all by default")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, *, project: Project | None = None) -> int:
    """Run the lessons, write the record, and return the exit status."""
    arguments = _arguments(argv)
    try:
        described = hardware.describe("cuda")
    except ValueError as error:
        print(f"gpu: {error}", file=sys.stderr)
        return 1
    model = arguments.model
    os.environ["COURSE_MODEL"] = (
        str(Path(model).resolve()) if Path(model).is_dir() else model
    )
    folder = paths.ROOT / "_build" / "gpu"
    shutil.rmtree(folder, ignore_errors=True)
    plan = execute.Plan(folder, folder / "status.json", "gpu")
    try:
        entries, peaks = run_lessons(
            project or Project(), plan, tuple(arguments.slugs), used_bytes
        )
    except AuthoringError as error:
        print(f"gpu: {error}", file=sys.stderr)
        return 1
    failed = [name for name, entry in entries.items() if isinstance(entry, str)]
    print(execute.table(entries))
    if failed:
        print(f"gpu: no record, because {', '.join(failed)} failed.", file=sys.stderr)
        return 1
    record = record_of(values_of(entries, peaks), described, model)
    print(records.write(NAME, record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
