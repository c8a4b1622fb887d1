"""Exercise notebooks: no solution in them, and checks that refuse the empty stub."""

import ast
import re

import pytest

from course_utils.authoring import notebook
from course_utils.authoring.project import Project
from course_utils.grading.questions import load_master

PROJECT = Project()
LONG_ENOUGH = 12
QUESTIONS = [
    pytest.param(path, question, id=f"{path.stem}-{question.number}")
    for path in PROJECT.exercises
    for question in load_master(path).questions
]
TESTED = [p for p in QUESTIONS if p.values[1].reference]
each_question = pytest.mark.parametrize(("path", "question"), QUESTIONS)
each_function = pytest.mark.parametrize(("path", "question"), TESTED)


def squeezed(text):
    return re.sub(r"\s+", "", text)


def body_lines(source):
    """Return the lines of every function body, docstrings and signatures left out."""
    lines = source.splitlines()
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            has_text = ast.get_docstring(node) is not None
            body = node.body[1:] if has_text else node.body
            for statement in body:
                found += lines[statement.lineno - 1 : statement.end_lineno]
    return {squeezed(line) for line in found if len(squeezed(line)) >= LONG_ENOUGH}


def exercise_text(path):
    nb = notebook.read(PROJECT.notebook("exercises", path.stem))
    return [squeezed(cell["source"]) for cell in nb["cells"]]


@each_function
def test_no_line_of_a_solution_is_in_the_exercise(path, question):
    master = load_master(path)
    # A line that the reader is given anyway is no secret.
    given = [master.intro, master.shared]
    given += [q.statement + q.stub + q.checks for q in master.questions if q.reference]
    given += [q.statement for q in master.questions]
    shown = squeezed("\n".join(given))
    secret = {line for line in body_lines(question.reference) if line not in shown}
    text = "\n".join(exercise_text(path))
    assert [line for line in sorted(secret) if line in text] == []


@each_question
def test_no_answer_is_in_the_exercise(path, question):
    text = "\n".join(exercise_text(path))
    kept_back = [question.answer, question.rubric, question.further]
    kept_back += [attempt.source for attempt in (*question.wrong, *question.right)]
    lines = {squeezed(line) for part in kept_back for line in part.splitlines()}
    stub = question.stub if question.reference else ""
    given = squeezed(question.statement + stub + question.checks)
    long = {x for x in lines if len(x) >= 2 * LONG_ENOUGH and x not in given}
    assert [line for line in sorted(long) if line in text] == []


@each_function
def test_the_exercise_holds_statement_stub_and_checks(path, question):
    cells = exercise_text(path)
    assert squeezed(question.stub) in cells
    assert squeezed(question.checks) in "".join(cells)


def namespace_of(master, question):
    """Run what the reader runs before the checks, the stub included."""
    space = {}
    exec(master.shared, space)
    exec(question.stub, space)
    return space


@each_function
def test_every_visible_check_fails_on_the_stub(path, question):
    space = namespace_of(load_master(path), question)
    seen = []
    space["run_checks"] = lambda subject, *checks: seen.extend(
        (subject, check) for check in checks
    )
    # An import in the cell of checks must not bring the real run_checks back.
    exec(
        re.sub(r"^from .* import .*run_checks.*$", "", question.checks, flags=re.M),
        space,
    )
    assert seen, "the visible checks never call run_checks"
    passed = [check.__name__ for subject, check in seen if passes(check, subject)]
    assert passed == []


@each_function
def test_the_cell_of_checks_fails_on_the_stub(path, question):
    space = namespace_of(load_master(path), question)
    with pytest.raises((AssertionError, NotImplementedError)):
        exec(question.checks, space)


@each_function
def test_the_cell_of_checks_passes_on_the_reference(path, question, capsys):
    space = {}
    exec(load_master(path).shared, space)
    exec(question.reference, space)
    exec(question.checks, space)
    assert "passed" in capsys.readouterr().out


def passes(check, subject):
    try:
        check(subject)
    except Exception:
        return False
    return True
