"""What is wrong with a bank of items, one sentence per finding.

Some rules concern one item: its key is an expression over names, each wrong choice
says which misconception leads to it. Others concern the whole bank: nobody should
score by choosing the longest text or a favourite position.

Position. Under chance, each of k positions holds 1/k of the keys. A bank is refused
where the fullest position is fuller than chance makes it in one bank of twenty
(binomial tail, times k for the choice of position).

Length. Someone who always takes the longest choice, or always the shortest, and draws
among equals, should score at most 5 points of 100 above chance. The score is exact, so
the rule is the same for a small bank: of 12 items with 4 choices, at most 3.6 may fall
to it.
"""

import ast
import math
import re
from collections.abc import Callable, Iterable, Iterator
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path

from course_utils.exam.items import Item, ItemError, load, slugs
from course_utils.paths import ROOT

LEAST_ITEMS = 10
LENGTH_ADVANTAGE = 0.05
UNLIKELY = 0.05
# Share of equal text from which two items are one; numbers count as equal.
ALIKE = 0.9
CATCH_ALL = re.compile(
    r"\b(all|none|both|neither) of (the|these|them)\b", re.IGNORECASE
)


def lint() -> list[str]:
    """Return the findings of every bank, and of all banks together."""
    found, everything = [], []
    for slug in slugs():
        try:
            items = load(slug)
        except ItemError as error:
            found.append(str(error))
            continue
        everything += items
        found += lint_bank(items, slug)
    whole = [*repeats(everything), *positions(everything, "all banks")]
    return [*found, *whole, *lengths(everything, "all banks")]


def lint_bank(items: list[Item], slug: str) -> list[str]:
    """Return the findings of one bank."""
    found = [f"{item.id}: {text}" for item in items for text in item_findings(item)]
    if len(items) < LEAST_ITEMS:
        found.append(f"{slug}: {len(items)} items; write at least {LEAST_ITEMS}.")
    if len({item.difficulty for item in items}) < 2:
        found.append(f"{slug}: all items have one difficulty.")
    found += [*positions(items, slug), *lengths(items, slug), *sections(items)]
    return found


def item_findings(item: Item) -> Iterator[str]:
    """Yield what is wrong with one item."""
    if item.kind == "numeric":
        if not computed(item.source):
            yield f"the key {item.source!r} is a literal; compute it from names."
        if not item.explanation:
            yield "a numeric item needs an explanation."
    if CATCH_ALL.search(" ".join([item.text, *(c.text for c in item.choices)])):
        yield "a choice should make one claim, not refer to the others."
    for field in ("text", "whys"):
        told = [c.text if field == "text" else c.why for c in item.choices]
        if len({normal(t, keep_numbers=True) for t in told}) < len(told):
            yield f"two choices have the same {field.removesuffix('s')}."
    for choice in item.choices:
        if not choice.correct and not choice.misconception:
            yield f"the wrong choice {choice.text!r} names no misconception."
        if choice.correct and choice.misconception:
            yield f"the right choice {choice.text!r} names a misconception."
        if choice.correct and not computed(choice.source):
            yield f"the key {choice.source!r} is a literal; compute it from names."


def computed(expression: str) -> bool:
    """Return whether an expression uses at least one name."""
    return any(isinstance(n, ast.Name) for n in ast.walk(ast.parse(expression.strip())))


def normal(text: str, *, keep_numbers: bool = False) -> str:
    """Return a text without case, punctuation and, by default, numbers."""
    if keep_numbers:
        return " ".join(re.findall(r"[\w.+-]+", text.lower()))
    return " ".join(re.findall(r"[a-z]+", text.lower()))


def repeats(items: Iterable[Item]) -> Iterator[str]:
    """Yield pairs of items that ask the same, and repeated ids."""
    for a, b in combinations(items, 2):
        if a.id == b.id:
            yield f"{a.id}: two items have this id."
        first, second = normal(a.text), normal(b.text)
        if SequenceMatcher(None, first, second, autojunk=False).ratio() >= ALIKE:
            yield f"{a.id} and {b.id} ask the same."


def singles(items: Iterable[Item]) -> list[Item]:
    """Return the items with exactly one right choice."""
    return [item for item in items if item.kind == "single"]


def positions(items: Iterable[Item], name: str) -> Iterator[str]:
    """Yield the position that holds too many keys, if one does."""
    keys = [[c.correct for c in item.choices].index(True) for item in singles(items)]
    if not keys:
        return
    n = max(len(item.choices) for item in singles(items))
    counts = [keys.count(i) for i in range(n)]
    fullest = max(counts)
    tail = sum(
        math.comb(len(keys), k) * (1 / n) ** k * (1 - 1 / n) ** (len(keys) - k)
        for k in range(fullest, len(keys) + 1)
    )
    if n * tail < UNLIKELY:
        yield (
            f"{name}: keys stand at positions {counts}; rename an id of the fullest "
            "position, which draws another order."
        )


def lengths(items: Iterable[Item], name: str) -> Iterator[str]:
    """Yield the score of taking the longest choice, or the shortest, above chance."""
    chosen = singles(items)
    if not chosen:
        return
    chance = sum(1 / len(item.choices) for item in chosen) / len(chosen)
    for word, pick in (("longest", max), ("shortest", min)):
        score = sum(length_score(item, pick) for item in chosen) / len(chosen)
        if score > chance + LENGTH_ADVANTAGE:
            yield (
                f"{name}: the {word} choice is right in {score:.0%} of the items, "
                f"chance is {chance:.0%}; change the length of some choices."
            )


def length_score(item: Item, pick: Callable[[Iterable[int]], int]) -> float:
    """Return the chance that the choice `pick` takes, drawn among equals, is right."""
    size = pick(len(c.text) for c in item.choices)
    taken = [c for c in item.choices if len(c.text) == size]
    return sum(c.correct for c in taken) / len(taken)


def sections(items: Iterable[Item]) -> Iterator[str]:
    """Yield items whose section the lesson does not have."""
    for item in items:
        slug, _, anchor = item.section.partition("#")
        lesson = ROOT / "book" / "lessons" / f"{slug}.md"
        if not lesson.exists():
            yield f"{item.id}: its lesson {slug} is not written yet."
        elif anchor not in anchors(lesson):
            yield f"{item.id}: the lesson {slug} has no section {anchor!r}."


def anchors(lesson: Path) -> set[str]:
    """Return the anchors of a lesson's headings, as GitHub and MyST make them."""
    found, in_code = set(), False
    for line in lesson.read_text("utf-8").splitlines():
        if line.startswith("```"):
            in_code = not in_code
        elif line.startswith("#") and not in_code:
            words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            found.add(words.replace(" ", "-"))
    return found
