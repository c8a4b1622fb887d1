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
    parts = [{"when": 1, "ask": "Why?"} | part]
    plan = {"called": "Week", "before": [SLUGS[0]], "parts": parts}
    (tmp_path / teaching.PLANS).write_text(yaml.safe_dump({"mine": plan}))
    with pytest.raises(teaching.PlanError, match=sentence):
        teaching.plan_rows("mine", tmp_path)
    with pytest.raises(teaching.PlanError, match="choose mine"):
        teaching.plan_rows("other", tmp_path)


def test_a_lesson_says_what_it_needs():
    assert teaching.needs("14_rotations") == ["07", "08", "09"]
    assert teaching.needs("00_start-here") == []
    assert all(teaching.needs(slug) for slug in SLUGS[1:])


def test_a_chapter_before_what_it_needs_is_refused(tmp_path):
    parts = [{"when": 1, "lessons": ["07_outliers"], "exercises": {}, "ask": "Why?"}]
    plan = {"called": "Week", "before": [SLUGS[1]], "parts": parts}
    (tmp_path / teaching.PLANS).write_text(yaml.safe_dump({"mine": plan}))
    with pytest.raises(teaching.PlanError, match="mine: 07_outliers needs 04 before"):
        teaching.plan_rows("mine", tmp_path)
    plan["before"].append(SLUGS[4])
    (tmp_path / teaching.PLANS).write_text(yaml.safe_dump({"mine": plan}))
    assert len(teaching.plan_rows("mine", tmp_path)) == 2


@pytest.mark.parametrize("slug", SLUGS)
def test_every_chapter_has_outcomes_that_something_tests(slug):
    found = teaching.outcomes(slug)
    assert 3 <= len(found) <= 5
    assert len({outcome.can for outcome in found}) == len(found)
    page = (ROOT / "book" / "teach" / "outcomes.md").read_text("utf-8")
    assert f"{{outcomes}} {slug}\n" in page


@pytest.mark.parametrize("slug", SLUGS)
def test_every_question_tests_an_outcome(slug):
    tests = {test.text for o in teaching.outcomes(slug) for test in o.tests}
    master = load_master(next(p for p in masters() if p.stem == slug))
    asked = {f"question {question.heading}" for question in master.questions}
    assert asked == {text for text in tests if text.startswith("question")}


@pytest.mark.parametrize(
    ("tested_by", "sentence"),
    [
        ([], "nothing tests"),
        ([9], "has no exercise 9"),
        (["09-none"], "no item '09-none'"),
        (["10-one-sign"], "is about chapter 10_awq"),
    ],
)
def test_an_outcome_without_a_test_is_refused(tmp_path, tested_by, sentence):
    written = {"09_gptq": [{"can": "write GPTQ", "tested_by": tested_by}]}
    (tmp_path / teaching.OUTCOMES).write_text(yaml.safe_dump(written))
    with pytest.raises(teaching.PlanError, match=sentence):
        teaching.outcomes("09_gptq", tmp_path)
    with pytest.raises(teaching.PlanError, match="no outcomes of 10_awq"):
        teaching.outcomes("10_awq", tmp_path)
