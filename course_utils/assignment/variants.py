"""Other versions of a question: the same arguments, another thing to do with them.

    python -m course_utils.assignment.variants [SLUG ...]

says what is wrong with the versions of a chapter. They are in
`book/exercises/variants/NN_slug.md`, one `## ` section each, headed like the question
that it is a version of. Cells of a section, by tag:

    draw        NAME = [values]; one value of each is drawn, and stands above the stub
    reference   the solution, which uses the names; same function and parameters
    right       another solution
    wrong       a named wrong answer; its docstring ends in `Hint: ...`
    check       visible checks; without this cell, examples are made from the calls
                that the published checks make

Everything here is as public as the questions themselves. What is not public is which
version and which values a student gets.
"""

import ast
import itertools
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jupytext
import numpy as np

from course_utils.assignment import cases, examples
from course_utils.assignment.cases import Call
from course_utils.grading import check as checking
from course_utils.grading import gate
from course_utils.grading.gate import Trial
from course_utils.grading.questions import (
    HEADING,
    Attempt,
    MasterError,
    Question,
    attempt,
    function_in,
    load_master,
    masters,
    split,
)
from course_utils.paths import book_dir

TAGS = ("draw", "reference", "right", "wrong", "check")
LEAST_WRONG, LEAST_RIGHT, LEAST_CASES = 2, 1, 3
PUBLISHED = "This answers the published question. Yours differs: read its statement."


@dataclass(frozen=True)
class Variant:
    """One version of a question.

    Attributes:
        number: Of the question.
        choices: Name -> the values of which one is drawn.
        checks: Source of visible checks; "" where examples are made.
    """

    number: int
    title: str
    statement: str
    choices: dict[str, list]
    reference: str
    right: tuple[Attempt, ...]
    wrong: tuple[Attempt, ...]
    checks: str = ""

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """Return one value for each name."""
        return {k: v[rng.integers(len(v))] for k, v in self.choices.items()}


def variants_of(slug: str) -> list[Variant]:
    """Return the versions of a chapter's questions; none where it has no file.

    Raises: MasterError that names the file and the section.
    """
    path = book_dir() / "exercises" / "variants" / f"{slug}.md"
    return _read(path) if path.is_file() else []


@cache
def _read(path: Path) -> list[Variant]:
    notebook = jupytext.reads(path.read_text("utf-8"), fmt="md:myst")
    _, sections = split(notebook.cells, path.name)
    found = []
    for cells in sections:
        try:
            found.append(_variant(cells))
        except (MasterError, SyntaxError, ValueError) as error:
            heading = cells[0].source.partition("\n")[0]
            raise MasterError(f"variants/{path.name}, {heading}: {error}") from error
    return found


def _variant(cells: list) -> Variant:
    """Build one version from its cells."""
    first, _, rest = cells[0].source.partition("\n")
    if not (match := HEADING.match(first)):
        raise MasterError("the heading should read '## N. Implement: title'.")
    parts: dict[str, list[str]] = {tag: [] for tag in TAGS}
    statement = [rest.strip()]
    for cell in cells[1:]:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            statement.append(cell.source)
        elif len(tags) == 1 and tags[0] in TAGS:
            parts[tags[0]].append(cell.source)
        else:
            raise MasterError(f"a code cell has the tags {tags}; use one of {TAGS}.")
    if len(parts["reference"]) != 1:
        raise MasterError("it needs one reference cell.")
    return Variant(
        number=int(match[1]),
        title=match[3].strip(),
        statement="\n\n".join(statement).strip(),
        choices=_choices("\n".join(parts["draw"])),
        reference=parts["reference"][0],
        right=tuple(attempt(source) for source in parts["right"]),
        wrong=tuple(attempt(source) for source in parts["wrong"]),
        checks="\n\n".join(parts["check"]),
    )


def _choices(source: str) -> dict[str, list]:
    """Return the names and values of a draw cell."""
    found = {}
    for node in ast.parse(source).body:
        value = ast.literal_eval(node.value) if isinstance(node, ast.Assign) else None
        if not isinstance(value, list) or len(value) < 2:
            raise MasterError("a line of the draw cell is no NAME = [values].")
        found[ast.unparse(node.targets[0])] = value
    return found


def constants(values: dict[str, Any]) -> str:
    """Return the lines that define drawn values."""
    return "\n".join(f"{name} = {value!r}" for name, value in values.items())


