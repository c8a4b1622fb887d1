"""Exam items whose keys are computed.

An item is a question with choices, or with a number to enter. Nothing in it states
which choice is right: each choice has a `value` or a `true_if`, both Python
expressions, and the key is what they give. Change a number in the text, and the key
moves with it.

    let      names, computed in order, for use in texts and expressions
    key      the number asked for; a choice is right where its value equals it
    true_if  for a choice in words: an expression that tries the claim out

Texts are format strings: `{step:.3f}`. In a choice, `{value}` is its own value.
The order of choices follows from a hash of the item's id, so it is the same on every
page and says nothing about the key.

Left out: exports to learning platforms, and forms drawn by seed.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import yaml

from course_utils.exam.expressions import ItemError, evaluate, fill
from course_utils.paths import book_dir

KINDS = ("single", "multiple", "numeric")
REQUIRED = ("id", "objective", "section", "difficulty", "kind", "text")
OPTIONAL = ("let", "choices", "key", "tolerance", "unit", "explanation", "level")
# Of an item of a self-test: the part of the book it samples.
LEVELS = ("beginner", "intermediate", "advanced")


@dataclass(frozen=True)
class Choice:
    """One choice of an item.

    Attributes:
        source: The expression that decides whether it is right.
        misconception: The mistake that leads here; None for a right choice.
    """

    text: str
    correct: bool
    why: str
    misconception: str | None
    source: str


@dataclass(frozen=True)
class Item:
    """One exam item, its key computed.

    Attributes:
        section: "slug#anchor" of the lesson section that teaches it.
        choices: In the order in which they are shown; empty for a number.
        value: The number asked for; NaN for an item with choices.
        tolerance: Largest relative difference that counts as right.
        level: One of LEVELS in a self-test, else "".
        source: The expression of the key of a numeric item.
    """

    id: str
    objective: str
    section: str
    difficulty: int
    kind: str
    text: str
    choices: tuple[Choice, ...] = ()
    value: float = math.nan
    tolerance: float = 0.0
    unit: str = ""
    explanation: str = ""
    level: str = ""
    source: str = ""

    @property
    def section_title(self) -> str:
        """The section's heading, as far as its anchor tells."""
        return self.section.partition("#")[2].replace("-", " ").capitalize()


def slugs() -> list[str]:
    """Return the chapters that have items."""
    return sorted(p.stem for p in (book_dir() / "items").glob("[0-9][0-9]_*.yaml"))


def path_of(slug: str) -> Path:
    """Return the file with the items of a chapter."""
    return book_dir() / "items" / f"{slug}.yaml"


def load(slug: str) -> list[Item]:
    """Return the items of a chapter with their keys computed.

    Raises: ItemError that names the item; FileNotFoundError without a file.
    """
    return parse(path_of(slug).read_text("utf-8"), slug)


def parse(text: str, slug: str) -> list[Item]:
    """Read items from YAML.

    Raises: ItemError that names the item.
    """
    return [_item(raw, slug) for raw in yaml.safe_load(text) or []]


def widget_items(slug: str, level: str | None = None) -> list[dict]:
    """Return what the quiz widget shows: the items of a chapter, or of one level."""
    return [to_widget(i) for i in load(slug) if level in (None, i.level)]


def to_widget(item: Item) -> dict:
    """Return one item as plain JSON values."""
    shown: dict = {
        "id": item.id,
        "kind": item.kind,
        "text": item.text,
        "choices": [
            {"text": c.text, "correct": c.correct, "why": c.why} for c in item.choices
        ],
        "explanation": item.explanation,
        "section": item.section,
        "section_title": item.section_title,
    }
    if item.kind == "numeric":
        shown |= {"value": item.value, "tolerance": item.tolerance, "unit": item.unit}
    if item.level:
        shown["level"] = item.level
    return shown


def shown_order(item_id: str, n: int) -> list[int]:
    """Return the order in which `n` choices are shown."""

    def drawn(i: int) -> str:
        return hashlib.sha256(f"{item_id}/{i}".encode()).hexdigest()

    return sorted(range(n), key=drawn)


