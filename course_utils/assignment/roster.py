"""Read the list of a class: a CSV file with a column `id`."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

# An id becomes a file's name and a part of one.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
LARGEST = 5_000_000


@dataclass(frozen=True)
class Student:
    """One student.

    Attributes:
        id: As in the gradebook, and in the names of handed-in files.
        name: "" if unknown.
        email: "" if unknown.
    """

    id: str
    name: str = ""
    email: str = ""


def read_roster(path: Path) -> tuple[Student, ...]:
    """Return the students of a CSV file with the columns id, name, email.

    Only `id` is needed; other columns are left alone.

    Raises: ValueError that names the line.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is too large for a list of students.")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8; save it as CSV in UTF-8.") from None
    rows = csv.DictReader(text.splitlines())
    if "id" not in (rows.fieldnames or ()):
        raise ValueError(f"{path} needs a first line with a column named id.")
    found: dict[str, Student] = {}
    for row in rows:
        name = (row["id"] or "").strip()
        if not ID.fullmatch(name):
            raise ValueError(
                f"{path}, line {rows.line_num}: the id {name!r} must be letters, "
                "digits, '.', '_', '@' or '-', 64 at most."
            )
        # Two ids that differ in case alone would be one file on some systems.
        if name.lower() in found:
            raise ValueError(f"{path}, line {rows.line_num}: {name} is there twice.")
        words = [(row.get(k) or "").strip() for k in ("name", "email")]
        found[name.lower()] = Student(name, *words)
    if not found:
        raise ValueError(f"{path} names no student.")
    return tuple(found.values())
