"""Draw hidden cases for a question: new inputs, with what the reference makes of them.

The inputs come from the question's own checks: every call that they make is recorded,
and its arguments are moved a little. A case is kept only if it can be relied on:

    the reference and every other right answer agree on it, and none raises
    inputs that differ in the sixth digit give the same answer, so that no correct
    program is refused for the order of its sums

What a student hears of a failed case is a hint and no input. If their answer is the
one that a named wrong answer gives, the hint is that one's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from course_utils.assignment.compare import same
from course_utils.assignment.perturb import perturbed
from course_utils.grading import check as checking
from course_utils.grading.gate import Trial
from course_utils.grading.sandbox import wire

CASES = 6
# A case that takes this many numbers costs more time than it finds.
MOST_NUMBERS = 100_000
DRAWN_A_CASE, TRIES_A_CASE = 2, 12
TINY, NEIGHBOURS = 1e-6, 4
HINT = "A case that is not shown comes out differently. Which inputs did you not try?"
Function = Callable[..., Any]


@dataclass(frozen=True)
class Call:
    """Arguments of a call, as a message; each use gets values of its own."""

    message: dict

    @classmethod
    def of(cls, args: Sequence[Any], kwargs: dict[str, Any]) -> "Call":
        """Raises: WireError for an argument that cannot leave a process."""
        return cls(wire.encode({"args": list(args), "kwargs": kwargs}))

    def values(self) -> tuple[list, dict]:
        """Return the arguments anew."""
        found = wire.decode(self.message, inside=True)
        return found["args"], found["kwargs"]

    def on(self, function: Function) -> Any:
        """Call `function` with arguments of its own."""
        args, kwargs = self.values()
        # Wrong answers divide by 0, and nobody here wants to read of it.
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    def moved(self, rng: np.random.Generator, **by: float) -> "Call":
        """Return the call with its arguments moved."""
        args, kwargs = self.values()
        with np.errstate(all="ignore"):
            return Call.of(perturbed(args, rng, **by), perturbed(kwargs, rng, **by))

    def size(self) -> int:
        """Return how many characters the arguments take as a message."""
        return len(str(self.message))


def recorded(trial: Trial) -> list[Call]:
    """Return the calls that the checks of a question make, each once.

    A call with a function or a model among its arguments is left out.
    """
    calls: dict[str, Call] = {}
    answer = function_of(trial.question.reference, trial)

    def recording(*args: Any, **kwargs: Any) -> Any:
        try:
            call = Call.of(args, kwargs)
            calls.setdefault(str(call.message), call)
        except wire.WireError:
            pass
        return answer(*args, **kwargs)

    for check in trial.visible + trial.further:
        if message := checking.failure(recording, check):
            raise ValueError(f"{trial.question.heading}: {message}")
    return list(calls.values())


def function_of(source: str, trial: Trial) -> Function:
    """Return the function that an answer of ours defines."""
    names = dict(trial.names)
    exec(compile(source, "answer", "exec"), names)
    return names[trial.question.function]


def drawn(
    trial: Trial, calls: list[Call], rng: np.random.Generator, n: int = CASES
) -> list[Call]:
    """Return up to `n` cases that can be relied on, no two alike.

    More are drawn than are kept: first those that tell a named wrong answer from the
    reference which none before them did.

    Args:
        trial: The question.
        calls: What to start from, of `recorded`.
        rng: Decides the cases.
        n: How many are wanted.
    """
    question = trial.question
    right = [
        function_of(source, trial)
        for source in (question.reference, *(a.source for a in question.right))
    ]
    wrong = [function_of(answer.source, trial) for answer in question.wrong]
    small = [call for call in calls if call.size() <= MOST_NUMBERS]
    found: dict[str, Call] = {}
    for _ in range(TRIES_A_CASE * n if small else 0):
        if len(found) == DRAWN_A_CASE * n:
            break
        case = small[rng.integers(len(small))].moved(rng)
        if _reliable(case, right, rng):
            found.setdefault(str(case.message), case)
    told = [(case, _told_apart(case, right[0], wrong)) for case in found.values()]
    return _telling(told, n)


def _told_apart(case: Call, right: Function, wrong: list[Function]) -> set[int]:
    """Return the numbers of the wrong answers that a case tells from the right one."""
    want = case.on(right)
    return {i for i, function in enumerate(wrong) if not _gives(case, function, want)}


def _gives(case: Call, function: Function, want: Any) -> bool:
    """Return whether an answer of ours gives `want`; one that raises does not."""
    try:
        return same(case.on(function), want)
    except Exception:
        return False


def _telling(told: list[tuple[Call, set[int]]], n: int) -> list[Call]:
    """Return `n` cases: each time the one that tells most that is not told yet."""
    chosen, left, known = [], list(told), set()
    while left and len(chosen) < n:
        best = max(left, key=lambda one: len(one[1] - known))
        left.remove(best)
        known |= best[1]
        chosen.append(best[0])
    return chosen


def _reliable(case: Call, functions: list[Function], rng: np.random.Generator) -> bool:
    """Return whether every right answer agrees on a case, and on one beside it."""
    try:
        want = case.on(functions[0])
        wire.encode(want)
        if not all(same(case.on(other), want) for other in functions[1:]):
            return False
        beside = [case.moved(rng, by=TINY) for _ in range(NEIGHBOURS)]
        return all(same(other.on(functions[0]), want) for other in beside)
    except Exception:
        return False  # Not a case: the question asks nothing about such inputs.


def checks(trial: Trial, cases: list[Call]) -> tuple[checking.Check, ...]:
    """Return one check for each case; see the module's docstring for its hint."""
    right = function_of(trial.question.reference, trial)
    wrong = [(function_of(a.source, trial), a.hint) for a in trial.question.wrong]

    def checking_of(case: Call, number: int) -> checking.Check:
        def check(function: Function) -> None:
            """Compare with the reference, on a case that is not shown."""
            got = case.on(function)
            if not same(got, case.on(right)):
                raise AssertionError(_hint(case, got, wrong))

        check.__name__ = f"check_drawn_{number}"
        return check

    return tuple(checking_of(case, i + 1) for i, case in enumerate(cases))


def _hint(case: Call, got: Any, wrong: list[tuple[Function, str]]) -> str:
    """Return the hint of the wrong answer that gives the same, or the general one."""
    return next((h for f, h in wrong if h and _gives(case, f, got)), HINT)
