"""The gate: are the checks of a question good enough to judge a reader's answer?

    reference     passes every check
    stub          fails every visible check
    wrong         each named wrong answer fails a visible check, with its own hint
    right         every alternative passes everything
    mutants       each edit of the reference fails a check, or is listed as equivalent
    equivalent    each entry still names a mutant that no check can tell apart

A question that breaks one of these has a gap, and the report says which.
"""

import ast
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from course_utils.grading import check as checking
from course_utils.grading.isolate import run_isolated
from course_utils.grading.mutants import Mutant, mutants
from course_utils.grading.questions import Attempt, Master, MasterError, Question

LEAST_WRONG = 3
LEAST_RIGHT = 1


@dataclass(frozen=True)
class Report:
    """What the gate found for one question.

    Attributes:
        question: The heading, "2. Implement: ...".
        survivors: Mutants that pass every check and are not listed as equivalent.
        problems: One sentence per broken rule; empty if the question passes.
    """

    question: str
    mutants: int
    killed: int
    equivalent: int
    wrong_rejected: int
    right_accepted: int
    survivors: tuple[Mutant, ...]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no rule is broken."""
        return not self.problems


@dataclass(frozen=True)
class Trial:
    """A question made runnable: its checks, and the names they use.

    Attributes:
        seconds: Processor time that one solution may use.
        shared: Source of what stands above the question.
    """

    question: Question
    names: dict[str, object]
    visible: tuple[checking.Check, ...]
    further: tuple[checking.Check, ...]
    seconds: float = 60.0
    shared: str = ""

    def failures(
        self, source: str, checks: tuple[checking.Check, ...]
    ) -> list[str] | None:
        """Return the message of every failed check; None if the code crashes."""
        run = partial(self._run, source, checks, stop=False)
        return run_isolated(run, seconds=self.seconds)

    def passes(self, source: str) -> bool:
        """Return whether `source` passes every check, visible and further."""
        run = partial(self._run, source, self.visible + self.further, stop=True)
        return run_isolated(run, seconds=self.seconds) == []

    def _run(
        self, source: str, checks: tuple[checking.Check, ...], *, stop: bool
    ) -> list[str]:
        names = dict(self.names)
        exec(compile(source, "answer", "exec"), names)
        subject = names[self.question.function]
        messages = []
        for check in checks:
            if message := checking.failure(subject, check):
                messages.append(message)
                if stop:
                    break
        return messages


def gate(question: Question, shared: str = "") -> Report:
    """Judge the checks of one question by answers whose worth is known.

    Raises: MasterError if the checks cannot be run at all.
    """
    trial = prepare(question, shared)
    problems = _reference_problems(trial) + _stub_problems(trial)
    rejected, wrong_problems = _wrong(trial)
    accepted, right_problems = _right(trial)
    edits = mutants(question.reference)
    alive = [m for m in edits if trial.passes(m.source)]
    listed = question.equivalent
    survivors = tuple(m for m in alive if m.line not in listed)
    problems += wrong_problems + right_problems
    problems += [f"no check notices the edit: {m.line}" for m in survivors]
    problems += [
        f"listed as equivalent, but not a surviving edit: {line}"
        for line in sorted(set(listed) - {m.line for m in alive})
    ]
    return Report(
        question=question.heading,
        mutants=len(edits),
        killed=len(edits) - len(alive),
        equivalent=len(alive) - len(survivors),
        wrong_rejected=rejected,
        right_accepted=accepted,
        survivors=survivors,
        problems=tuple(problems),
    )


def gate_master(
    master: Master, progress: Callable[[Report, float], None] | None = None
) -> list[Report]:
    """Run the gate on every question that has code."""
    reports = []
    for question in master.questions:
        if question.reference:
            start = time.perf_counter()
            reports.append(gate(question, master.shared))
            if progress:
                progress(reports[-1], time.perf_counter() - start)
    return reports


def prepare(question: Question, shared: str = "") -> Trial:
    """Define the checks of a question and find out how long they take.

    Raises: MasterError if the visible checks do not end in `run_checks(...)`.
    """
    names: dict[str, object] = {"run_checks": checking.run_checks}
    exec(compile(shared, "shared", "exec"), names)
    trial = define(question, names, shared)
    start = time.perf_counter()
    trial.passes(question.reference)
    # Twenty times the reference: far beyond any answer that ends.
    return replace(trial, seconds=2.0 + 20.0 * (time.perf_counter() - start))


def define(question: Question, names: dict[str, object], shared: str) -> Trial:
    """Define the checks of a question among `names`, which `shared` has made."""
    visible = _define_visible(question, names)
    before = set(names)
    exec(compile(question.further, "further", "exec"), names)
    further = [n for n in names if n not in before and n.startswith("check_")]
    return Trial(
        question, names, visible, tuple(names[n] for n in further), shared=shared
    )


def _define_visible(
    question: Question, names: dict[str, object]
) -> tuple[checking.Check, ...]:
    """Run a check cell without its last line; return the checks that line names."""
    tree = ast.parse(question.checks)
    calls = [node for node in tree.body if _is_run_checks(node)]
    if len(calls) != 1 or tree.body[-1] is not calls[0]:
        raise MasterError(
            f"{question.heading}: the checks must end in one run_checks(...) line."
        )
    subject, *checks = (ast.unparse(a) for a in calls[0].value.args)
    if subject != question.function:
        raise MasterError(
            f"{question.heading}: run_checks tests {subject}, "
            f"but the reader writes {question.function}."
        )
    tree.body.pop()
    exec(compile(tree, "checks", "exec"), names)
    return tuple(names[check] for check in checks)


def _is_run_checks(node: ast.stmt) -> bool:
    """Return whether a statement is a call of run_checks."""
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) == "run_checks"


def _reference_problems(trial: Trial) -> list[str]:
    """Say which checks the reference fails."""
    failed = trial.failures(trial.question.reference, trial.visible + trial.further)
    if failed is None:
        return ["the reference crashes"]
    return [f"the reference fails a check: {text}" for text in failed]


def _stub_problems(trial: Trial) -> list[str]:
    """Say which visible checks an empty answer passes."""
    return [
        f"the empty answer passes {check.__name__}"
        for check in trial.visible
        if trial.failures(trial.question.stub, (check,)) == []
    ]


def _wrong(trial: Trial) -> tuple[int, list[str]]:
    """Count the wrong answers that fail with their own hint; say which do not."""
    wrong = trial.question.wrong
    problems = [p for attempt in wrong if (p := _wrong_problem(trial, attempt))]
    rejected = len(wrong) - len(problems)
    if len(wrong) < LEAST_WRONG:
        problems.append(f"{len(wrong)} wrong answers; at least {LEAST_WRONG}")
    if len({a.hint for a in wrong}) < len(wrong):
        problems.append("two wrong answers share a hint")
    return rejected, problems


def _wrong_problem(trial: Trial, attempt: Attempt) -> str:
    """Say what is missing from the rejection of one wrong answer; "" if nothing."""
    if not attempt.hint:
        return f"the wrong answer {attempt.name!r} has no hint"
    failed = trial.failures(attempt.source, trial.visible)
    if failed is None:
        return (
            f"the wrong answer {attempt.name!r} crashes; it should be wrong, not broken"
        )
    if not failed:
        return f"the wrong answer {attempt.name!r} passes the visible checks"
    if attempt.hint not in " ".join(failed[0].split()):
        return f"the wrong answer {attempt.name!r} first hears {failed[0]!r}"
    return ""


def _right(trial: Trial) -> tuple[int, list[str]]:
    """Count the alternatives that pass everything; say which do not."""
    right = trial.question.right
    problems = []
    for attempt in right:
        failed = trial.failures(attempt.source, trial.visible + trial.further)
        if failed != []:
            problems.append(f"the right answer {attempt.name!r} is refused: {failed}")
    accepted = len(right) - len(problems)
    if len(right) < LEAST_RIGHT:
        problems.append(
            f"{len(right)} alternative right answers; at least {LEAST_RIGHT}"
        )
    return accepted, problems
