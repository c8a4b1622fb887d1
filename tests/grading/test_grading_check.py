"""What a failed check says, and what it refuses."""

import numpy as np
import pytest
import torch

from course_utils.grading.check import (
    expect_close,
    expect_equal,
    expect_raises,
    failure,
    run_checks,
)

HINT = "Is your range widened to hold 0?"


def message(call):
    with pytest.raises(AssertionError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (1.0, 1.0 + 5e-7),
        (np.float32(0.1), 0.1),
        (torch.tensor([1.0, 2.0]), [1.0, 2.0]),
        (torch.tensor([1.0, 2.0], dtype=torch.bfloat16), np.array([1.0, 2.0])),
        ([1, 2], (1, 2)),
        (float("nan"), float("nan")),
        (float("inf"), float("inf")),
        (True, np.True_),
    ],
)
def test_equal_numbers_pass_whatever_holds_them(got, expected):
    expect_close(got, expected, HINT)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (1.0, 1.001),
        (float("nan"), 1.0),
        (1.0, float("nan")),
        (float("inf"), float("-inf")),
        ([1.0, 2.0], [1.0, 2.1]),
        ([1.0], 1.0),
        (np.ones((2, 3)), np.ones((3, 2))),
        (None, 1.0),
        ("1.0", 1.0),
        ({"a": 1}, 1.0),
        ([1.0, [2.0]], [1.0, 2.0]),
        (object(), 1.0),
        (lambda: 1.0, 1.0),
    ],
)
def test_other_values_fail_with_the_hint_first(got, expected):
    assert message(lambda: expect_close(got, expected, HINT)).startswith(HINT)


def test_tolerance_is_the_one_asked_for():
    expect_close(1.05, 1.0, HINT, atol=0.06)
    message(lambda: expect_close(1.05, 1.0, HINT, atol=0.04))
    expect_close(105.0, 100.0, HINT, rtol=0.06)


def test_a_difference_is_placed():
    got, expected = np.zeros((2, 3)), np.zeros((2, 3))
    got[1, 0], got[1, 2] = 5.0, 7.0
    said = message(lambda: expect_close(got, expected, HINT))
    assert "expected 0\n" in said
    assert "got      5\n" in said
    assert "first difference at index (1, 0); 2 of 6 values differ" in said


def test_none_and_shape_are_said_in_words():
    assert "does your function return a value?" in message(
        lambda: expect_close(None, 1.0, HINT)
    )
    said = message(lambda: expect_close(np.zeros(3), 0.0, HINT))
    assert "expected a single number" in said
    assert "the shape (3,)" in said


def test_small_integers_do_not_wrap():
    expect_equal(np.array([250], dtype=np.uint8), [250], HINT)
    message(lambda: expect_equal(np.array([250], dtype=np.uint8), [-6], HINT))


@pytest.mark.parametrize(
    ("got", "expected"),
    [("a", "b"), (1.0, "1.0"), (["a"], ["b"]), (("a",), ["a"]), (1, 2)],
)
def test_expect_equal_tells_apart(got, expected):
    assert HINT in message(lambda: expect_equal(got, expected, HINT))


def test_expect_equal_accepts_the_same():
    for value in ("a", ["a", "b"], None, 3, [1, 2], np.arange(3), True, float("nan")):
        expect_equal(value, value, HINT)
    message(lambda: expect_equal(1.0 + 1e-12, 1.0, HINT))


def test_expect_raises_wants_this_error():
    def bad():
        raise TypeError("no")

    expect_raises(TypeError, bad, HINT)
    assert "TypeError: no" in message(lambda: expect_raises(ValueError, bad, HINT))
    assert "got      4" in message(lambda: expect_raises(ValueError, lambda: 4, HINT))


def check_two(f):
    """Twice two is four."""
    expect_close(f(2), 4, "Did you double?")


def check_three(f):
    """Twice three is six."""
    expect_close(f(3), 6, "Did you add two?")


def test_run_checks_prints_a_line_each(capsys):
    run_checks(lambda x: 2 * x, check_two, check_three)
    assert capsys.readouterr().out == (
        "passed  Twice two is four.\npassed  Twice three is six.\n"
    )


def test_run_checks_runs_all_and_names_the_failed(capsys):
    said = message(lambda: run_checks(lambda x: x + 2, check_two, check_three))
    assert "1 of 2 checks" in said
    assert "check_three: Did you add two?" in said
    assert "check_two" not in said
    assert "FAILED  Twice three is six." in capsys.readouterr().out


def not_written(x):
    raise NotImplementedError


def broken(x):
    return x / 0


def test_failures_say_whose_they_are():
    assert failure(not_written, check_two) == "not written yet."
    assert failure(broken, check_two).startswith(
        "your function raised ZeroDivisionError"
    )
    assert "x / 0" in failure(broken, check_two)

    def check_pair(f):
        _a, _b = f(1)

    assert failure(abs, check_pair).startswith("what your function returned")
    assert failure(4, check_two).startswith("Pass the function itself")
