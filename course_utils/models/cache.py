"""A folder on disk that is either complete and checked, or not there.

`ensure` returns a folder whose files all have the sha256 that its `card.json`
lists, and calls `build` when there is none. What can go wrong, and what happens:

    a file was damaged         found by its checksum, one line said, built again
    a process died halfway     its partial folder is swept by the next one
    two processes at once      one builds behind a lock, the other waits and reads
    the disk is full           nothing is left behind, one sentence is raised

The folder is written beside its final place, forced to disk and renamed, so a
reader sees the old one, none, or the new one.

Left out: locking where the operating system has no `fcntl` (Windows); there the
rename alone protects readers.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

CARD = "card.json"
Progress = Callable[[str], object]

# Folders this process has hashed already, with the sizes and times it saw. Hashing
# again at every load would cost more than the load itself.
_hashed: dict[Path, tuple] = {}


class ModelError(RuntimeError):
    """A model cannot be prepared; the message says why and what to do."""


def ensure(
    folder: Path,
    build: Callable[[Path], dict],
    *,
    needs: int,
    progress: Progress = print,
) -> Path:
    """Return `folder`, complete and checked; call `build` if it is not.

    Args:
        folder: Where the files belong.
        build: Writes the files into the empty folder it is given and returns
            what the card should say about them.
        needs: Bytes of disk space that building takes.
        progress: Is told in one line what takes time.

    Raises: ModelError if there is no room or the folder cannot be written.
    """
    if problem(folder) is None:
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f".{folder.name}.lock", progress):
            reason = problem(folder)  # another process may have built it meanwhile
            if reason is not None:
                if folder.exists():
                    progress(f"The copy in {folder} is damaged ({reason}); redoing it.")
                _build(folder, build, needs)
    except OSError as error:
        raise ModelError(
            f"Cannot write the model cache in {folder.parent}: "
            f"{error.strerror or error}; make room there or set COURSE_CACHE to "
            "another folder."
        ) from error
    return folder


def problem(folder: Path) -> str | None:
    """Return what is wrong with the cached `folder`, or None if it is sound.

    Every byte is hashed once per process; later calls compare sizes and times and
    hash again only if those changed.
    """
    try:
        seen = _stamp(folder)
        if _hashed.get(folder) == seen:
            return None
        card = read_card(folder)
        for name, digest in card["files"].items():
            if sha256_of(folder / name) != digest:
                return f"{name} differs from its checksum"
    except (OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    _hashed[folder] = seen
    return None


def read_card(folder: Path) -> dict:
    """Return the folder's card.

    Raises: ValueError if the card is not the one that was written.
    """
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    if card.pop("sha256", None) != _digest(card):
        raise ValueError(f"{CARD} differs from its checksum")
    return card


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(card: dict) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def _stamp(folder: Path) -> tuple:
    """Return size and time of every file: changes when a file is written to."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    stats = [(path.name, path.stat()) for path in files]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _build(folder: Path, build: Callable[[Path], dict], needs: int) -> None:
    """Build beside `folder`, then rename into place. The caller holds the lock."""
    _sweep(folder)
    free = shutil.disk_usage(folder.parent).free
    if free < needs:
        raise ModelError(
            f"{folder.parent} has {free / 1e6:.0f} MB free and the model cache needs "
            f"{needs / 1e6:.0f} MB; make room there or set COURSE_CACHE to another "
            "folder."
        )
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    partial.mkdir()
    try:
        card = build(partial)
        files = sorted(path for path in partial.iterdir() if path.is_file())
        card["files"] = {path.name: sha256_of(path) for path in files}
        card["sha256"] = _digest(card)
        (partial / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        for path in [*files, partial / CARD, partial]:
            _to_disk(path)
        _move_into_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move_into_place(partial: Path, folder: Path) -> None:
    """Rename `partial` to `folder`; a damaged `folder` is moved away first."""
    old = folder.with_name(f".{folder.name}.partial-old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    _to_disk(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what processes left behind that were killed while building."""
    for path in folder.parent.glob(f".{folder.name}.partial-*"):
        shutil.rmtree(path, ignore_errors=True)


def _to_disk(path: Path) -> None:
    """Force a file, or the names in a folder, to disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock file; the system releases it even if the process is killed."""
    with path.open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("Another process is preparing the model; waiting for it.")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
