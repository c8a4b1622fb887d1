"""Tables that gradebooks import, and columns put into one that was exported.

Canvas takes a table whose first columns name the student and whose other columns are
assignments, with a row `Points Possible` below the head. Moodle lets the teacher say
which column identifies a student and which holds the grade.
"""

import csv
import io
from pathlib import Path

from course_utils.assignment.results import Asked
from course_utils.assignment.roster import Student
from course_utils.assignment.tally import Score

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
POSSIBLE = "Points Possible"
MOODLE = ("ID number", "Email address")
# Where an exported gradebook may hold the id, in the order of trust.
KEYS = ("SIS User ID", "SIS Login ID", "ID number", "Username", "Email address", "ID")


def canvas(asked: Asked, best: dict[str, Score]) -> str:
    """Return a table for Canvas; the roster's id stands as SIS User ID."""
    rows = [[f"    {POSSIBLE}", "", "", "", "", _of(asked)]]
    for student in _students(asked, best):
        grade = _grade(best.get(student.id))
        login = student.email or student.id
        rows.append([student.name or student.id, "", student.id, login, "", grade])
    return _text([[*CANVAS, asked.title], *rows])


def moodle(asked: Asked, best: dict[str, Score]) -> str:
    """Return a table for Moodle, with the questions that still wait."""
    rows = []
    for student in _students(asked, best):
        score = best.get(student.id)
        waits = f"Not judged yet: {'; '.join(score.open)}" if score else ""
        said = waits if score and score.open else ""
        rows.append([student.id, student.email, _grade(score), said])
    return _text([[*MOODLE, asked.title, "Feedback"], *rows])


def fill(path: Path, asked: Asked, best: dict[str, Score]) -> tuple[str, list[str]]:
    """Return an exported gradebook with the assignment's column, and who is not in it.

    Raises: ValueError if the file has no column that can hold an id.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    head = rows[0] if rows else []
    keys = [head.index(key) for key in KEYS if key in head]
    if not keys:
        raise ValueError(f"{path} has none of the columns {', '.join(KEYS)}.")
    # Canvas puts its own number of an assignment behind the title.
    named = [i for i, t in enumerate(head) if t.partition(" (")[0] == asked.title]
    column = named[0] if named else len(head)
    by_id = {who.lower(): score for who, score in best.items()}
    by_id |= {
        student.email.lower(): best[student.id]
        for student in asked.students
        if student.email and student.id in best
    }
    met: set[str] = set()
    out = [[*head, asked.title] if column == len(head) else head]
    for row in rows[1:]:
        cells = row + [""] * (len(out[0]) - len(row))
        score = next(
            (s for k in keys if (s := by_id.get(row[k].strip().lower() or "-"))), None
        )
        if score:
            cells[column] = _grade(score)
            met.add(str(score.line["student"]))
        elif row[0].strip() == POSSIBLE and not cells[column]:
            cells[column] = _of(asked)
        out.append(cells)
    # What the gradebook exported is given back as it is; only our cells are new.
    return _text(out, harmless=False), sorted(set(best) - met)


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