def trial_of(
    variant: Variant, values: dict[str, Any], base: Trial, calls: list[Call]
) -> Trial:
    """Return a version as a question with visible checks, ready to run.

    Args:
        variant: The version.
        values: What was drawn for it.
        base: The published question.
        calls: Those that its checks make, of `cases.recorded`.

    Raises: MasterError where no example can be made.
    """
    published = Attempt("published", PUBLISHED, base.question.reference)
    question = Question(
        number=variant.number,
        kind=base.question.kind,
        title=variant.title,
        statement=variant.statement,
        reference=variant.reference,
        function=base.question.function,
        wrong=(*variant.wrong, published),
        right=variant.right,
    )
    names = base.names | values
    checks = variant.checks or examples.checks(question, names, base, calls)
    shared = f"{base.shared}\n\n{constants(values)}"
    return gate.define(replace(question, checks=checks), names, shared)


def problems(variant: Variant, base: Trial) -> list[str]:
    """Say what is wrong with a version; draws are tried at both ends of their lists."""
    found, calls = _static_problems(variant, base), cases.recorded(base)
    ends = [(v[0], v[-1]) for v in variant.choices.values()]
    for values in itertools.product(*ends):
        drawn = dict(zip(variant.choices, values, strict=True))
        try:
            trial = trial_of(variant, drawn, base, calls)
            own = cases.recorded(trial) if variant.checks else []
            more = _drawn_problems(trial, base, calls + own)
        except (MasterError, ValueError) as error:
            more = [str(error)]
        found += [f"{problem} (with {drawn})" for problem in more]
    return found


def _static_problems(variant: Variant, base: Trial) -> list[str]:
    """Say what can be seen without running anything."""
    ours = function_in(variant.reference)
    theirs = function_in(base.question.reference)
    names = [
        [a.arg for a in ast.walk(f.args) if isinstance(a, ast.arg)]
        for f in (ours, theirs)
    ]
    found = []
    if ours.name != theirs.name or names[0] != names[1]:
        found.append(f"the reference is no {theirs.name}({', '.join(names[1])})")
    if not ast.get_docstring(ours):
        found.append("the reference has no docstring")
    if len(variant.wrong) < LEAST_WRONG or not all(w.hint for w in variant.wrong):
        found.append(f"it needs {LEAST_WRONG} wrong answers, each with its hint")
    if len(variant.right) < LEAST_RIGHT:
        found.append("it needs another right answer")
    used = {n.id for n in ast.walk(ours) if isinstance(n, ast.Name)}
    found += [f"the reference uses no {n}" for n in variant.choices if n not in used]
    found += [
        f"the statement names no `{name}`"
        for name in variant.choices
        if f"`{name}`" not in variant.statement
    ]
    return found


def _drawn_problems(trial: Trial, base: Trial, calls: list[Call]) -> list[str]:
    """Say which answers the checks of a version misjudge."""
    chosen = cases.drawn(trial, calls, np.random.default_rng(0))
    hidden = cases.checks(trial, chosen)
    found = []
    if len(chosen) < LEAST_CASES and not trial.question.checks:
        found.append(f"only {len(chosen)} cases can be drawn")

    def failed(source: str, checks: tuple[checking.Check, ...]) -> list[str]:
        subject = cases.function_of(source, trial)
        return [m for check in checks if (m := checking.failure(subject, check))]

    every = trial.visible + hidden
    question = trial.question
    for name, source in (
        ("the reference", question.reference),
        *((f"the right answer {a.name!r}", a.source) for a in question.right),
    ):
        found += [f"{name} is refused: {message}" for message in failed(source, every)]
    for answer in question.wrong:
        if not failed(answer.source, every):
            found.append(f"the wrong answer {answer.name!r} passes")
    for answer in base.question.right:
        if not failed(answer.source, every):
            found.append(f"the published answer {answer.name!r} passes")
    if len(failed(question.stub, trial.visible)) < len(trial.visible):
        found.append("the empty answer passes a visible check")
    return found


def chapter_problems(slug: str) -> list[str]:
    """Say what is wrong with a chapter's versions, and which questions have none."""
    master = load_master(book_dir() / "exercises" / f"{slug}.md")
    found, numbers = [], set()
    for variant in variants_of(slug):
        base = next(q for q in master.questions if q.number == variant.number)
        numbers.add(base.number)
        where = f"{slug}, {variant.number}. {variant.title}"
        trial = gate.prepare(base, master.shared)
        found += [f"{where}: {p}." for p in problems(variant, trial)]
    found += [
        f"{slug}: {q.heading} has no other version."
        for q in master.questions
        if q.kind == "implement" and q.number not in numbers
    ]
    return found


def main(slugs: list[str]) -> int:
    """Print every problem; return the exit status."""
    found = [
        problem
        for slug in slugs or [path.stem for path in masters()]
        for problem in chapter_problems(slug)
    ]
    print("\n".join(found) or "Nothing is wrong.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
