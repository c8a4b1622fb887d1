"""What a graded folder holds: what was asked, and one line per submission.

    graded/asked.json       title, chapter, points, rubrics, students, fingerprint
    graded/results.jsonl    a line for every submission, appended as it is graded

A line that an earlier run wrote for other checks, or for a submission that was graded
again since, does not count.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from course_utils.assignment.roster import Student

ASKED, RESULTS = "asked.json", "results.jsonl"
Line = dict[str, object]


@dataclass(frozen=True)
class Asked:
    """What was asked.

    Attributes:
        points: Of every question, by its heading; explain questions too.
        rubrics: Of every explain question: heading -> Markdown table of levels 0 to 3.
        students: Of the roster; empty without one.
        fingerprint: Of the checks and of what was drawn.
    """

    title: str
    slug: str
    points: dict[str, float]
    rubrics: dict[str, str] = field(default_factory=dict)
    students: tuple[Student, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True)
class Graded:
    """What was asked, and the line of every submission, sorted by name.

    A line has the keys

        submission   the file's name
        student      id of the roster; "" without a roster or where none fits
        sha256       of the file; "" if it could not be read
        error        why it could not be graded, a sentence; "" if it was
        points       heading -> points of every question that has code
        checks       list of {question, check, message, hidden}; message "" if passed
        answers      heading -> text that the student wrote to an explain question
        remarks      sentences for the instructor, such as a file handed out to another
        seconds      wall time
    """

    asked: Asked
    lines: list[Line]


def write_asked(folder: Path, asked: Asked) -> None:
    """Write asked.json in one step."""
    new = folder / f"{ASKED}.new"
    new.write_text(json.dumps(asdict(asked), indent=1) + "\n", encoding="utf-8")
    new.replace(folder / ASKED)


def read_asked(folder: Path) -> Asked:
    """Return what was asked.

    Raises: ValueError where the folder was not graded.
    """
    try:
        data = json.loads((folder / ASKED).read_text("utf-8"))
        data["students"] = tuple(Student(**s) for s in data["students"])
        return Asked(**data)
    except FileNotFoundError:
        raise ValueError(
            f"{folder} holds no {ASKED}; run `assignment grade` first."
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{folder / ASKED} cannot be read ({error}).") from None


def read_lines(folder: Path, fingerprint: str) -> dict[str, Line]:
    """Return the lines that count, by submission.

    A last line that was cut off is taken out of the file, so that the next one starts
    on a line of its own.
    """
    path = folder / RESULTS
    if not path.exists():
        return {}
    text = path.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    lines = [json.loads(line) for line in whole.splitlines()]
    kept = [line for line in lines if line["checks_sha256"] == fingerprint]
    return {line["submission"]: line for line in kept}


def load(folder: Path) -> Graded:
    """Return a graded folder.

    Raises: ValueError where the folder was not graded.
    """
    asked = read_asked(folder)
    lines = read_lines(folder, asked.fingerprint)
    return Graded(asked, [lines[name] for name in sorted(lines)])
