"""What a feedback page may tell: hostile code learns no hidden input from it."""

import json
import re

import pytest

from course_utils.assignment import one, plan, report
from course_utils.assignment.plan import Plan
from course_utils.assignment.results import RESULTS, Asked, write_asked
from course_utils.grading.sandbox.limits import Limits

FIRST, SECOND = "1. Implement: a", "2. Implement: b"
SECRET = "4242"
HINT = f"Try ties.\n    expected 1\n    got      {SECRET}"


def feedback_of(folder, *checks, submission="s1.ipynb", points=None):
    write_asked(folder, Asked("Week 1", "09_gptq", {FIRST: 1.0, SECOND: 1.0}))
    line = {
        "submission": submission,
        "student": "",
        "sha256": "a",
        "error": "",
        "points": points or {FIRST: 0.0, SECOND: 0.0},
        "checks": list(checks),
        "answers": {},
        "remarks": [],
        "seconds": 0.1,
        "checks_sha256": "",
    }
    (folder / RESULTS).write_text(json.dumps(line) + "\n")
    report.write(folder, say=lambda _: None)
    return next((folder / "feedback").glob("*.html")).read_text("utf-8")


def failed(message, question=SECOND, *, hidden=False):
    return {
        "question": question,
        "check": "check_it",
        "message": message,
        "hidden": hidden,
    }


@pytest.mark.parametrize(
    "message",
    [
        HINT,
        f"your function raised ValueError: {SECRET} at `raise`",
        f"your function raised RuntimeError: a\n{SECRET}",
        f"what your function returned could not be used (TypeError: {SECRET})",
    ],
)
@pytest.mark.parametrize("question", [FIRST, SECOND])
def test_a_check_behind_a_hidden_one_tells_its_hint_only(tmp_path, message, question):
    before = failed("", FIRST, hidden=True)
    assert SECRET in feedback_of(tmp_path, failed(message, question))
    assert SECRET in feedback_of(tmp_path, failed(message, question), before)
    text = feedback_of(tmp_path, before, failed(message, question))
    assert SECRET not in text
    assert "not in your notebook" not in text
    assert message[:9] in text


SPY = """
seen = []

def output_loss(*args, **kwargs):
    seen.append(repr(args)[:100])
    raise ValueError("kept")

def fixed_at(*args, **kwargs):
    raise ValueError(f"STOLEN {len(seen)} " + seen[-1])
"""
STOLEN = re.compile(r"STOLEN (\d+)")


def test_a_real_submission_cannot_carry_inputs_to_a_later_check(tmp_path):
    made = Plan("A week", "09_gptq", (1, 2), (1.0, 1.0), "ab" * 16)
    cells = [{"cell_type": "code", "source": SPY}]
    data = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}).encode()
    line = one.grade_one("s1.ipynb", data, made, Limits())
    first, _ = made.questions()
    shown = len(plan.published(made.slug, first.number).visible)
    # Checks of the notebook come first, so they meet none of the other inputs.
    met = {
        hidden: {
            int(n)
            for check in line["checks"]
            if check["hidden"] is hidden
            for n in STOLEN.findall(check["message"])
        }
        for hidden in (False, True)
    }
    assert met[False] == {shown}
    assert min(met[True]) > shown
    asked = plan.checked(made).asked()
    write_asked(tmp_path, asked)
    kept = line | {"checks_sha256": asked.fingerprint}
    (tmp_path / RESULTS).write_text(json.dumps(kept) + "\n")
    report.write(tmp_path, say=lambda _: None)
    text = (tmp_path / "feedback" / "s1.html").read_text("utf-8")
    assert "your function raised ValueError." in text
    assert {int(n) for n in STOLEN.findall(text)} == {shown}


def test_half_a_character_stops_no_page(tmp_path):
    text = feedback_of(
        tmp_path, failed("your function raised ValueError: \ud800"), submission="\udce9"
    )
    assert "raised ValueError: ?" in text
    assert (tmp_path / "summary.html").exists()
