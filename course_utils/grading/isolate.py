"""Run a function in a child process that may hang, crash or eat memory.

The child is a fork: it starts with everything the parent has imported, so one run
costs milliseconds rather than the seconds that importing torch takes. It may use a
set amount of processor time (not wall time, so that a busy machine changes no
verdict) and a set amount of memory on top of what it starts with.

This keeps a broken solution from harming the run. It does not keep a hostile one
from harming the machine.
"""

import json
import math
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

EXTRA_MEMORY = 2 * 2**30
WALL_SECONDS = 120


def run_isolated(task: Callable[[], list[str]], *, seconds: float) -> list[str] | None:
    """Return what `task` returns, or None if its process did not end well.

    Units: seconds of processor time.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(task, writer, seconds)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        said = answers.read()
    _, status = os.waitpid(child, 0)
    return json.loads(said) if status == 0 and said else None


def _child(task: Callable[[], list[str]], writer: int, seconds: float) -> None:
    """Limit this process, run the task, send its answer and end."""
    code = 1
    try:
        _limit(seconds)
        # Both the descriptors and what Python prints to; a test may have changed that.
        nowhere = Path(os.devnull).open("w")  # noqa: SIM115 - until this process ends
        sys.stdout = sys.stderr = nowhere
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        # The parent's threads do not survive a fork; one thread needs none of them.
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)
        with os.fdopen(writer, "wb") as answer:
            answer.write(json.dumps(task()).encode())
        code = 0
    finally:
        os._exit(code)


def _limit(seconds: float) -> None:
    """Bound processor time, wall time and memory of this process."""
    signal.alarm(WALL_SECONDS)
    cpu = math.ceil(seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    statm = Path("/proc/self/statm")
    if statm.exists():
        pages = int(statm.read_text().split()[0])
        allowed = pages * resource.getpagesize() + EXTRA_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
