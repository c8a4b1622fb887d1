"""A form of an exam: n questions drawn from the bank by a seed, no two alike.

The same seed gives the same form on every machine. Chapters take turns, so a form
covers as many of them as it has questions. Where the seed draws a question's numbers,
a longer form may ask it again with others; two questions never read the same.
"""

import random
from collections.abc import Iterator, Sequence

from course_utils.exam.bank import load_bank, templates
from course_utils.exam.questions import Question, build

# Instances of one drawn question that a form looks through for a new one.
INSTANCES = 50


def form(
    seed: int, n: int, *, chapters: Sequence[str] = (), drawn_only: bool = False
) -> list[Question]:
    """Return `n` questions, in the order in which they are asked.

    `chapters` limits it to these slugs; `drawn_only` to questions with drawn numbers.

    Raises: ValueError if the bank has not that many different questions.
    """
    if n < 1:
        raise ValueError(f"A form needs at least one question, got {n}.")
    found: list[Question] = []
    seen: set[str] = set()
    for question in _candidates(seed, chapters, drawn_only=drawn_only):
        shown = asked(question)
        if shown not in seen:
            seen.add(shown)
            found.append(question)
        if len(found) == n:
            return found
    raise ValueError(
        f"The bank has {len(found)} different questions for this form, not {n}; "
        "ask for fewer or for more chapters."
    )


def asked(question: Question) -> str:
    """Return all that a reader sees of a question before answering, in one line."""
    cells = question.table.rows if question.table else ()
    choices = sorted(choice.text for choice in question.choices)
    return " | ".join([question.text, question.code, str(cells), *choices])


def _candidates(
    seed: int, chapters: Sequence[str], *, drawn_only: bool
) -> Iterator[Question]:
    """Yield the questions of a form: chapter by chapter in turn, then new instances."""
    generator = random.Random(f"form/{seed}")
    bank = [
        question
        for question in load_bank(_instance(seed, 0))
        if (not chapters or question.chapter in chapters)
        and (question.drawn or not drawn_only)
    ]
    piles: dict[str, list[Question]] = {}
    for question in generator.sample(bank, len(bank)):
        piles.setdefault(question.chapter, []).append(question)
    while piles:
        for chapter in list(piles):
            yield piles[chapter].pop()
            if not piles[chapter]:
                del piles[chapter]
    wanted = [raw for raw in templates() if not chapters or raw["chapter"] in chapters]
    for i in range(1, INSTANCES):
        yield from (build(raw, _instance(seed, i)) for raw in wanted)


def _instance(seed: int, i: int) -> int:
    """Return the seed of the i-th instance, different for every form and never 0."""
    return 1 + abs(seed) * INSTANCES + i
