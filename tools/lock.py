"""Resolve the lock: every extra together, then the subsets that readers install.

    .venv/bin/python tools/lock.py

`locks/all.txt` holds everything; `learn.txt` and `book.txt` are resolved under it as
a constraint, so a package has one version in the whole project. Torch stays out: its
CPU and CUDA builds have different hashes.
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
EXTRAS = {"learn": ["learn"], "book": ["learn", "book"]}


def compile_lock(name: str, *args: str) -> None:
    """Write `locks/<name>.txt`."""
    uv = Path(sys.executable).with_name("uv")
    target = LOCKS / f"{name}.txt"
    command = [uv, "pip", "compile", "pyproject.toml", *COMMON, *args, "-o", target]
    subprocess.run(command, cwd=ROOT, check=True)
    print(f"{target.relative_to(ROOT)}: {target.read_text().count('==')} pins")


def main() -> None:
    """Resolve all locks, and the one of uv itself."""
    python = f"--python={sys.executable}"
    compile_lock("all", "--all-extras", "--no-build-isolation", python)
    for name, extras in EXTRAS.items():
        chosen = [f"--extra={extra}" for extra in extras]
        compile_lock(name, *chosen, f"--constraint={LOCKS / 'all.txt'}")
    lines = (LOCKS / "book.txt").read_text().split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith("uv=="))
    block = [lines[start]]
    for line in lines[start + 1 :]:
        if not line.startswith(" "):
            break
        block.append(line)
    (LOCKS / "uv.txt").write_text("\n".join(block) + "\n")


if __name__ == "__main__":
    main()
