"""What the book needs of a machine, each need examined on its own.

An examination returns a `Finding`: a line for the report and, where something keeps a
command of the book from working, the problem in one sentence that ends in what to do.
A missing GPU is no problem.

Left out: the model, which `doctor` looks at.
"""

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from course_utils import paths
from course_utils.measure import hardware

GB = 1e9
OLDEST, NEWEST = (3, 11), (3, 13)
MEMORY_BYTES = 4 * GB  # a lesson may take this much
FIRST_BYTES = 5 * GB  # environment 2.3, model 0.7 (twice while it is written), build
LATER_BYTES = 1 * GB  # notebooks and pages
PACKAGES = (
    *hardware.PACKAGES,
    "matplotlib",
    "ipywidgets",
    "anywidget",
    "jupyterlab",
    "jupytext",
    "jupyter-book",
    "bitsandbytes",
    "llama-cpp-python",
    "pytest",
    "playwright",
)
REQUIRED = ("torch", "transformers", "numpy", "safetensors", "gguf")
COMPILERS = ("c++", "g++", "clang++")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_PROBLEM = ""


@dataclass(frozen=True)
class Finding:
    """One line of the report, and the problem it shows, if any."""

    text: str
    problem: str = NO_PROBLEM


def system() -> Finding:
    """Find the operating system."""
    if platform.system() == "Windows":
        problem = "The book is not tested on Windows; use WSL or Colab."
        return Finding(hardware.operating_system(), problem)
    return Finding(hardware.operating_system())


def python() -> Finding:
    """Find Python's version, and whether it is one the book runs on."""
    version = sys.version_info[:2]
    place = "in an environment" if sys.prefix != sys.base_prefix else "system-wide"
    text = f"{platform.python_version()}, {place}"
    if OLDEST <= version <= NEWEST:
        return Finding(text)
    problem = (
        "Python {}.{} is outside {}.{} to {}.{}; install Python 3.11 and run "
        "`make book PYTHON=python3.11`."
    ).format(*version, *OLDEST, *NEWEST)
    return Finding(text, problem)


def packages() -> Finding:
    """Find the versions of the packages that matter."""
    found = hardware.versions(PACKAGES)
    text = ", ".join(f"{name} {v}" for name, v in found.items() if name != "python")
    missing = [name for name in REQUIRED if name not in found]
    if not missing:
        return Finding(text)
    problem = f"Missing: {', '.join(missing)}; run `make book`, which installs them."
    return Finding(text or "none", problem)


def device() -> Finding:
    """Find whether torch starts, and what it runs on."""
    try:
        found = hardware.device()
    except (ImportError, OSError, RuntimeError) as error:  # a broken install
        first = (str(error).splitlines() or [type(error).__name__])[0]
        problem = (
            "torch does not start; remove the folder .venv and run `make book` again."
        )
        return Finding(f"torch failed: {first[:120]}", problem)
    memory_bytes = found["memory_bytes"]
    shown = f"{memory_bytes / GB:.1f} GB" if memory_bytes else "unknown memory"
    text = (
        f"{found['kind']}: {found['name']}, {found['arch']}, "
        f"{found['cores']} cores, {found['threads']} threads, {shown}"
    )
    return Finding(text)


def memory() -> Finding:
    """Find how much memory this process may use."""
    usable = hardware.memory_bytes()
    if usable is None:
        return Finding("unknown")
    text = f"{usable / GB:.1f} GB usable by this process"
    if usable >= MEMORY_BYTES:
        return Finding(text)
    problem = (
        f"Only {usable / GB:.1f} GB of memory; a lesson may take "
        f"{MEMORY_BYTES / GB:.0f} GB, so use a larger machine or Colab."
    )
    return Finding(text, problem)


def _free(folder: Path) -> float:
    """Return the free bytes of the disk on which `folder` is or would be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def disk() -> Finding:
    """Find the free space where the book and the models lie."""
    here, cache = _free(paths.ROOT), _free(paths.cache_dir())
    text = f"{here / GB:.1f} GB free for the book, {cache / GB:.1f} GB for models"
    least = min(here, cache)
    needed = LATER_BYTES if paths.cache_dir().exists() else FIRST_BYTES
    if least >= needed:
        return Finding(text)
    which = "of the book" if here == least else "of the model cache (COURSE_CACHE)"
    problem = (
        f"Only {least / GB:.1f} GB is free on the disk {which}; make room for "
        f"{needed / GB:.0f} GB."
    )
    return Finding(text, problem)


def _first_line(*command: str) -> str:
    """Return the first line a program prints, or "" if it fails."""
    try:
        out = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=2
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (out.stdout or out.stderr).splitlines()
    return lines[0].strip() if lines and out.returncode == 0 else ""


def compiler() -> Finding:
    """Find a C++ compiler."""
    chosen = os.environ.get("CXX", "").split()[:1]
    for name in (*chosen, *COMPILERS):
        if shutil.which(name):
            version = _first_line(name, "--version") or "version unknown"
            return Finding(version)
    problem = (
        "There is no C++ compiler, which llama.cpp needs; install one "
        "(Debian, Ubuntu: `apt install g++`; macOS: `xcode-select --install`)."
    )
    return Finding("none found", problem)


def chromium() -> Finding:
    """Find a browser for the tests of the pages."""
    for name in BROWSERS:
        if shutil.which(name):
            return Finding(_first_line(name, "--version") or name)
    root = os.environ.get("PLAYWRIGHT_BROWSERS_PATH", "")
    folder = Path(root) if root else Path.home() / ".cache" / "ms-playwright"
    if builds := sorted(folder.glob("chromium*")):
        return Finding(f"playwright's {builds[-1].name}")
    problem = (
        "There is no Chromium, which the tests of the pages need; `make test` installs "
        "it, or run `.venv/bin/playwright install chromium`."
    )
    return Finding("none found", problem)


def bubblewrap() -> Finding:
    """Find bubblewrap, and whether this system lets it make a sandbox."""
    if platform.system() != "Linux":
        return Finding("not used on this system")
    if not shutil.which("bwrap"):
        problem = (
            "There is no bubblewrap, in which submissions are graded; `make test` "
            "installs it, or run `apt install bubblewrap`."
        )
        return Finding("none found", problem)
    version = _first_line("bwrap", "--version")
    if _first_line("bwrap", "--ro-bind", "/", "/", "--unshare-net", "echo", "ok"):
        return Finding(version)
    problem = (
        "bubblewrap is installed but may not make a sandbox here; allow user "
        "namespaces (`sysctl kernel.unprivileged_userns_clone=1`)."
    )
    return Finding(f"{version}, no sandbox", problem)
