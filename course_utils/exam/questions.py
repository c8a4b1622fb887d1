"""Questions in the style of an exam: a table to read, code with a fault, drawn numbers.

They extend the items of the chapters (`items`) and leave those as they are, since
executed lessons embed them. A question has all fields of an item, its `chapter`, and

    draw, where     numbers that a seed draws (`drawing`)
    table           columns, and rows of cells; every number in it is computed
    code, passes    an excerpt with a fault, and what is true once it is gone (`trial`)
    change          of a choice: the repair it proposes

Expressions may also use `measured("record/key")`, a value of `book/measured/`.
"""

import ast
import re
from dataclasses import dataclass, replace
from string import Formatter

import yaml

from course_utils.exam import drawing, trial
from course_utils.exam.expressions import ItemError, evaluate, fill
from course_utils.exam.items import Item, parse
from course_utils.report.facts import facts

OWN = ("chapter", "draw", "where", "table", "code", "passes")
STYLES = ("plain", "table", "bug")


@dataclass(frozen=True)
class Table:
    """A table as shown: headings, and rows with as many cells."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Question(Item):
    """One question of the bank, its key computed.

    Attributes:
        chapter: Slug of the chapter that teaches the answer.
        style: One of STYLES: words, a table to read, or code with a fault.
        table: What is read, for the style "table".
        code: The excerpt with a fault, for the style "bug".
        drawn: The numbers that the seed has set, as name and value.
    """

    chapter: str = ""
    style: str = "plain"
    table: Table | None = None
    code: str = ""
    drawn: tuple[tuple[str, object], ...] = ()


def from_item(item: Item, chapter: str) -> Question:
    """Return an item of a chapter as a question of the bank."""
    return Question(**vars(item), chapter=chapter)


def build(raw: dict, seed: int = 0) -> Question:
    """Return a question with its key computed; `seed` draws its numbers.

    Seed 0 is the instance that stands in the bank; others carry the seed in their id,
    and so another order of choices.

    Raises: ItemError that names the question.
    """
    name = raw.get("id", "a question without id")
    if not raw.get("chapter"):
        raise ItemError(f"{name}: say which chapter it belongs to.")
    try:
        return _build(raw, seed)
    except ItemError as error:
        said = str(error).removeprefix(f"{raw['chapter']}, {name}: ")
        raise ItemError(f"{raw['chapter']}, {name}: {said}") from error


def _build(raw: dict, seed: int) -> Question:
    plain = {key: value for key, value in raw.items() if key not in OWN}
    draw = drawing.drawn(raw, seed) if "draw" in raw else {}
    code = raw.get("code", "")
    names, let = _names(raw.get("let", {}), draw, trial.defined(code) if code else {})
    if let:
        plain["let"] = let
    if "code" in raw or "passes" in raw:
        plain |= _tried(raw, names, let)
    item = parse(yaml.safe_dump([plain], sort_keys=False), raw["chapter"])[0]
    if draw and seed:
        item = _reordered(plain, raw["chapter"], seed)
    question = from_item(item, raw["chapter"])
    if code:
        question = replace(question, style="bug", code=code.rstrip("\n"))
    if "table" in raw:
        table = _table(raw, names)
        question = replace(question, style="table", table=table)
    return replace(question, drawn=tuple(draw.items()))


def _reordered(plain: dict, chapter: str, seed: int) -> Item:
    """Return the instance of a seed, its choices in the order of its own id."""
    numbered = plain | {"id": f"{plain['id']}.{seed}"}
    return parse(yaml.safe_dump([numbered], sort_keys=False), chapter)[0]


def _names(
    let: dict, draw: dict[str, object], functions: dict[str, object]
) -> tuple[dict[str, object], dict[str, str]]:
    """Return the names of a question, and the `let` block that an item understands.

    An item knows neither records nor the code of a question, so what they give is
    handed on as a literal; anything that has none keeps its expression.
    """
    names: dict[str, object] = {"measured": measured, **functions, **draw}
    handed = {name: repr(value) for name, value in draw.items()}
    for name, expression in let.items():
        names[name] = evaluate(expression, names)
        handed[name] = repr(names[name]) if _literal(names[name]) else str(expression)
    return names, handed


def measured(fact_id: str, end: str = "") -> float:
    """Return a measured value, written "record/key", or an `end` of its interval.

    `end` is "low" or "high".

    Raises: ValueError if there is no such value or nobody has measured it.
    """
    fact = facts(fact_id)
    if not end:
        return float(fact)
    if not fact.spread:
        raise ValueError(f"The fact {fact_id} has no interval.")
    return float(fact.spread[end])


def _literal(value: object) -> bool:
    """Return whether Python reads back what it prints for a value."""
    try:
        return ast.literal_eval(repr(value)) == value
    except (ValueError, SyntaxError, TypeError):
        return False


def _tried(
    raw: dict, names: dict[str, object], let: dict[str, str]
) -> dict[str, object]:
    """Return the `let` and `choices` of an item, each repair tried out."""
    if not raw.get("code") or not raw.get("passes"):
        raise ItemError("a question about code needs code, and passes, an expression.")
    choices = raw.get("choices", [])
    works = trial.outcomes(raw["code"], raw["passes"], choices, names)
    if works.count(None) == len(works):
        raise ItemError("a question about code needs choices with a change.")
    decided = [
        choice
        if worked is None
        else {k: v for k, v in choice.items() if k != "change"}
        | {"true_if": f"works[{i}]"}
        for i, (choice, worked) in enumerate(zip(choices, works, strict=True))
    ]
    return {"let": {**let, "works": repr(works)}, "choices": decided}


def _table(raw: dict, names: dict[str, object]) -> Table:
    """Return the table with its numbers, and check that the question needs it."""
    columns = [str(c) for c in raw["table"].get("columns", [])]
    rows = [[str(cell) for cell in row] for row in raw["table"].get("rows", [])]
    if len(columns) < 2 or len(rows) < 2:
        raise ItemError("a table needs at least two columns and two rows.")
    if any(len(row) != len(columns) for row in rows):
        raise ItemError(f"each row of the table needs {len(columns)} cells.")
    shown: set[str] = set()
    for cell in (cell for row in rows for cell in row[1:]):
        used = _fields(cell)
        if re.search(r"\d", _words(cell)):
            raise ItemError(f"the cell {cell!r} holds a typed number; compute it.")
        shown |= used
    if not shown & _asked(raw):
        raise ItemError("the key uses no name of the table, so it needs no table.")
    return Table(
        tuple(columns), tuple(tuple(fill(cell, names) for cell in row) for row in rows)
    )


def _fields(template: str) -> set[str]:
    """Return the names that a format string uses."""
    fields = [field for _, field, _, _ in Formatter().parse(template) if field]
    return {re.split(r"[.\[]", field)[0] for field in fields}


def _words(template: str) -> str:
    """Return a format string without its fields."""
    return "".join(text for text, *_ in Formatter().parse(template))


def _asked(raw: dict) -> set[str]:
    """Return the names behind the key and the choices, also through `let`."""
    sources = [raw.get("key", "")]
    sources += [c.get("value", c.get("true_if", "")) for c in raw.get("choices", [])]
    open_names = set().union(*(_used(s) for s in sources if s))
    found: set[str] = set()
    while open_names:
        name = open_names.pop()
        if name not in found:
            found.add(name)
            open_names |= _used(raw.get("let", {}).get(name, ""))
    return found


def _used(expression: object) -> set[str]:
    """Return the names in an expression; none if it does not parse."""
    try:
        tree = ast.parse(str(expression).strip() or "0", mode="eval")
    except SyntaxError:
        return set()
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
