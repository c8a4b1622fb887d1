"""Checks that a reader runs in a notebook, and that a grader can run elsewhere.

A check is a function that takes the reader's function, calls it, and compares what
comes back with plain values. It never looks inside the function, so the same check
works on a stand-in that sends the call to another process.

Each comparison carries a hint: the bug that most likely caused the difference. A
failure shows the hint, what was expected, what came, and the first index that
differs.

Left out: marks, time limits and isolation (the gate and the grader have those).
"""

import traceback
from collections.abc import Callable

import numpy as np

Check = Callable[[Callable], None]


def expect_close(
    got: object,
    expected: object,
    hint: str,
    atol: float = 1e-6,
    rtol: float = 1e-5,
) -> None:
    """Compare numbers: |got - expected| <= atol + rtol * |expected|.

    NaN equals NaN here, and nothing else.

    Shapes: any, the same for both.
    Raises: AssertionError with the hint, the values and the first index.
    """
    have, want = _numbers(got, hint), _numbers(expected, hint)
    _compare_shapes(have, want, hint)
    near = np.isclose(have, want, rtol=rtol, atol=atol, equal_nan=True)
    _report(have, want, ~near, hint)


def expect_equal(got: object, expected: object, hint: str) -> None:
    """Compare exactly: numbers, arrays, words, or lists of them.

    Raises: AssertionError with the hint, the values and the first index.
    """
    if isinstance(expected, (str, type(None))) or _holds_words(expected):
        if type(got) is not type(expected) or got != expected:
            raise AssertionError(_message(hint, expected, got))
        return
    have, want = _numbers(got, hint), _numbers(expected, hint)
    _compare_shapes(have, want, hint)
    both_nan = np.isnan(have) & np.isnan(want)
    _report(have, want, (have != want) & ~both_nan, hint)


def expect_raises(
    error: type[Exception], call: Callable[[], object], hint: str
) -> None:
    """Call `call` and accept only `error`.

    Raises: AssertionError with the hint if `call` returns or raises another error.
    """
    try:
        got = call()
    except error:
        return
    except NotImplementedError:
        raise
    except Exception as other:
        got = f"{type(other).__name__}: {other}"
    wanted = f"a {error.__name__}"
    raise AssertionError(f"{hint}\n    expected {wanted}\n    got      {_short(got)}")


def run_checks(subject: Callable, *checks: Check) -> None:
    """Run every check on `subject` and print one line for each.

    Raises: AssertionError that names the failed checks and their hints.
    """
    name = getattr(subject, "__name__", "your function")
    failed = {}
    for check in checks:
        message = failure(subject, check)
        print(f"{'FAILED' if message else 'passed'}  {_title(check)}")
        if message:
            failed[check.__name__] = message
    if failed:
        listing = "\n".join(f"- {check}: {text}" for check, text in failed.items())
        raise AssertionError(
            f"{len(failed)} of {len(checks)} checks of {name} failed.\n{listing}"
        ) from None


def failure(subject: Callable, check: Check) -> str | None:
    """Run one check and return its message, or None if it passes."""
    if not callable(subject):
        return f"Pass the function itself, not {_short(subject)}."
    try:
        check(subject)
    except AssertionError as error:
        return str(error) or "the check failed."
    except NotImplementedError:
        return "not written yet."
    except Exception as error:
        return _blame(error)
    return None


def _blame(error: Exception) -> str:
    """Say whether the reader's function failed, or the use of what it returned."""
    # Frame 0 is `failure`, frame 1 the check; anything deeper is the reader's code.
    frames = traceback.extract_tb(error.__traceback__)
    said = f"{type(error).__name__}: {error}"
    remote = getattr(error, "student_line", None)
    if remote is not None or len(frames) > 2:
        line = remote or next((f.line for f in frames[2:] if f.line), "")
        where = f" at `{line}`" if line else ""
        return f"your function raised {said}{where}"
    return f"what your function returned could not be used ({said})"


def _numbers(value: object, hint: str) -> np.ndarray:
    """Return numbers, lists, arrays and tensors as an array of numbers."""
    if value is None:
        raise AssertionError(
            f"{hint}\n    got None: does your function return a value?"
        )
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if "bfloat16" in str(value.dtype) else value
    try:
        array = np.asarray(value)
    except Exception:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        what = f"{_short(value)} of type {type(value).__name__}"
        raise AssertionError(f"{hint}\n    expected numbers, got {what}")
    # Booleans and small integers must not wrap around when they are subtracted.
    return array.astype(np.float64)


def _holds_words(value: object) -> bool:
    """Return True for a list or tuple that holds something other than numbers."""
    return isinstance(value, (list, tuple, set, dict)) and (
        np.asarray(value, dtype=object).size == 0
        or np.asarray(value).dtype.kind in "UO"
    )


def _compare_shapes(have: np.ndarray, want: np.ndarray, hint: str) -> None:
    """Refuse a result of another shape."""
    if have.shape != want.shape:
        raise AssertionError(
            f"{hint}\n    expected {_shape(want)}\n    got      {_shape(have)}"
        )


def _shape(array: np.ndarray) -> str:
    """Return the shape in words."""
    return f"the shape {array.shape}" if array.shape else "a single number"


def _report(have: np.ndarray, want: np.ndarray, apart: np.ndarray, hint: str) -> None:
    """Raise for the first index at which `apart` is true."""
    if not apart.any():
        return
    if not want.shape:
        raise AssertionError(_message(hint, want.item(), have.item()))
    index = tuple(int(i) for i in np.argwhere(apart)[0])
    place = index[0] if len(index) == 1 else index
    raise AssertionError(
        f"{_message(hint, want[index].item(), have[index].item())}\n"
        f"    first difference at index {place}; "
        f"{int(apart.sum())} of {apart.size} values differ"
    )


def _message(hint: str, expected: object, got: object) -> str:
    """Return the hint with both values below it."""
    return f"{hint}\n    expected {_short(expected)}\n    got      {_short(got)}"


def _short(value: object) -> str:
    """Return a value in at most 80 characters."""
    text = f"{value:.7g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _title(check: Check) -> str:
    """Return the first line of a check's docstring, or its name."""
    return (check.__doc__ or check.__name__).strip().splitlines()[0]
