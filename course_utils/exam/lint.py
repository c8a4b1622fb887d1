"""What is wrong with a bank of items, one sentence per finding.

Some rules concern one item: its key is an expression over names, each wrong choice
says which misconception leads to it. Others concern the whole bank: nobody should
score by choosing the longest text or a favourite position.

Position. Under chance, each of k positions holds 1/k of the keys. A bank is refused
where the fullest position is fuller than chance makes it in one bank of twenty
(binomial tail, times k for the choice of position).

Over the whole bank the keys must also be uniform by a chi-square test.

Length. Someone who always takes the longest choice, or always the shortest, and draws
among equals, should score at most 5 points of 100 above chance. The score is exact, so
the rule is the same for a small bank: of 12 items with 4 choices, at most 3.6 may fall
to it.
"""

import ast
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from difflib import SequenceMatcher
from itertools import combinations

import torch

from course_utils.exam.bank import load_bank, raw_questions
from course_utils.exam.expressions import ItemError
from course_utils.exam.items import Item, load, slugs
from course_utils.exam.questions import Question, build
from course_utils.exam.sections import lessons, missing

LEAST_ITEMS = 10
LENGTH_ADVANTAGE = 0.05
UNLIKELY = 0.05
RARE = 0.01
# Instances of a drawn question that are looked at.
SEEDS = 12
# Share of equal text from which two items are one; numbers count as equal.
ALIKE = 0.9
CATCH_ALL = re.compile(
    r"\b(all|none|both|neither) of (the|these|them)\b", re.IGNORECASE
)


def lint() -> list[str]:
    """Return the findings of every bank, and of all questions together."""
    found: list[str] = []
    for slug in slugs():
        try:
            found += lint_bank(load(slug), slug)
        except ItemError as error:
            found.append(str(error))
    for raw in raw_questions():
        found += exam_style(raw)
    # Only a bank that can be read can be judged as a whole.
    return found or whole(load_bank(), lessons())


def whole(bank: list[Question], chapters: Iterable[str]) -> list[str]:
    """Return the findings of the whole bank; `chapters` need enough questions."""
    name = "the whole bank"
    rules = (repeats(bank), sections(bank), few(bank, chapters))
    shares = (positions(bank, name), uniform(bank, name), lengths(bank, name))
    return [text for rule in (*rules, *shares) for text in rule]


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
        match = SequenceMatcher(None, first, second, autojunk=False)
        # The bounds are quick and spare nearly every pair the comparison.
        if match.real_quick_ratio() < ALIKE or match.quick_ratio() < ALIKE:
            continue
        if match.ratio() >= ALIKE:
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
        if said := missing(item.section):
            yield f"{item.id}: {said}"


def uniform(items: Iterable[Item], name: str) -> Iterator[str]:
    """Yield a sentence if the positions of the keys are not uniform.

    Pearson's chi-square against 1/k for each of the k positions of an item, summed
    over the items; refused where chance gives as much in one bank of a hundred.
    """
    chosen = singles(items)
    if not chosen:
        return
    most = max(len(item.choices) for item in chosen)
    seen, due = [0.0] * most, [0.0] * most
    for item in chosen:
        seen[[c.correct for c in item.choices].index(True)] += 1
        for position in range(len(item.choices)):
            due[position] += 1 / len(item.choices)
    square = sum((s - d) ** 2 / d for s, d in zip(seen, due, strict=True))
    freedom, half = torch.tensor((most - 1) / 2), torch.tensor(square / 2)
    if (p := torch.special.gammaincc(freedom, half).item()) < RARE:
        yield f"{name}: keys stand at positions {seen}, p = {p:.4f} under chance."


def few(items: Iterable[Question], chapters: Iterable[str]) -> Iterator[str]:
    """Yield chapters with fewer questions than LEAST_ITEMS."""
    counts = Counter(question.chapter for question in items)
    for slug in chapters:
        if counts[slug] < LEAST_ITEMS:
            yield f"{slug}: {counts[slug]} questions; write at least {LEAST_ITEMS}."


def drawn(raw: dict) -> Iterator[str]:
    """Yield what is wrong with a question whose numbers are drawn."""
    try:
        made = [build(raw, seed) for seed in range(SEEDS)]
    except ItemError as error:
        yield str(error)
        return
    if len({question.text for question in made}) < SEEDS / 2:
        yield f"{raw['id']}: {SEEDS} seeds give fewer than half as many texts."
    if made[0].kind == "numeric" and len({question.value for question in made}) < 2:
        yield f"{raw['id']}: every seed has the same key."
    for question in made:
        for said in item_findings(question):
            yield f"{question.id}: {said}"


def exam_style(raw: dict) -> Iterator[str]:
    """Yield what is wrong with a question in exam style, as it is written."""
    if "draw" in raw:
        yield from drawn(raw)
        return
    try:
        question = build(raw)
    except ItemError as error:
        yield str(error)
        return
    for said in item_findings(question):
        yield f"{question.id}: {said}"
