"""Whose a submission is, what it says in words, and what is odd about it."""

import json

import pytest

from course_utils.assignment import one
from course_utils.assignment.plan import Plan, master_of
from course_utils.assignment.roster import Student
from course_utils.grading.sandbox.limits import Limits
from course_utils.grading.submission import SubmissionError, answers

SLUG = "09_gptq"
STUDENTS = tuple(map(Student, ("s1", "s12", "ann-b", "x_1", "a.b@uni.edu")))
MADE = Plan("A week", SLUG, (1,), (2.0,), "ab" * 16, STUDENTS)


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("s1.ipynb", "s1"),
        ("S12.ipynb", "s12"),
        ("miller_s1_4711_work.ipynb", "s1"),
        ("Ann B_8812_assignsubmission_file_/ann-b.ipynb", "ann-b"),
        ("s12/work.ipynb", "s12"),
        ("x_1-2.ipynb", "x_1"),
        ("a.b@uni.edu_late.ipynb", "a.b@uni.edu"),
    ],
)
def test_the_id_is_found_in_the_name(name, who):
    assert one.student_of(MADE, name) == who


@pytest.mark.parametrize("name", ["work.ipynb", "s123.ipynb", "as1.ipynb"])
def test_no_id_is_said(name):
    with pytest.raises(SubmissionError, match="holds no id"):
        one.student_of(MADE, name)


def test_two_ids_are_said():
    with pytest.raises(SubmissionError, match="the ids s1, s12"):
        one.student_of(MADE, "s1_s12.ipynb")


def test_without_a_roster_nobody_is_named():
    assert one.student_of(Plan("A", SLUG, (1,), (1.0,)), "s1.ipynb") == ""


def notebook(*cells, **metadata):
    found = [{"cell_type": kind, "source": source} for kind, source in cells]
    return {"cells": found, "metadata": metadata, "nbformat": 4}


def graded(name, *cells, **metadata):
    data = json.dumps(notebook(*cells, **metadata)).encode()
    return one.grade_one(name, data, MADE, Limits())


def test_a_notebook_of_somebody_else_is_remarked():
    own = {"fewer_bits": {"for": "s1"}}
    assert graded("s1.ipynb", **own)["remarks"] == []
    assert "handed out to 's1'" in graded("s12.ipynb", **own)["remarks"][0]
    for odd in ({}, {"fewer_bits": 3}, {"fewer_bits": {"for": ["x" * 1000]}}):
        (remark,) = graded("s1.ipynb", **odd)["remarks"]
        assert len(remark) < 150


def test_a_name_without_an_id_is_not_graded():
    line = graded("work.ipynb")
    assert "rename it to ID.ipynb" in line["error"]
    assert line["points"] == {}


def test_answers_are_what_stands_below_a_statement():
    question = next(q for q in master_of(SLUG).questions if not q.reference)
    statement, heading = question.statement, question.heading
    found = notebook(
        ("markdown", f"## {heading}\n\n*3 points*\n\n{statement}"),
        ("markdown", "Because it *scales*.\n\n### My heading\n\nMore."),
        ("code", "x = 1"),
        ("markdown", "And this."),
        ("markdown", "## Another heading\n\nNot this."),
    )
    text = answers(found, {heading: statement}, "*Your answer here.*")[heading]
    assert text == "Because it *scales*.\n\n### My heading\n\nMore.\n\nAnd this."
    found["cells"][1]["source"] = "*Your answer here.*"
    found["cells"][3]["source"] = ""
    assert answers(found, {heading: statement}, "*Your answer here.*")[heading] == ""
    assert answers(notebook(), {heading: statement}, "")[heading] == ""
    found["cells"][1]["source"] = "x" * 10**6
    assert len(answers(found, {heading: statement}, "")[heading]) == 20_000
