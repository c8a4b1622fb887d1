"""Resolve the lock: every extra together, then the subsets that readers install.

    .venv/bin/python tools/lock.py

`locks/all.txt` holds everything; the others are resolved under it as a constraint, so
a package has one version in the whole project. Torch stays out: its CPU and CUDA
builds have different hashes. llama.cpp stays out of the subsets, because it is
compiled in a step of its own. `llama-cpp-python.txt`, `torchao.txt` and `uv.txt` pin
one package each.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCKS = ROOT / "locks"
COMMON = [
    "--generate-hashes",
    "--universal",
    "--python-version=3.11",
    "--no-emit-index-url",
    "--no-emit-package=torch",
    "--no-annotate",
    "--no-header",
    "--quiet",
]
EXTRAS = {
    "learn": ["learn"],
    "book": ["learn", "book"],
    "llama": ["learn", "llama"],
    "tests": ["learn", "book", "llama", "tests"],
}
ALONE = {"uv": "book", "llama-cpp-python": "all", "torchao": "all"}


def compile_lock(name: str, *args: str) -> None:
    """Write `locks/<name>.txt`."""
    uv = Path(sys.executable).with_name("uv")
    target = LOCKS / f"{name}.txt"
    command = [uv, "pip", "compile", "pyproject.toml", *COMMON, *args, "-o", target]
    subprocess.run(command, cwd=ROOT, check=True)
    print(f"{target.relative_to(ROOT)}: {target.read_text().count('==')} pins")


def pick(package: str, lock: str) -> None:
    """Write `locks/<package>.txt`: one package of a lock with its hashes."""
    lines = (LOCKS / f"{lock}.txt").read_text().split("\n")
    start = next(i for i, x in enumerate(lines) if x.startswith(f"{package}=="))
    block = [lines[start]]
    for line in lines[start + 1 :]:
        if not line.startswith(" "):
            break
        block.append(line)
    (LOCKS / f"{package}.txt").write_text("\n".join(block) + "\n")


def main() -> None:
    """Resolve all locks, then write the packages that stand alone."""
    python = f"--python={sys.executable}"
    compile_lock("all", "--all-extras", "--no-build-isolation", python)
    for name, extras in EXTRAS.items():
        chosen = [f"--extra={extra}" for extra in extras]
        chosen.append("--no-emit-package=llama-cpp-python")
        compile_lock(name, *chosen, f"--constraint={LOCKS / 'all.txt'}")
    for package, lock in ALONE.items():
        pick(package, lock)


if __name__ == "__main__":
    main()
