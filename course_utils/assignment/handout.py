"""Write the notebook that is handed out: statements, stubs and visible checks.

It holds no solution, no further check and no drawn case. Its metadata names whom it
was made for, so that a notebook which comes back from someone else is noticed.
"""

import json

from course_utils.assignment.plan import Plan, master_of, shown_trial_of, version_of
from course_utils.assignment.variants import constants
from course_utils.authoring import colab
from course_utils.authoring.derive import PLACEHOLDER
from course_utils.authoring.project import Project
from course_utils.grading.questions import Question

KEY = "fewer_bits"
Cell = tuple[str, str, tuple[str, ...]]


def notebook(plan: Plan, who: str, project: Project, *, solved: bool = False) -> str:
    """Return the text of the notebook for `who`; with solutions if `solved`."""
    cells: list[Cell] = [
        ("markdown", _opening(plan, who), ()),
        ("code", colab.first_cell(project), colab.TAGS),
        ("code", master_of(plan.slug).shared, ()),
    ]
    for question in plan.questions():
        cells += _question(plan, question, who, solved=solved)
    return text_of(cells, {KEY: {"assignment": plan.title, "for": who}})


def _opening(plan: Plan, who: str) -> str:
    """Return the title, what counts, and how to hand in."""
    rows = "\n".join(
        f"| {version_title(plan, q, who)} | {plan.points_of(q.number):g} |"
        for q in plan.questions()
    )
    own = (
        "Numbers and versions of the questions are drawn for you. "
        "Work on this notebook and not on another student's.\n\n"
        if plan.drawn_for_each
        else ""
    )
    return (
        f"# {plan.title}\n\n{own}"
        "Write your function in place of the last line of a cell, run it, then run the "
        "cell of checks below it.\n"
        "More checks are run on what you hand in; each counts as much as one that you "
        "see.\n\n"
        f"| Question | Points |\n|---|---|\n{rows}"
    )


def version_title(plan: Plan, question: Question, who: str) -> str:
    """Return the heading of a question as `who` reads it."""
    variant = version_of(plan, question, who).variant
    title = variant.title if variant else question.title
    return f"{question.number}. {question.kind.capitalize()}: {title}"


def _question(plan: Plan, question: Question, who: str, *, solved: bool) -> list[Cell]:
    """Return the cells of one question."""
    version = version_of(plan, question, who)
    shown = version.variant or question
    points = plan.points_of(question.number)
    unit = "point" if points == 1 else "points"
    head = f"## {version_title(plan, question, who)}\n\n*{points:g} {unit}*\n\n"
    cells: list[Cell] = [("markdown", head + shown.statement, ())]
    if not question.reference:
        answer = question.answer if solved else PLACEHOLDER
        return [*cells, ("markdown", answer, ())]
    trial = shown_trial_of(plan, question, who)
    code = trial.question.reference if solved else trial.question.stub
    drawn = constants(version.values)
    cells.append(("code", f"{drawn}\n\n\n{code}" if drawn else code, ()))
    # The stub has not been filled in, so its checks fail, and are meant to.
    cells.append(("code", trial.question.checks, ("raises-exception",)))
    return cells


def text_of(cells: list[Cell], metadata: dict | None = None) -> str:
    """Return a notebook as the text of its file; the same cells give the same bytes."""
    found = []
    for number, (kind, source, tags) in enumerate(cells):
        cell = {
            "cell_type": kind,
            "id": f"cell-{number}",
            "metadata": {"tags": list(tags)} if tags else {},
            "source": source.strip("\n"),
        }
        code = {"execution_count": None, "outputs": []} if kind == "code" else {}
        found.append(cell | code)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    meta = {"kernelspec": kernel, "language_info": {"name": "python"}}
    body = {
        "cells": found,
        "metadata": meta | (metadata or {}),
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(body, indent=1) + "\n"
