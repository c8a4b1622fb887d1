"""The gate on every exercise master, and the published table of its counts."""

import json
import os
import subprocess
import sys

import pytest

from course_utils.grading import kills
from course_utils.grading.questions import load_master, masters
from course_utils.paths import ROOT

QUESTIONS = [
    (path.stem, q.heading) for path in masters() for q in load_master(path).questions
]
CODED = [
    (path.stem, q.heading)
    for path in masters()
    for q in load_master(path).questions
    if q.reference
]


@pytest.fixture(scope="session")
def judged():
    """Run in a process of its own: forks of it meet no threads of other tests."""
    # The numbers are so small that more threads would only wait for each other.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "course_utils.grading", "gate", "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert run.returncode in (0, 1), run.stderr[-2000:]
    return json.loads(run.stdout)


@pytest.mark.parametrize(("slug", "heading"), CODED)
def test_the_checks_of_a_question_have_no_gap(judged, slug, heading):
    report = next(r for r in judged["reports"][slug] if r["question"] == heading)
    assert report["problems"] == []
    assert report["mutants"] >= 10  # with fewer, little was tried
    assert report["killed"] + report["equivalent"] == report["mutants"]


def test_the_table_of_kills_is_today_s(judged):
    assert kills.read() == judged["rows"], (
        "book/measured/kills.json is stale; run "
        "`python -m course_utils.grading gate --write`."
    )


def test_every_chapter_has_four_to_six_questions_in_order():
    order = ["recall", "implement", "explain", "break"]
    for path in masters():
        kinds = [q.kind for q in load_master(path).questions]
        assert 4 <= len(kinds) <= 6
        assert [order.index(k) for k in kinds] == sorted(order.index(k) for k in kinds)


def test_every_stub_shows_no_line_of_its_solution():
    for path in masters():
        for question in load_master(path).questions:
            if not question.reference:
                continue
            body = question.reference.split('"""')[-1].strip().splitlines()
            told = [line.strip() for line in body if len(line.strip()) > 8]
            assert told
            assert not any(line in question.stub for line in told)


def test_every_explain_question_has_a_rubric_of_three_or_four_levels():
    for path in masters():
        for question in load_master(path).questions:
            if question.kind == "explain":
                rows = question.rubric.count("\n| ") + question.rubric.startswith("| ")
                assert rows - 1 in (3, 4)


def test_every_question_names_its_minutes():
    for path in masters():
        master = load_master(path)
        table = [line for line in master.intro.splitlines() if line.startswith("| ")][
            1:
        ]
        assert len(table) == len(master.questions)
        minutes = [int(line.strip("| ").split("|")[-1]) for line in table]
        assert sum(minutes) == master.minutes
        for line, question in zip(table, master.questions, strict=True):
            assert question.kind in line
            assert line.startswith(f"| {question.number}. ")
