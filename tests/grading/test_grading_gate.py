"""The gate on toy questions, each with one fault, and the children it runs."""

import os
import time
from dataclasses import replace

import pytest

from course_utils.grading.gate import gate
from course_utils.grading.isolate import EXTRA_MEMORY, run_isolated
from course_utils.grading.questions import Attempt, MasterError, Question

SHARED = "from course_utils.grading.check import expect_close, run_checks"
CHECKS = '''
def check_sum(step):
    """A plain case."""
    expect_close(step(0.0, 3.0, 2), 1.0, "Count the gaps.")

def check_low(step):
    """The range starts below zero."""
    expect_close(step(-1.0, 2.0, 2), 1.0, "Subtract lo.")

run_checks(step, check_sum, check_low)
'''
FURTHER = '''
def check_other(step):
    """Another width."""
    expect_close(step(1.0, 15.0, 3), 2.0, "Other widths.")
'''


def attempt(name, body, hint=""):
    return Attempt(name, hint, f"def step(lo, hi, bits):\n    {body}")


GOOD = Question(
    number=1,
    kind="implement",
    title="step",
    statement="",
    reference=(
        'def step(lo, hi, bits):\n    """Step."""\n    return (hi - lo) / (2**bits - 1)'
    ),
    function="step",
    checks=CHECKS,
    further=FURTHER,
    wrong=(
        attempt("values", "return (hi - lo) / 2**bits", "Count the gaps."),
        attempt("low", "return hi / (2**bits - 1)", "Subtract lo."),
        attempt("half", "return (hi - lo) / 6", "Count the gaps. "),
    ),
    right=(attempt("other", "return -(lo - hi) / (2**bits - 1)"),),
)


def problems(**changes):
    return " ".join(gate(replace(GOOD, **changes), SHARED).problems)


def test_a_good_question_passes_but_for_the_shared_hint():
    third = replace(GOOD.wrong[2], hint="gaps")
    report = gate(replace(GOOD, wrong=(*GOOD.wrong[:2], third)), SHARED)
    assert report.problems == ()
    assert report.passed
    assert report.killed == report.mutants > 15
    assert (report.wrong_rejected, report.right_accepted) == (3, 1)


def test_weak_checks_let_mutants_live():
    weak = CHECKS.replace("-1.0, 2.0, 2), 1.0", "0.0, 9.0, 2), 3.0")
    report = gate(replace(GOOD, checks=weak, further=""), SHARED)
    assert "return hi / (2 ** bits - 1)" in {m.line for m in report.survivors}
    assert "no check notices the edit" in " ".join(report.problems)


def test_an_equivalent_edit_must_be_listed_and_stay_one():
    reference = GOOD.reference.replace("2**bits", "1 * 2**bits")
    lines = {m.line for m in gate(replace(GOOD, reference=reference), SHARED).survivors}
    assert "return (hi - lo) / (2 ** bits - 1)" in lines
    listed = dict.fromkeys(lines, "times one")
    report = gate(replace(GOOD, reference=reference, equivalent=listed), SHARED)
    assert not report.survivors
    assert report.equivalent == len(lines)
    assert "not a surviving edit: return 5" in problems(equivalent={"return 5": "old"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wrong": GOOD.wrong[:2]}, "2 wrong answers; at least 3"),
        ({"wrong": (GOOD.wrong[0],) * 3}, "share a hint"),
        ({"right": ()}, "0 alternative right answers"),
        ({"right": GOOD.wrong[:1]}, "'values' is refused"),
        ({"wrong": GOOD.right}, "'other' has no hint"),
        ({"wrong": (replace(GOOD.right[0], hint="x"),)}, "passes the visible checks"),
        (
            {"wrong": (replace(GOOD.wrong[1], hint="Wrong."),)},
            "first hears 'Subtract lo.",
        ),
        ({"wrong": (attempt("crash", "import os; os._exit(3)", "x"),)}, "crashes"),
        ({"reference": GOOD.reference.replace("- 1", "- 2")}, "the reference fails"),
        (
            {
                "checks": CHECKS.replace(
                    "expect_close(step(0.0, 3.0, 2)", "expect_close(1.0"
                )
            },
            "the empty answer passes check_sum",
        ),
    ],
)
def test_each_fault_is_named(changes, said):
    assert said in problems(**changes)


@pytest.mark.parametrize(
    "checks",
    [
        CHECKS.replace("run_checks(step, check_sum, check_low)", ""),
        CHECKS.replace("run_checks(step", "run_checks(other"),
        CHECKS + "\nprint(1)",
    ],
)
def test_a_check_cell_must_end_in_run_checks_on_the_function(checks):
    with pytest.raises(MasterError, match="run_checks"):
        gate(replace(GOOD, checks=checks), SHARED)


def hang():
    while True:
        pass


def eat():
    return [str(len(bytearray(2 * EXTRA_MEMORY)))]


def test_a_child_may_hang_or_eat_memory_without_harm():
    start = time.process_time()
    assert run_isolated(hang, seconds=0.5) is None
    assert run_isolated(eat, seconds=5) is None
    assert run_isolated(lambda: ["said"], seconds=5) == ["said"]
    # The parent waited; the work was the child's.
    assert time.process_time() - start < 2


def test_a_child_that_leaves_without_an_answer_did_not_end_well():
    assert run_isolated(lambda: os._exit(0), seconds=5) is None


def test_what_a_child_prints_or_changes_stays_there(capfd):
    box = []

    def task():
        print("loud")
        box.append(1)
        return []

    assert run_isolated(task, seconds=5) == []
    assert box == []
    assert capfd.readouterr().out == ""
