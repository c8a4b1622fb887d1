"""Resolve the lock: every extra together, then the subsets that readers install.

    .venv/bin/python tools/lock.py

`locks/all.txt` holds everything; the others are resolved under it as a constraint, so
a package has one version in the whole project. Torch stays out: its CPU and CUDA
builds have different hashes. llama.cpp stays out of the subsets, because it is
compiled in a step of its own; `llama-cpp-python.txt` and `uv.txt` pin one package each.
`apart.txt` is the rest: the production libraries that only the tests compare with.
"""

import re
import subprocess
import sys
from collections.abc import Iterable
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
}
ALONE = {"uv": "book", "llama-cpp-python": "all"}


def compile_lock(name: str, *args: str) -> None:
    """Write `locks/<name>.txt`."""
    uv = Path(sys.executable).with_name("uv")
    target = LOCKS / f"{name}.txt"
    command = [uv, "pip", "compile", "pyproject.toml", *COMMON, *args, "-o", target]
    subprocess.run(command, cwd=ROOT, check=True)
    print(f"{target.relative_to(ROOT)}: {target.read_text().count('==')} pins")


def blocks(lock: str) -> dict[str, str]:
    """Return package -> its lines, with the hashes, of `locks/<lock>.txt`."""
    text = (LOCKS / f"{lock}.txt").read_text()
    # A package starts a line; its hashes follow, indented.
    found = re.findall(r"^\S+==(?:.*\\\n)*.*\n", text, re.MULTILINE)
    grouped: dict[str, str] = {}
    for block in found:  # one package can have a version for each Python
        name = block.partition("==")[0]
        grouped[name] = grouped.get(name, "") + block
    return grouped


def write(name: str, content: Iterable[str]) -> None:
    """Write blocks as `locks/<name>.txt`."""
    (LOCKS / f"{name}.txt").write_text("".join(content))


def main() -> None:
    """Resolve all locks, then write the packages that stand alone."""
    python = f"--python={sys.executable}"
    compile_lock("all", "--all-extras", "--no-build-isolation", python)
    for name, extras in EXTRAS.items():
        chosen = [f"--extra={extra}" for extra in extras]
        chosen.append("--no-emit-package=llama-cpp-python")
        compile_lock(name, *chosen, f"--constraint={LOCKS / 'all.txt'}")
    for package, lock in ALONE.items():
        write(package, [blocks(lock)[package]])
    installed = blocks("book").keys() | blocks("llama").keys() | ALONE.keys()
    apart = [item for item in blocks("all").items() if item[0] not in installed]
    write("apart", [block for _, block in sorted(apart)])


if __name__ == "__main__":
    main()
