"""One error class for everything that an author can mend."""

from pathlib import Path


class AuthoringError(ValueError):
    """A fault in a master or in the project, told in one sentence with its place."""


def fault(path: Path | str, line: int | None, sentence: str) -> AuthoringError:
    """Return an error that reads `file:line: sentence`."""
    place = f"{path}:{line}" if line else str(path)
    return AuthoringError(f"{place}: {sentence}")