def _item(raw: dict, slug: str) -> Item:
    """Check one item and compute it."""
    name = raw.get("id", f"an item of {slug} without id")
    try:
        _check_fields(raw)
        names = _names(raw)
        section = raw["section"]
        common = {
            "id": raw["id"],
            "objective": raw["objective"],
            "section": section if "#" in section else f"{slug}#{section}",
            "difficulty": raw["difficulty"],
            "kind": raw["kind"],
            "text": fill(raw["text"], names),
            "explanation": fill(raw.get("explanation", ""), names),
            "level": raw.get("level", ""),
        }
        if raw["kind"] == "numeric":
            return Item(**common, **_number(raw, names))
        return Item(**common, choices=_choices(raw, names))
    except ItemError as error:
        raise ItemError(f"{slug}, {name}: {error}") from error


def _check_fields(raw: dict) -> None:
    """Refuse missing, unknown and meaningless fields."""
    missing = [f for f in REQUIRED if f not in raw]
    unknown = [f for f in raw if f not in REQUIRED + OPTIONAL]
    if missing or unknown:
        raise ItemError(f"fields missing: {missing}; fields not known: {unknown}.")
    if raw["kind"] not in KINDS:
        raise ItemError(f"kind is {raw['kind']!r}; use one of {', '.join(KINDS)}.")
    if raw["difficulty"] not in (1, 2, 3):
        raise ItemError(f"difficulty is {raw['difficulty']!r}; use 1, 2 or 3.")
    if raw.get("level", "beginner") not in LEVELS:
        raise ItemError(f"level is {raw['level']!r}; use one of {', '.join(LEVELS)}.")
    if raw["kind"] == "numeric" and not raw.get("key"):
        raise ItemError("a numeric item needs a key, an expression.")
    if raw["kind"] != "numeric" and len(raw.get("choices", ())) < 3:
        raise ItemError("an item needs at least three choices.")


def _names(raw: dict) -> dict[str, object]:
    """Return the names of the `let` block and the key, computed in order."""
    names: dict[str, object] = {}
    for name, expression in raw.get("let", {}).items():
        if not str(name).isidentifier() or isinstance(name, bool):
            raise ItemError(
                f"{name!r} is no name (YAML reads on, off, yes, no as bool)."
            )
        names[name] = evaluate(expression, names)
    if raw.get("key"):
        names["key"] = float(evaluate(raw["key"], names))
    return names


def _number(raw: dict, names: dict[str, object]) -> dict[str, object]:
    """Return the fields of a numeric item."""
    value, tolerance = names["key"], float(raw.get("tolerance", 0.01))
    if not math.isfinite(value) or not 0 < tolerance < 0.5:
        raise ItemError(f"key {value} or tolerance {tolerance} makes no question.")
    return {
        "value": value,
        "tolerance": tolerance,
        "unit": raw.get("unit", ""),
        "source": str(raw["key"]),
    }


def _choices(raw: dict, names: dict[str, object]) -> tuple[Choice, ...]:
    """Return the choices as shown, and check that the key is one of them."""
    choices = [_choice(c, names) for c in raw["choices"]]
    right = sum(c.correct for c in choices)
    if raw["kind"] == "single" and right != 1:
        raise ItemError(f"{right} choices are right; a single item needs exactly one.")
    if raw["kind"] == "multiple" and right in (0, len(choices)):
        raise ItemError(
            f"{right} of {len(choices)} choices are right; some must differ."
        )
    return tuple(choices[i] for i in shown_order(raw["id"], len(choices)))


def _choice(raw: dict, names: dict[str, object]) -> Choice:
    """Compute one choice."""
    if ("value" in raw) == ("true_if" in raw) or "why" not in raw:
        raise ItemError(
            f"choice {raw.get('text')!r} needs a why, and value or true_if."
        )
    if "value" in raw:
        if "key" not in names:
            raise ItemError("choices with values need a key to compare with.")
        value = float(evaluate(raw["value"], names))
        names = {**names, "value": value}
        correct = math.isclose(value, names["key"], rel_tol=1e-9)
    else:
        correct = bool(evaluate(raw["true_if"], names))
    return Choice(
        text=fill(str(raw["text"]), names),
        correct=correct,
        why=fill(raw["why"], names),
        misconception=raw.get("misconception"),
        source=str(raw.get("value", raw.get("true_if"))),
    )
