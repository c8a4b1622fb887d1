"""Downloading one file, going on where an earlier attempt was cut.

huggingface_hub keeps the files of a snapshot that are complete and throws away the
one that was cut. The files of a large model are gigabytes each, so these are
fetched here: the bytes go into `<sha256>.partial`, a second attempt asks for the
rest, and the file gets its name only when its sha256 is right.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from huggingface_hub import get_session
from huggingface_hub.utils import WeakFileLock, build_hf_headers, hf_raise_for_status

from course_utils.models import cache
from course_utils.models.cache import ModelError, Progress

ATTEMPTS = 3  # in a row without a new byte
WAIT_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0
STEP_PERCENT = 10

PARTIAL_CONTENT = 206


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub.

    Attributes:
        name: In its repository.
        url: Where it is.
        size: Bytes.
        sha256: Of its content, in hexadecimal.
    """

    name: str
    url: str
    size: int
    sha256: str


class Lines:
    """Progress over several files in plain lines, one for every ten percent."""

    def __init__(self, title: str, total: int, done: int, progress: Progress) -> None:
        """Start with `done` of `total` bytes; `title` is said with the first byte."""
        self.title = title
        self.total = total
        self.done = done
        self._progress = progress
        self._told = self._steps()

    def __call__(self, n_bytes: int) -> None:
        """Count bytes that arrived; a negative number takes some back."""
        if self.title:
            self._progress(self.title)
            self.title = ""
        self.done += n_bytes
        if self._steps() > self._told:
            self._told = self._steps()
            percent = self._told * STEP_PERCENT
            self._progress(f"{percent} %: {size(self.done)} of {size(self.total)}")

    def _steps(self) -> int:
        return 100 * self.done // (max(self.total, 1) * STEP_PERCENT)


def size(n_bytes: float) -> str:
    """Return a number of bytes in the decimal unit that suits it."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.1f} {unit}"
    return f"{n_bytes:.0f} B"


def partial(blob: Path) -> Path:
    """Return where the bytes of an unfinished `blob` are kept."""
    return blob.with_name(f"{blob.name}.partial")


def fetch(file: RemoteFile, blob: Path, arrived: Callable[[int], object]) -> None:
    """Download `file` to `blob`, starting behind the bytes that are here already.

    Args:
        file: What to download.
        blob: Where it belongs; nothing happens if it exists.
        arrived: Is told the number of bytes that arrived, or were taken back.

    Raises: ModelError if the content is not the announced one; httpx's and
        huggingface_hub's errors if the download fails, with the bytes kept.
    """
    blob.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(_lock(blob)):
        if blob.exists():  # another process was faster
            arrived(file.size)
            return
        _complete(file, partial(blob), arrived)
        if cache.sha256_of(partial(blob)) != file.sha256:
            partial(blob).unlink()
            raise ModelError(
                f"{file.name} arrived with another sha256 than the hub announced; it "
                "was deleted, run the same command again."
            )
        partial(blob).replace(blob)


def _lock(blob: Path) -> Path:
    """Return the lock file that huggingface_hub uses for the same file."""
    repository = blob.parents[1]
    lock = repository.parent / ".locks" / repository.name / f"{blob.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    return lock


def _complete(file: RemoteFile, path: Path, arrived: Callable[[int], object]) -> None:
    """Append to `path` until it has the file's size."""
    left = ATTEMPTS
    while (have := _length(path)) < file.size:
        try:
            _append(file, path, have, arrived)
        except httpx.TransportError:
            left = ATTEMPTS if _length(path) > have else left - 1
            if left == 0:
                raise
            time.sleep(WAIT_SECONDS)


def _append(
    file: RemoteFile, path: Path, have: int, arrived: Callable[[int], object]
) -> None:
    """Ask once for the bytes from `have` on and write what arrives.

    Raises: httpx.TransportError if the connection ends early; ModelError if more
        bytes come than the hub announced.
    """
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with get_session().stream(
        "GET", file.url, headers=headers, timeout=TIMEOUT_SECONDS
    ) as response:
        hf_raise_for_status(response)
        goes_on = response.status_code == PARTIAL_CONTENT
        if have and not goes_on:  # the server sends everything again
            arrived(-have)
        with path.open("ab" if goes_on else "wb") as target:
            room = file.size - (have if goes_on else 0)
            for chunk in response.iter_bytes():
                room -= len(chunk)
                if room < 0:  # a server without an end would fill the disk
                    break
                target.write(chunk)
                arrived(len(chunk))
    if room < 0:
        path.unlink()
        raise ModelError(
            f"{file.name} is longer than the {size(file.size)} that the hub announced; "
            "it was deleted, run the same command again."
        )
    if _length(path) < file.size:
        raise httpx.RemoteProtocolError("the server ended the file early")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
