"""Which code and which inputs a number came from.

    commit         the version of the code, "-changed" where files differ from it
    code_sha256    hash of the code that can move a number
    inputs_sha256  hash of everything that went in: model, texts, parameters

A commit alone would not do while code is being written: two measurements between two
commits would look alike. So interrupted work is continued only where all agree.

Left out: the versions of packages; `hardware.versions` has them.
"""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from course_utils import paths

# Folders of course_utils whose code can move a number.
LAYERS = ("formats", "methods", "models", "measure")
WATCHED = ("course_utils", "book/texts")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inputs_sha256(inputs: Mapping[str, str | int | float]) -> str:
    """Return one hash over named inputs, in whatever order they are given."""
    canonical = json.dumps(dict(inputs), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def code_sha256(package: Path = paths.PACKAGE) -> str:
    """Return one hash over the modules of the layers that compute."""
    digest = hashlib.sha256()
    for layer in LAYERS:
        for module in sorted((package / layer).glob("*.py")):
            digest.update(f"{layer}/{module.name}\0".encode())
            digest.update(hashlib.sha256(module.read_bytes()).digest())
    return digest.hexdigest()


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git prints, or None where it fails or is not installed."""
    try:
        out = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return out.stdout.strip() if out.returncode == 0 else None


def commit(root: Path = paths.ROOT) -> str:
    """Return the commit of the code, with "-changed" or "none" as a record has it."""
    head = _git(root, "rev-parse", "--verify", "HEAD")
    if not head:
        return "none"
    changes = _git(root, "status", "--porcelain", "--", *WATCHED)
    return head if changes == "" else f"{head}-changed"
