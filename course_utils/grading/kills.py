"""The table of kills: counts per question, the same on every run.

`book/measured/kills.json` is a list of rows, each a dict by column. It has no date and
no machine, because the counts depend on neither.
"""

import json
from pathlib import Path

from course_utils.grading.gate import Report
from course_utils.measure.records import write_json
from course_utils.paths import book_dir

COLUMNS = (
    "chapter",
    "question",
    "mutants",
    "killed",
    "equivalent",
    "wrong answers rejected",
    "alternatives accepted",
)
Row = dict[str, str | int]


def path() -> Path:
    """Return where the table is kept."""
    return book_dir() / "measured" / "kills.json"


def row(slug: str, report: Report) -> Row:
    """Return one line of the table."""
    values = (
        slug,
        report.question,
        report.mutants,
        report.killed,
        report.equivalent,
        report.wrong_rejected,
        report.right_accepted,
    )
    return dict(zip(COLUMNS, values, strict=True))


def read() -> list[Row]:
    """Return the rows of the table; none if there is no table yet."""
    return json.loads(path().read_text("utf-8")) if path().exists() else []


def write(rows: list[Row]) -> Path:
    """Write the table in chapter order and return its path."""
    ordered = sorted(
        rows, key=lambda r: (r["chapter"], int(str(r["question"]).split(".")[0]))
    )
    write_json(path(), ordered)
    return path()
