"""The most memory that this process and all it started hold together (Linux).

A page that several processes share counts once, divided among them. Processes are
looked at several times a second, so a shorter peak can be missed.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY = 0.25  # seconds between two looks


class Peak:
    """The most so far, in bytes: of this process, and of the others together."""

    runner = 0
    others = 0


@contextmanager
def watching(every: float = EVERY) -> Iterator[Peak]:
    """Watch from another thread while the block runs.

    Units: every in seconds.
    """
    peak, ended = Peak(), threading.Event()

    def look() -> None:
        while not ended.wait(every):
            me, *others = tree(os.getpid())
            peak.runner = max(peak.runner, resident(me))
            peak.others = max(peak.others, sum(map(resident, others)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def tree(root: int) -> list[int]:
    """Return a process and all its descendants, the process first."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit():
                words = (place / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(words[1]), []).append(int(place.name))
        except OSError:
            continue  # It ended while we looked.
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def resident(pid: int) -> int:
    """Return the bytes that a process holds; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(x.split()[1]) * 1024 for x in lines if x.startswith("Pss:"))
