"""The cheat sheet: blocks of short rows in which every number is computed.

`book/exam/cheat-sheet.yaml` is a list of blocks with a title, columns and rows. A cell
is a format string over the block's `let` names, as in an item, and a number in a cell
is refused unless it comes from one. The exceptions are in `WORDS`: names such as INT8
or Q4_K_M, and figures of a rule such as "2^b".
"""

import re
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

import yaml

from course_utils.exam.expressions import ItemError, evaluate, fill
from course_utils.exam.questions import Table, measured
from course_utils.paths import ROOT

SHEET = ROOT / "book" / "exam" / "cheat-sheet.yaml"
FIELDS = {"title", "let", "columns", "rows"}
# Names and formulas may hold figures: a letter, a power or a small constant.
WORDS = re.compile(r"[A-Za-z_^][\w^.]*\d[\w.]*|\b[12]\b")


@dataclass(frozen=True)
class Block:
    """One block of the sheet: a title and a table."""

    title: str
    table: Table


def blocks(path: Path = SHEET) -> list[Block]:
    """Return the blocks of the sheet, computed.

    Raises: ItemError that names the block; OSError without a file.
    """
    return [_block(raw) for raw in yaml.safe_load(path.read_text("utf-8"))]


def _block(raw: dict) -> Block:
    title = raw.get("title", "a block without title")
    try:
        if set(raw) - FIELDS or not raw.get("rows") or not raw.get("columns"):
            raise ItemError(f"a block has {', '.join(sorted(FIELDS))}.")
        names: dict[str, object] = {"measured": measured}
        for name, expression in raw.get("let", {}).items():
            names[name] = evaluate(expression, names)
        rows = tuple(tuple(_cell(str(c), names) for c in row) for row in raw["rows"])
        if any(len(row) != len(raw["columns"]) for row in rows):
            raise ItemError(f"each row needs {len(raw['columns'])} cells.")
    except ItemError as error:
        raise ItemError(f"cheat sheet, {title}: {error}") from error
    return Block(title, Table(tuple(raw["columns"]), rows))


def _cell(template: str, names: dict[str, object]) -> str:
    """Return a cell with its numbers, and refuse a typed one."""
    words = "".join(text for text, *_ in Formatter().parse(template))
    if re.search(r"\d", WORDS.sub("", words)):
        raise ItemError(f"the cell {template!r} holds a typed number; compute it.")
    return fill(template, names)
