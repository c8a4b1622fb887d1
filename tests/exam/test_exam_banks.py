"""The banks of the book, and the rules that keep a bank fair."""

from collections import Counter
from dataclasses import replace

import pytest

from course_utils.exam.items import Choice, Item, load, slugs
from course_utils.exam.lint import (
    LEAST_ITEMS,
    computed,
    item_findings,
    lengths,
    lint,
    lint_bank,
    normal,
    positions,
    repeats,
    sections,
)
from course_utils.exam.sections import anchors
from course_utils.paths import ROOT


def item(number, key=0, texts=("aaa", "bbb", "ccc", "ddd")):
    choices = tuple(
        Choice(t, i == key, f"why {t}", None if i == key else "m", "x")
        for i, t in enumerate(texts)
    )
    text = f"Question {chr(97 + number) * 9}?"
    return Item(f"i{number}", "o", "01_x#y", 1 + number % 3, "single", text, choices)


def test_the_banks_have_no_findings():
    missing = [s for s in slugs() if not (ROOT / f"book/lessons/{s}.md").exists()]
    if missing:
        pytest.skip(f"no lesson yet for {missing}: sections cannot be checked")
    assert lint() == []


@pytest.mark.parametrize("slug", slugs())
def test_each_bank_alone(slug):
    items = load(slug)
    found = [f for f in lint_bank(items, slug) if "is not written yet" not in f]
    assert found == []
    assert len(items) >= LEAST_ITEMS


def test_the_self_test_samples_the_three_parts():
    items = load("00_start-here")
    levels = Counter(i.level for i in items)
    assert levels == {"beginner": 3, "intermediate": 4, "advanced": 3}
    assert len(items) == 10
    beginner = [i.section for i in items if i.level == "beginner"]
    assert all(s.startswith("01_what-is-quantization#") for s in beginner)


def test_a_fair_bank_passes():
    bank = [item(n, key=n % 4) for n in range(12)]
    assert list(positions(bank, "b")) == list(lengths(bank, "b")) == []
    assert list(repeats(bank)) == []


def test_a_favourite_position_is_found():
    assert "positions [12, 0, 0, 0]" in next(
        positions([item(n) for n in range(12)], "b")
    )
    # 6 of 12 is the edge: 4 * P(X >= 6) = 0.22 passes, 8 of 12 (0.011) does not.
    half = [item(n, key=0 if n < 6 else 1 + n % 3) for n in range(12)]
    assert list(positions(half, "b")) == []
    most = [item(n, key=0 if n < 8 else 1 + n % 3) for n in range(12)]
    assert list(positions(most, "b"))


@pytest.mark.parametrize(("word", "key_text"), [("longest", "aaaa"), ("shortest", "a")])
def test_a_length_that_gives_the_key_away_is_found(word, key_text):
    texts = (key_text, "bbb", "ccc", "ddd")
    fair = [item(n, key=n % 4) for n in range(12)]
    told = [item(n, 0, texts) for n in range(4)]
    # Chance in 8 of 12 and certainty in 4: (8 / 4 + 4) / 12 = 50 %.
    assert f"the {word} choice is right in 50%" in next(lengths(told + fair[4:], "b"))
    # One of 12: (11 / 4 + 1) / 12 = 31 %, above the 30 % allowed.
    assert list(lengths(told[:1] + fair[1:], "b"))
    # One of 24: (23 / 4 + 1) / 24 = 28 %.
    more = [item(n, key=n % 4) for n in range(1, 24)]
    assert list(lengths(told[:1] + more, "b")) == []


def test_an_item_that_gives_itself_away():
    good = item(0)
    assert list(item_findings(good)) == []
    wrong = replace(good.choices[1], misconception=None)
    said = next(item_findings(replace(good, choices=(good.choices[0], wrong))))
    assert "'bbb' names no misconception" in said
    same = replace(good.choices[1], why="why aaa")
    assert "the same why" in next(
        item_findings(replace(good, choices=(good.choices[0], same)))
    )
    literal = replace(good.choices[0], source="True")
    said = next(item_findings(replace(good, choices=(literal, *good.choices[1:]))))
    assert "is a literal" in said
    catch = replace(good.choices[1], text="All of the above")
    assert "one claim" in next(item_findings(replace(good, choices=(catch,))))
    number = Item("n", "o", "s#a", 1, "numeric", "?", value=3.0, source="3.0")
    assert len(list(item_findings(number))) == 2


def test_twins_are_found_whatever_their_numbers():
    a, b = item(0), item(1)
    b = replace(b, text=a.text.upper() + " 4 bits")
    assert list(repeats([a, replace(b, text=a.text + " 17")])) == [
        "i0 and i1 ask the same."
    ]
    assert list(repeats([a, replace(item(2), id="i0")])) == [
        "i0: two items have this id."
    ]
    assert normal("At 4 bits, the STEP?") == "at bits the step"


def test_sections_must_exist(tmp_path):
    lost = replace(item(0), section="01_what-is-quantization#no-such-place")
    unwritten = replace(item(0), section="77_nothing#x")
    assert "has no section 'no-such-place'" in next(sections([lost]))
    assert "is not written yet" in next(sections([unwritten]))
    lesson = tmp_path / "x.md"
    lesson.write_text(
        "# A, b: c?\n```{code-cell}\n# not this\n```\n## Six decibels a bit\n"
    )
    assert anchors(lesson) == {"a-b-c", "six-decibels-a-bit"}


def test_a_key_needs_a_name():
    assert computed("span / 2")
    assert not computed("2 / 15")
    assert not computed("True")
