"""Prepare the environment, step by step, from nothing but Python.

    python3.11 tools/bootstrap.py learn      what lessons wait for
    python3.11 tools/bootstrap.py book       pages
    python3.11 tools/bootstrap.py tests      pages, oracles, llama.cpp, browser, sandbox
    python3.11 tools/bootstrap.py llama      compiles llama.cpp (a few minutes)
    python3.11 tools/bootstrap.py all        book, llama and every oracle library

Standard library only, because nothing is installed yet, and old syntax, so that a
Python that is too old reads this file and gets a sentence instead of a traceback.
A step that is done leaves a stamp with the hash of its lock and is skipped until the
lock changes. An interrupted step runs again; what was downloaded is kept.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMPS = os.path.join(VENV, "stamps")
PYTHON = os.path.join(VENV, "bin", "python")
TORCH = "torch==2.13.0"
ROOM_GB = 8
SYSTEM = {
    # program: Debian packages that bring it
    "c++": ["g++"],
    "chromium": ["chromium", "fonts-dejavu-core"],
    "bwrap": ["bubblewrap"],
    "java": ["default-jre-headless"],
    "npm": ["npm"],
}


class Refused(Exception):
    """A sentence for the reader: what is wrong and what to do."""


def say(text):
    """Print one line at once."""
    print(text, flush=True)


def run(command, failed):
    """Run a command; its failure becomes the sentence `failed`."""
    if subprocess.call(command, cwd=ROOT) != 0:
        raise Refused(failed)


def check_machine():
    """Refuse a Python or a disk that cannot work, with the remedy."""
    if os.name == "nt":
        raise Refused("Windows runs this book in WSL or on Colab; start it there.")
    version = sys.version_info[:2]
    if not (3, 11) <= version < (3, 14):
        raise Refused(
            "This is Python %d.%d and the book needs 3.11: install python3.11 or "
            "say `make PYTHON=/path/to/python3.11 ...`." % version
        )
    if version != (3, 11):
        say("Note: the book is tested on Python 3.11; this is %d.%d." % version)
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < ROOM_GB and not os.path.isdir(VENV):
        raise Refused(
            "Only %.1f GB of disk are free here and the environment needs %d GB: "
            "free some space or clone to another disk." % (free, ROOM_GB)
        )
    if not (shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")):
        say(
            "Note: no C++ compiler was found. Chapters 00 to 03 run without one; "
            "install g++ (Debian: apt-get install g++) before chapter 04."
        )


def make_venv():
    """Create `.venv` unless it stands."""
    if os.path.exists(os.path.join(STAMPS, "venv")):
        return
    say("Creating .venv with Python %s" % platform.python_version())
    run(
        [sys.executable, "-m", "venv", "--clear", VENV],
        "Python could not create .venv; on Debian install python3.11-venv.",
    )
    os.makedirs(STAMPS, exist_ok=True)
    with open(os.path.join(STAMPS, "venv"), "w") as stamp:
        stamp.write(platform.python_version())


def once(name, text, step):
    """Run `step` unless the stamp `name` already holds the hash of `text`."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    stamp = os.path.join(STAMPS, name)
    if os.path.exists(stamp):
        with open(stamp) as file:
            if file.read() == digest:
                return
    start = time.time()
    step()
    say("  %s ready after %.0f s" % (name, time.time() - start))
    with open(stamp, "w") as file:
        file.write(digest)


def read(path):
    """Return the text of a file of the project."""
    with open(os.path.join(ROOT, path)) as file:
        return file.read()


NETWORK = (
    "The download of %s failed: check the network and run the same command again; "
    "what has been downloaded is kept."
)


def install_torch():
    """Install torch alone: its builds differ, so it has no place in the lock."""
    index = os.environ.get("TORCH_INDEX")
    extra = ["--index-url", index] if index else []

    def step():
        say("Installing %s (the largest download, counted apart)" % TORCH)
        # Not quiet: on a slow line this is where a reader waits.
        command = [PYTHON, "-m", "pip", "install", *extra, TORCH]
        run(command, NETWORK % "torch")

    once("torch", TORCH + str(index), step)


def install_lock(name):
    """Install one lock file, every package checked against its hash."""
    path = "locks/%s.txt" % name

    def step():
        say("Installing locks/%s.txt" % name)
        args = ["install", "-q", "--no-deps", "--require-hashes", "-r", path]
        pip = [PYTHON, "-m", "pip"]
        subprocess.call(pip + args[:-1] + ["locks/uv.txt"], cwd=ROOT)
        uv = os.path.join(VENV, "bin", "uv")
        # uv is several times faster; pip knows more about unusual networks.
        fast = [uv, "pip", *args, "--python", PYTHON]
        if not os.path.exists(uv) or subprocess.call(fast, cwd=ROOT) != 0:
            run(pip + args, NETWORK % path)

    once(name, read(path), step)


