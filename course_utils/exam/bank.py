"""The whole bank: the items of every chapter and the questions in exam style.

`book/items/NN_*.yaml` are the items that lessons show. `book/items/exam-*.yaml` are
questions that no lesson loads: tables, code, drawn numbers and scenarios. Practice
pages, mock exams and exports take both from here.
"""

from functools import cache

import yaml

from course_utils.exam.expressions import ItemError
from course_utils.exam.items import load, slugs, to_widget
from course_utils.exam.questions import Question, build, from_item
from course_utils.paths import book_dir


def exam_files() -> list[str]:
    """Return the names of the files with questions in exam style."""
    return sorted(p.name for p in (book_dir() / "items").glob("exam-*.yaml"))


def raw_questions() -> list[dict]:
    """Return the questions in exam style as they are written.

    Raises: ItemError that names a file that is no list of questions.
    """
    return [raw for name in exam_files() for raw in read(name)]


def read(name: str) -> list[dict]:
    """Return the questions of one file as they are written.

    Raises: ItemError if the file is no YAML or no list of questions.
    """
    try:
        found = yaml.safe_load((book_dir() / "items" / name).read_text("utf-8"))
    except yaml.YAMLError as error:
        raise ItemError(f"{name} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, list) or not all(isinstance(raw, dict) for raw in found):
        raise ItemError(f"{name} must be a list of questions.")
    return found


def templates() -> list[dict]:
    """Return the questions whose numbers a seed draws, as they are written."""
    return [raw for raw in raw_questions() if "draw" in raw]


@cache
def _fixed() -> tuple[Question, ...]:
    """Return every question whose numbers no seed draws."""
    items = [from_item(item, slug) for slug in slugs() for item in load(slug)]
    return (*items, *(build(raw) for raw in raw_questions() if "draw" not in raw))


def load_bank(seed: int = 0) -> list[Question]:
    """Return every question of the book, ordered by chapter, with its key computed.

    A question whose numbers are drawn appears once, as the instance of `seed`.

    Raises: ItemError that names the question.
    """
    drawn = [build(raw, seed) for raw in templates()]
    return sorted([*_fixed(), *drawn], key=lambda question: question.chapter)


def to_page(question: Question) -> dict:
    """Return a question as plain JSON values, for a page that asks it.

    It is what the quiz widget shows, and besides: chapter, objective, difficulty,
    style, and the table or the code where there is one.
    """
    shown = to_widget(question) | {
        "chapter": question.chapter,
        "objective": question.objective,
        "difficulty": question.difficulty,
        "style": question.style,
    }
    if question.table:
        columns, rows = question.table.columns, question.table.rows
        shown["table"] = {"columns": list(columns), "rows": [list(r) for r in rows]}
    if question.code:
        shown["code"] = question.code
    return shown
