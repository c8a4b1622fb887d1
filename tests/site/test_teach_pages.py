"""Syllabi and outcomes name what is there, and add up."""

import pytest
import yaml
from fewer_bits import teaching

from course_utils.grading.questions import load_master, masters
from course_utils.paths import ROOT

SLUGS = [path.stem for path in masters()]


@pytest.mark.parametrize("name", ["ten-weeks", "two-days"])
def test_minutes_are_those_of_lessons_and_exercises(name):
    *parts, last = teaching.plan_rows(name)
    for key in ("In class, min", "Exercises, min"):
        assert last[key] == sum(row[key] for row in parts) > 0
    for row in parts:
        assert row["Stop and ask"].endswith("?")


def test_ten_weeks_hold_every_chapter_in_order():
    assert teaching.chapters_of("ten-weeks") == SLUGS
    assert len(teaching.plan_rows("ten-weeks")) == 11


def test_two_days_fit_into_two_days():
    *blocks, _ = teaching.plan_rows("two-days")
    assert len(blocks) == 4
    for row in blocks:
        assert row["In class, min"] + row["Exercises, min"] <= 180


def test_minutes_of_questions_are_those_of_the_exercise():
    for path in masters():
        master = load_master(path)
        minutes = [
            teaching._question_minutes(path.stem, q.number) for q in master.questions
        ]
        assert sum(minutes) == master.minutes, path.stem


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ({"lessons": ["99_none"], "exercises": {}}, "no chapter '99_none'"),
        ({"lessons": [SLUGS[1]], "exercises": {SLUGS[1]: [9]}}, "has no exercise 9"),
        (
            {"lessons": [SLUGS[1]], "exercises": {"99_none": [1]}},
            "no chapter '99_none'",
        ),
    ],
)
def test_a_plan_with_a_fault_is_refused(tmp_path, part, sentence):
    plan = {"called": "Week", "parts": [{"when": 1, "ask": "Why?"} | part]}
    (tmp_path / teaching.PLANS).write_text(yaml.safe_dump({"mine": plan}))
    with pytest.raises(teaching.PlanError, match=sentence):
        teaching.plan_rows("mine", tmp_path)
    with pytest.raises(teaching.PlanError, match="choose mine"):
        teaching.plan_rows("other", tmp_path)


@pytest.mark.parametrize("slug", SLUGS)
def test_every_chapter_has_outcomes_and_exercises(slug):
    found = teaching.outcomes(slug)
    assert len(found) >= 3
    assert len({text for text, _ in found}) == len(found)
    master = load_master(next(p for p in masters() if p.stem == slug))
    assert teaching.exercises(slug) == [q.heading for q in master.questions]
    page = (ROOT / "book" / "teach" / "outcomes.md").read_text("utf-8")
    assert f"{{outcomes}} {slug}\n" in page
