"""Measurements that need a process of their own: loading, and peak memory.

    python -m course_utils.measure.child load|first-load

prints one JSON object on its last line. A peak belongs to a process from its start,
and a second load in one process finds everything imported and read already, so both
are taken in a process that does nothing else. It runs on the processor and under the
`ci` profile, whatever the machine has.

Left out: a cold disk. The files were read shortly before and lie in memory.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from course_utils import paths

PREFIX = ".first-load-"


def _load() -> dict[str, float]:
    """Load the embedded model and evaluate one window of 512 tokens.

    Units: seconds, bytes.
    """
    start = time.perf_counter()
    import torch  # noqa: PLC0415 -- the import is what is timed

    from course_utils.measure import memory, perplexity  # noqa: PLC0415
    from course_utils.models import loading  # noqa: PLC0415

    imported = time.perf_counter()
    model = loading.load("embedded", progress=_to_stderr).model
    loaded = time.perf_counter()
    peak_load = memory.peak_bytes()
    # What the tokens are does not matter to memory, only how many.
    perplexity.perplexity(model, torch.arange(512))
    return {
        "import_seconds": imported - start,
        "load_seconds": loaded - imported,
        "peak_load_bytes": peak_load,
        "peak_window_bytes": memory.peak_bytes(),
    }


def _first_load() -> dict[str, float]:
    """Load where only the downloaded file is at hand, in a cache of its own."""
    from course_utils.models import fetch  # noqa: PLC0415

    source = fetch.gguf_file(progress=_to_stderr).parent
    with _cache_with_only(source):
        return _load()


@contextmanager
def _cache_with_only(source: Path) -> Iterator[None]:
    """Use a new cache that holds a copy of the folder `source` and nothing else."""
    home = paths.cache_dir()
    for left_over in home.glob(f"{PREFIX}*"):  # of a run that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=PREFIX) as folder:
        shutil.copytree(source, Path(folder) / source.name)
        before = os.environ.get("COURSE_CACHE")
        os.environ["COURSE_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["COURSE_CACHE"]
            else:
                os.environ["COURSE_CACHE"] = before


def _to_stderr(line: str) -> None:
    """Keep progress out of stdout, which carries the result."""
    print(line, file=sys.stderr, flush=True)


JOBS = {"load": _load, "first-load": _first_load}


def run(job: str) -> dict[str, float]:
    """Carry out `job` in a new process and return its result.

    Raises: RuntimeError with the process's last line if it fails.
    """
    command = [sys.executable, "-m", "course_utils.measure.child", job]
    environment = {**os.environ, "COURSE_PROFILE": "ci"}
    out = subprocess.run(
        command,
        cwd=paths.PACKAGE.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if out.returncode:
        last = (out.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"The measurement {job!r} failed: {last}")
    return json.loads(out.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]]()))
