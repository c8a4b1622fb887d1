"""One error class for everything that an author can mend, and the system's errors."""

import errno
from pathlib import Path


class AuthoringError(ValueError):
    """A fault in a master or in the project, told in one sentence with its place."""


def fault(path: Path | str, line: int | None, sentence: str) -> AuthoringError:
    """Return an error that reads `file:line: sentence`."""
    place = f"{path}:{line}" if line else str(path)
    return AuthoringError(f"{place}: {sentence}")


def one_sentence(error: OSError) -> str:
    """Return what the system refused, and what to do, as one sentence."""
    if error.errno == errno.ENOSPC:
        what = "No space left on device: free disk space"
    else:
        place = f" ({error.filename})" if error.filename else ""
        what = f"{error.strerror or error}{place}: correct this"
    return f"{what} and run the same command again."
