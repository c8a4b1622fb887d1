"""Where the project's own files are: a checkout, or the installed package."""

import os
from pathlib import Path

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent


def book_dir() -> Path:
    """Return the folder of texts, records and items.

    In a checkout that is `book/`; an installed package carries a copy.
    """
    checkout = ROOT / "book"
    return checkout if (checkout / "texts").is_dir() else PACKAGE / "_book"


def cache_dir() -> Path:
    """Return the folder for prepared models: `COURSE_CACHE`, or the user's cache."""
    if chosen := os.environ.get("COURSE_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fewer-bits"
