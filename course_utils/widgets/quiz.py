"""Questions that check themselves, on a page and in a notebook.

A quiz takes its items as data; `course_utils.exam.items` makes them from the item
files, where every key is computed. The order of items and choices is kept.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import anywidget
import traitlets

HERE = Path(__file__).parent

_DEFAULTS = {
    "choices": [],
    "value": 0.0,
    "tolerance": 0.0,
    "unit": "",
    "explanation": "",
    "section": "",
    "section_title": "",
}


class Quiz(anywidget.AnyWidget):
    """A list of questions with a Check button each and a count of right answers.

    Args:
        items: Questions. Each has an id, a text and a kind. "single" and "multiple"
            have choices of text, correct and why; "numeric" has value, tolerance
            (relative) and unit. All may have explanation, section ("slug#anchor")
            and section_title.
        routes: What to do next, by the number of answers right at the first try:
            min, max, text and href ("slug", "slug#anchor", a file relative to the
            page, or an https address). Shown when every item is answered.

    Raises:
        ValueError: If an item or the routes are not complete.
    """

    _esm = HERE / "quiz.js"
    _css = HERE / "widgets.css"

    items = traitlets.List().tag(sync=True)
    routes = traitlets.List().tag(sync=True)
    solved = traitlets.Dict().tag(sync=True)

    def __init__(
        self, items: Sequence[Mapping], *, routes: Sequence[Mapping] = ()
    ) -> None:
        complete = [_checked_item(item) for item in items]
        if not complete:
            raise ValueError("The quiz has no items.")
        names = [item["id"] for item in complete]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"Two items have the id {name!r}; rename one.")
        _check_routes(routes, len(complete))
        super().__init__(items=complete, routes=[dict(route) for route in routes])

    def __repr__(self) -> str:
        """Return what a viewer without widgets shows; it gives no answer away."""
        count = len(self.items)
        noun = "question" if count == 1 else "questions"
        return f"Quiz with {count} {noun}: open the notebook or the page to answer."


def _checked_item(item: Mapping) -> dict:
    """Return the item with every field, or say what is wrong with it."""
    for field in ("id", "kind", "text"):
        if not item.get(field):
            raise ValueError(f"The quiz item {item.get('id', '')!r} has no {field}.")
    whole = _DEFAULTS | dict(item)
    if whole["kind"] == "numeric":
        _check_number(whole)
    elif whole["kind"] in ("single", "multiple"):
        _check_choices(whole)
    else:
        raise ValueError(
            f"The quiz item {whole['id']!r} has the kind {whole['kind']!r}; "
            "it must be single, multiple or numeric."
        )
    return whole


def _check_number(item: Mapping) -> None:
    value, tolerance = item["value"], item["tolerance"]
    if not math.isfinite(value) or value == 0:
        # The tolerance is relative, so around 0 nothing but 0 would be right.
        raise ValueError(f"The value of {item['id']!r} must be finite and not 0.")
    if not 0 < tolerance < 1:
        raise ValueError(
            f"The tolerance of {item['id']!r} is {tolerance}; it is relative and lies "
            "between 0 and 1, for example 0.01."
        )


def _check_choices(item: Mapping) -> None:
    correct = sum(bool(choice["correct"]) for choice in item["choices"])
    if len(item["choices"]) < 2:
        raise ValueError(f"The item {item['id']!r} needs at least two choices.")
    if correct == 0 or (item["kind"] == "single" and correct > 1):
        wanted = "exactly one" if item["kind"] == "single" else "at least one"
        raise ValueError(
            f"The item {item['id']!r} has {correct} correct choices; "
            f"{item['kind']} needs {wanted}."
        )
    for choice in item["choices"]:
        if not choice.get("why"):
            raise ValueError(
                f"The choice {choice['text']!r} of {item['id']!r} has no why; say what "
                "choosing it reveals."
            )


def _check_routes(routes: Sequence[Mapping], count: int) -> None:
    """Raise unless the routes cover 0 to `count` right answers once each."""
    covered = [n for route in routes for n in range(route["min"], route["max"] + 1)]
    if routes and sorted(covered) != list(range(count + 1)):
        raise ValueError(
            f"The routes cover {sorted(covered)}; every number of right answers from "
            f"0 to {count} needs exactly one."
        )