def install_project():
    """Make `course_utils` importable from the checkout."""
    args = ["install", "-q", "--no-deps", "--no-build-isolation", "-e", "."]
    once(
        "project",
        read("pyproject.toml") + ROOT,
        lambda: run(
            [PYTHON, "-m", "pip", *args], "course_utils could not be installed."
        ),
    )


def install_llama():
    """Compile llama.cpp for any CPU of this architecture; the wheel is kept."""
    wheels = os.path.join(ROOT, "_build", "wheels")
    lock = "locks/llama-cpp-python.txt"
    version = read(lock).split()[0]

    def step():
        say("Compiling %s (a few minutes)" % version)
        pip = [PYTHON, "-m", "pip"]
        failed = "llama.cpp did not compile: install a C++ compiler and run again."
        build = ["wheel", "-q", "--no-deps", "--require-hashes", "-w", wheels]
        run([*pip, *build, "-r", lock], failed)
        install = ["install", "-q", "--no-deps", "--no-index", "-f", wheels, version]
        run(pip + install, failed)

    once("llama-cpp-python", read(lock), step)


def install_apart():
    """Install what only some tests import where nothing else finds it.

    transformers imports torchao and scikit-learn wherever they are installed: the one
    prints warnings into every notebook, the other costs each of them five seconds.
    """
    target = os.path.join(VENV, "apart")
    lock = "locks/apart.txt"

    def step():
        say("Installing " + lock)
        shutil.rmtree(target, ignore_errors=True)
        args = ["install", "-q", "--no-deps", "--require-hashes", "--target", target]
        # One of them compiles against the torch that is installed already.
        args += ["--no-build-isolation", "-r", lock]
        run([PYTHON, "-m", "pip", *args], NETWORK % lock)

    once("apart", read(lock), step)


def install_system(programs):
    """Install system programs with apt where we may; else say what to install."""
    missing = [p for p in programs if not shutil.which(p)]
    if not missing:
        return
    packages = [package for p in missing for package in SYSTEM[p]]
    hint = "install %s (Debian: apt-get install %s) and run again." % (
        ", ".join(missing),
        " ".join(packages),
    )
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise Refused("The tests need " + ", ".join(missing) + ": " + hint)
    say("Installing " + " ".join(packages))
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    quiet = ["apt-get", "-qq", "-o=Dpkg::Use-Pty=0"]
    run([*quiet, "update"], "The package list could not be read: " + hint)
    run(
        [*quiet, "install", "-y", "--no-install-recommends", *packages],
        "apt-get failed: " + hint,
    )


def install_page_checkers():
    """Install axe-core and the HTML checker from their npm lock."""
    folder = os.path.join(ROOT, "tests", "site")
    target = os.path.join(VENV, "npm")
    lock = read("tests/site/package-lock.json")

    def step():
        say("Installing the page checkers")
        os.makedirs(target, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(folder, name), target)
        npm = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--prefix", target]
        run(npm, NETWORK % "the page checkers")

    once("page-checkers", lock, step)


def prepare(goal):
    """Bring the environment to `goal`."""
    check_machine()
    # A native build of llama.cpp uses instructions that crash on some machines.
    os.environ["CMAKE_ARGS"] = "-DGGML_NATIVE=OFF"
    make_venv()
    install_torch()
    install_lock("learn")
    install_project()
    if goal == "learn":
        return
    if goal == "all":
        install_lock("all")
    else:
        install_lock("book")
    if goal in ("llama", "tests"):
        install_lock("llama")
    if goal == "tests":
        install_system(["c++", "chromium", "bwrap", "java", "npm"])
    if goal in ("llama", "tests", "all"):
        install_llama()
    if goal == "tests":
        install_apart()
        install_page_checkers()


def main(argv):
    """Prepare what is asked for; every refusal is one sentence."""
    goals = ("learn", "book", "tests", "llama", "all")
    if len(argv) != 1 or argv[0] not in goals:
        say("usage: bootstrap.py " + "|".join(goals))
        return 2
    try:
        prepare(argv[0])
    except Refused as reason:
        say(str(reason))
        return 1
    except KeyboardInterrupt:
        say("Interrupted; the same command goes on where this stopped.")
        return 130
    except OSError as error:
        say("The machine refused: %s; free disk space or fix it, run again." % error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
