"""Read what a student handed in: a notebook that may be anything.

The file is untrusted: it may be cut off, in another encoding, huge, a link, or no
notebook at all. Only the sources of its cells are taken, in order.
"""

import ast
import json
import os
import re
import stat
from pathlib import Path

LARGEST_FILE = 20_000_000
MOST_CELLS = 2_000
LONGEST_ANSWER = 20_000
# The line that a hand-out puts below a heading.
POINTS = re.compile(r"^\*[\d.]+ points?\*$", re.MULTILINE)
ENCODINGS = ("utf-8-sig", "utf-16", "latin-1")


class SubmissionError(ValueError):
    """A file that cannot be graded; the message says why and what to do."""


def read_cells(path: Path) -> list[str]:
    """Return the source of each code cell of a file, without magics.

    Raises: SubmissionError with one sentence for the student.
    """
    return code_cells(notebook_of(read_bytes(path)))


def code_cells(notebook: dict) -> list[str]:
    """Return the source of each code cell, without magics."""
    return [without_magics(source) for source in _sources(notebook, "code")]


def answers(notebook: dict, statements: dict[str, str], empty: str) -> dict[str, str]:
    """Return what was written to questions that are answered in words.

    Args:
        notebook: Of `notebook_of`.
        statements: Heading of each question -> its statement.
        empty: What stood where the answer goes.

    Returns: Heading -> the text between the statement and the next heading.
    """
    text = "\n\n".join(_sources(notebook, "markdown")).replace("\r\n", "\n")
    parts = re.split(r"^## +(.+)$", text, flags=re.MULTILINE)
    found = dict.fromkeys(statements, "")
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        if (name := heading.strip()) in found:
            answer = body.replace(statements[name], "").replace(empty, "")
            found[name] += POINTS.sub("", answer).strip()[:LONGEST_ANSWER]
    return found


def read_bytes(path: Path) -> bytes:
    """Return the bytes of an ordinary file of bounded size; follow no link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise SubmissionError(
            f"{path.name} cannot be opened ({error.strerror}); hand in the notebook "
            "itself, not a link to it."
        ) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SubmissionError(f"{path.name} is no ordinary file.")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise SubmissionError(
            f"{path.name} has more than {LARGEST_FILE // 10**6} MB; clear its outputs "
            "and hand it in again."
        )
    return data


def without_magics(source: str) -> str:
    """Return a cell without notebook commands (%, ! and %%), if it needs that to run.

    A cell that Python can read is returned as it is, so that text in a string which
    looks like a magic stays.
    """
    try:
        ast.parse(source)
        return source
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    lines = source.splitlines()
    if lines and lines[0].lstrip().startswith("%%"):
        return ""
    kept = ["" if line.lstrip().startswith(("%", "!")) else line for line in lines]
    return "\n".join(kept)


def notebook_of(data: bytes) -> dict:
    """Return the notebook, whatever its encoding.

    Raises: SubmissionError if it is none.
    """
    for encoding in ENCODINGS:
        try:
            found = json.loads(data.decode(encoding))
            break
        except (UnicodeError, ValueError, RecursionError):
            continue
    else:
        raise SubmissionError(
            "the file is no notebook, or was cut off: save it again and hand it in."
        )
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        raise SubmissionError("the file holds no cells; hand in the .ipynb notebook.")
    return found


def _sources(notebook: dict, kind: str) -> list[str]:
    """Return the text of the cells of a kind."""
    cells = notebook["cells"]
    if len(cells) > MOST_CELLS:
        raise SubmissionError(f"the notebook has {len(cells)} cells; that is too many.")
    sources = []
    for cell in cells:
        if not isinstance(cell, dict) or cell.get("cell_type") != kind:
            continue
        source = cell.get("source", "")
        parts = source if isinstance(source, list) else [source]
        if not all(isinstance(part, str) for part in parts):
            raise SubmissionError("a cell of the notebook holds no text.")
        sources.append("".join(parts))
    return sources
