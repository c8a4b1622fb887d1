"""How long each notebook took and how much memory, in a file beside the records.

The figures stay out of the notebooks: two executions must give the same bytes.
"""

import json
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from course_utils.authoring.notebook import write_atomic

PACKAGES = ("torch", "transformers", "numpy", "matplotlib", "anywidget")


@dataclass(frozen=True)
class Entry:
    """One execution.

    Attributes:
        seconds: From the start of the kernel to the end of the last cell.
        peak_mib: Largest resident memory of the kernel, in MiB.
        date: UTC day.
        profile: Profile it ran in.
        python: Version of Python.
        versions: Versions of the main packages.
    """

    seconds: float
    peak_mib: int
    date: str
    profile: str
    python: str
    versions: dict[str, str]


def entry(seconds: float, peak_mib: int, profile: str) -> Entry:
    """Return an entry for an execution that ended now, on this Python."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    today = datetime.now(UTC).date().isoformat()
    python = platform.python_version()
    return Entry(round(seconds, 1), peak_mib, today, profile, python, found)


def record(path: Path, name: str, new: Entry) -> None:
    """Write one entry into the status file, the others left as they are."""
    entries = read(path) | {name: asdict(new)}
    text = json.dumps({"executions": entries}, indent=1, sort_keys=True) + "\n"
    write_atomic(path, text)


def read(path: Path) -> dict[str, dict]:
    """Return the entries of a status file; empty if there is none."""
    if not path.exists():
        return {}
    return json.loads(path.read_text("utf-8"))["executions"]
