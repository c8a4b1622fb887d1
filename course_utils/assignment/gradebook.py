"""Tables that gradebooks import, and columns put into one that was exported.

Canvas takes a table whose first columns name the student and whose other columns are
assignments, with a row `Points Possible` below the head. Moodle lets the teacher say
which column identifies a student and which hold grade and feedback; both are mapped,
since feedback alone would take the grade away.

Sources: the parts of a table for Canvas, by Ohio State University,
https://teaching.resources.osu.edu/toolsets/carmencanvas/guides/calculating-final-grades/import-csv-file-carmen-grades
and https://docs.moodle.org/311/en/Grade_import. Left out: a real import.
"""

import csv
import io
import re
from pathlib import Path

from course_utils.assignment.results import Asked
from course_utils.assignment.roster import Student
from course_utils.assignment.tally import Score

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
POSSIBLE = "Points Possible"
MOODLE = ("ID number", "Email address")
# Where an exported gradebook may hold the id, in the order of trust.
KEYS = ("SIS User ID", "SIS Login ID", "ID number", "Username", "Email address")
# Canvas's own number, which may be another student's id at the school.
LAST_KEY = "ID"


def canvas(asked: Asked, best: dict[str, Score]) -> str:
    """Return a table for Canvas; the roster's id stands as SIS User ID."""
    rows = [[f"    {POSSIBLE}", "", "", "", "", _of(asked)]]
    for student in _students(asked, best):
        grade = _grade(best.get(student.id))
        login = student.email or student.id
        rows.append([student.name or student.id, "", student.id, login, "", grade])
    return _text([[*CANVAS, asked.title], *rows])


def moodle(asked: Asked, best: dict[str, Score]) -> str:
    """Return a table for Moodle, with what a total leaves out."""
    rows = []
    for student in _students(asked, best):
        score = best.get(student.id)
        said = _left_out(score) if score else ""
        rows.append([student.id, student.email, _grade(score), said])
    return _text([[*MOODLE, asked.title, "Feedback"], *rows])


def _left_out(score: Score) -> str:
    """Return what keeps a total from being the last word; "" if nothing does."""
    if score.line["error"]:
        return f"Not graded: {score.line['error']}"
    return f"Not judged yet: {'; '.join(score.open)}" if score.open else ""


def fill(path: Path, asked: Asked, best: dict[str, Score]) -> tuple[str, list[str]]:
    """Return an exported gradebook with the assignment's column, and what is odd.

    Raises: ValueError if the file is no such table, if it has no column that can hold
        an id, or several columns that may be the assignment's.
    """
    head, *rows = _read(path)
    column = _column(path, head, asked.title)
    found = _scores(path, head, rows, asked, best)
    out = [[*head, asked.title] if column == len(head) else head]
    met = {str(score.line["student"]) for score in found.values()}
    missing = ", ".join(sorted(set(best) - met))
    odd = [f"Not in {path.name}: {missing}"] if missing else []
    for number, row in enumerate(rows):
        cells = row + [""] * (len(out[0]) - len(row))
        if number in found:
            cells[column] = _grade(found[number])
        elif row[0].strip() == POSSIBLE:
            cells[column] = cells[column] or _of(asked)
            if not _equal(cells[column], _of(asked)):
                odd.append(
                    f"{path.name} says {cells[column]} points for {asked.title}, and "
                    f"ours are of {_of(asked)}: make them equal there before you import"
                )
        out.append(cells)
    # What the gradebook exported is given back as it is; only our cells are new.
    return _text(out, harmless=False), odd


def _read(path: Path) -> list[list[str]]:
    """Return the rows of an exported table that hold something, the head first."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8; export it again as CSV.") from None
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV file ({error}).") from None
    return rows or [[]]


def _column(path: Path, head: list[str], title: str) -> int:
    """Return where the assignment's points go; behind the last column if it is new."""
    # Canvas puts its number of an assignment behind the title, Moodle what it shows.
    ours = re.compile(rf"(?:Assignment: )?{re.escape(title)}(?: \((?:\d+|Real)\))?")
    found = [i for i, text in enumerate(head) if ours.fullmatch(text.strip())]
    if len(found) > 1:
        names = ", ".join(head[i] for i in found)
        raise ValueError(
            f"{path} has the columns {names}; leave the one that is meant."
        )
    return found[0] if found else len(head)


def _scores(
    path: Path, head: list[str], rows: list, asked: Asked, best: dict[str, Score]
) -> dict[int, Score]:
    """Return row -> the score of the student in it; no student is in two rows."""
    keys = [head.index(key) for key in KEYS if key in head]
    last = [head.index(LAST_KEY)] if LAST_KEY in head else []
    if not keys + last:
        names = ", ".join((*KEYS, LAST_KEY))
        raise ValueError(f"{path} has none of the columns {names}.")
    by_id = {who.lower(): who for who in best}
    by_id |= {s.email.lower(): s.id for s in asked.students if s.email and s.id in best}
    return _matched(keys, rows, by_id, best) or _matched(last, rows, by_id, best)


def _matched(
    keys: list[int], rows: list, by_id: dict[str, str], best: dict[str, Score]
) -> dict[int, Score]:
    """Return row -> score by these columns, the one most to be trusted first."""
    found: dict[int, str] = {}
    met: set[str] = set()
    for key in keys:
        for number, row in enumerate(rows):
            who = by_id.get(row[key].strip().lower()) if key < len(row) else None
            if who and number not in found and who not in met:
                found[number] = who
                met.add(who)
    return {number: best[who] for number, who in found.items()}


def _equal(text: str, points: str) -> bool:
    """Return whether two texts are the same number."""
    try:
        return float(text) == float(points)
    except ValueError:
        return False


def _students(asked: Asked, best: dict[str, Score]) -> list[Student]:
    """Return the roster, or those who handed something in."""
    return list(asked.students) or [Student(who) for who in sorted(best)]


def _of(asked: Asked) -> str:
    return f"{sum(asked.points.values()):g}"


def _grade(score: Score | None) -> str:
    """Return a total as a gradebook reads it; "" where nothing was handed in."""
    return f"{score.total:.4f}".rstrip("0").rstrip(".") if score else ""


def _text(rows: list[list[str]], *, harmless: bool = True) -> str:
    """Return rows as CSV, no cell of which a spreadsheet takes for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for row in rows:
        writer.writerow([formula_free(cell) if harmless else cell for cell in row])
    return out.getvalue()


def formula_free(text: str) -> str:
    """Return a text that a spreadsheet shows and does not compute."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
