"""Drawn cases: reliable ones, that find wrong answers and tell nobody the input."""

import re

import numpy as np
import pytest
import torch

from course_utils.assignment import cases, draw
from course_utils.assignment.compare import same
from course_utils.assignment.perturb import perturbed
from course_utils.grading import check as checking
from course_utils.grading.gate import prepare
from course_utils.grading.questions import load_master, masters

SECRET = b"0123456789abcdef"


def rng(*labels):
    return draw.rng(SECRET, *labels)


def trial_of(slug, number):
    master = load_master(next(p for p in masters() if p.stem == slug))
    return prepare(master.questions[number - 1], master.shared)


@pytest.fixture(scope="module")
def gptq():
    enabled = torch.is_grad_enabled()
    yield trial_of("09_gptq", 3)
    torch.set_grad_enabled(enabled)


def messages(source, trial, drawn):
    subject = cases.function_of(source, trial)
    return [checking.failure(subject, check) for check in drawn]


def test_draws_follow_from_secret_and_labels():
    assert rng("a", "b").integers(2**60) == rng("a", "b").integers(2**60)
    others = [("a", "c"), ("ab",), ("a", "b", ""), ("b", "a")]
    numbers = {rng(*labels).integers(2**60) for labels in [("a", "b"), *others]}
    numbers.add(draw.rng(b"another secret", "a", "b").integers(2**60))
    assert len(numbers) == 6


@pytest.mark.parametrize("text", [b"", b"short", b"  \n" * 20, b"x" * 5000])
def test_a_poor_secret_is_refused(tmp_path, text):
    (tmp_path / "secret").write_bytes(text)
    with pytest.raises(ValueError, match="openssl rand"):
        draw.read_secret(tmp_path / "secret")


@pytest.mark.parametrize(
    "value",
    [
        2.5,
        b"\x01\x02\x03\x04\x05\x06\x07\x08",
        [1, 2, 3, 4, 5, 6, 7, 8],
        (0.5, [1.5]),
        {"a": 1.5},
        np.linspace(1, 2, 6, dtype=np.float32).reshape(2, 3),
        np.arange(8, dtype=np.uint8),
        torch.linspace(1, 2, 6).to(torch.bfloat16),
        torch.arange(8),
    ],
)
def test_an_argument_is_moved_and_keeps_its_kind(value):
    moved = perturbed(value, rng("x"))
    assert type(moved) is type(value)
    assert not same(moved, value)
    for name in ("dtype", "shape"):
        assert getattr(moved, name, None) == getattr(value, name, None)
    assert same(perturbed(value, rng("x"), by=1e-9), value)


@pytest.mark.parametrize("value", [3, True, None, "text", torch.float16])
def test_what_says_how_is_not_moved(value):
    assert perturbed(value, rng("x")) is value


def test_a_symmetric_matrix_stays_positive_definite():
    x = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    h = (2 * x @ x.T).double()
    h = (h + h.T) / 2
    moved = perturbed(h, rng("x"))
    assert not torch.allclose(moved, h)
    assert torch.equal(moved, moved.T)
    assert torch.linalg.eigvalsh(moved).min() > 0


@pytest.mark.parametrize(
    ("got", "want", "equal"),
    [
        (1.0, 1.00005, True),
        (1.0, 1.0005, False),
        ([1, 2], np.array([1.0, 2.0]), True),
        (torch.tensor([1e-9, 1.0]), [0.0, 1.0], True),
        (torch.tensor([[1.0]]), [1.0], False),
        (float("nan"), float("nan"), True),
        (float("inf"), float("-inf"), False),
        (0.0, float("nan"), False),
        (None, None, True),
        (0, None, False),
        ("a", "a", True),
        (b"a", "a", False),
        ("1", 1, False),
        ((1, None), (1, None), True),
        ((1,), (1, None), False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"b": 1}, False),
        (object(), 1.0, False),
        ([[1], [2, 3]], [[1], [2, 3]], True),
        (10**400, 1.0, False),
    ],
)
def test_same(got, want, equal):
    assert same(got, want) is equal


def test_cases_are_new_right_for_all_right_answers_and_stable(gptq):
    calls = cases.recorded(gptq)
    drawn = cases.drawn(gptq, calls, rng("s1"))
    assert len(drawn) == cases.CASES
    old = {str(call.message) for call in calls}
    assert not old & {str(case.message) for case in drawn}
    checks = cases.checks(gptq, drawn)
    for right in (gptq.question.reference, *(a.source for a in gptq.question.right)):
        assert messages(right, gptq, checks) == [None] * len(drawn)
    assert all(messages(gptq.question.stub, gptq, checks))
    again = cases.drawn(gptq, calls, rng("s1"))
    assert [c.message for c in again] == [c.message for c in drawn]
    others = cases.drawn(gptq, calls, rng("s2"))
    assert [c.message for c in others] != [c.message for c in drawn]


def test_a_case_at_a_tie_is_not_kept():
    """Rounding of exact halves depends on the last digit of the input."""
    trial = trial_of("09_gptq", 3)
    W = torch.full((1, 4), 0.5)
    tie = cases.Call.of([W, torch.eye(4), 1.0, 0, 15], {})
    functions = [cases.function_of(trial.question.reference, trial)]
    assert not cases._reliable(tie, functions, rng("x"))
    clear = cases.Call.of([W + 0.2, torch.eye(4), 1.0, 0, 15], {})
    assert cases._reliable(clear, functions, rng("x"))


def test_a_wrong_answer_hears_its_own_hint_and_no_input(gptq):
    drawn = cases.drawn(gptq, cases.recorded(gptq), rng("s1"))
    checks = cases.checks(gptq, drawn)
    own = 0
    for answer in gptq.question.wrong:
        said = {m for m in messages(answer.source, gptq, checks) if m}
        own += answer.hint in said
        assert said <= {a.hint for a in gptq.question.wrong} | {cases.HINT}
    assert own >= 2
    nothing = "def gptq(W, U, scale, zero, qmax):\n    return W * 0 + 7"
    said = set(messages(nothing, gptq, checks))
    assert said == {cases.HINT}
    assert not re.search(r"\d", cases.HINT)


def test_most_named_wrong_answers_of_the_book_fail_drawn_cases():
    """The published checks catch all; drawn cases alone should catch most."""
    killed = total = 0
    for path in masters():
        if path.stem[:2] not in {"00", "02", "09", "12"}:
            continue
        master = load_master(path)
        for question in (q for q in master.questions if q.reference):
            trial = prepare(question, master.shared)
            drawn = cases.drawn(trial, cases.recorded(trial), rng(path.stem))
            checks = cases.checks(trial, drawn)
            total += len(question.wrong)
            killed += sum(
                any(messages(a.source, trial, checks)) for a in question.wrong
            )
    assert total > 50
    assert killed / total > 0.7
