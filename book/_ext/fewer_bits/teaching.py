"""Directives of the instructor's pages: syllabi, and outcomes of a chapter.

    ```{syllabus} ten-weeks
    ```

writes the plan of that name in `book/teach/syllabi.yaml` as a table. Titles and minutes
come from the masters, so that a plan names chapters and question numbers and nothing
else. `{outcomes} 09_gptq` lists what the items of a chapter ask for.
"""

import re
from functools import cache
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from course_utils.exam import sections
from course_utils.paths import book_dir

from .tables import Row, table_of

PLANS = "syllabi.yaml"
MINUTES = re.compile(r"^minutes: (\d+)$", re.MULTILINE)
QUESTION = re.compile(r"^## (\d+\. \w+: .+)$", re.MULTILINE)
ASKED = re.compile(r"^\| (\d+)\. .+ \| (\d+) \|$", re.MULTILINE)


class PlanError(ValueError):
    """A plan that names what is not there; the message says where."""


def plan_rows(name: str, folder: Path | None = None) -> list[Row]:
    """Return a row for each part of a plan, and one of sums.

    Raises: PlanError for an unknown plan, chapter or question.
    """
    path = (folder or book_dir() / "teach") / PLANS
    plans = yaml.safe_load(path.read_text("utf-8"))
    if name not in plans:
        raise PlanError(f"there is no plan {name!r}; choose {', '.join(plans)}.")
    rows = []
    for part in plans[name]["parts"]:
        lessons = [str(slug) for slug in part["lessons"]]
        rows.append(
            {
                plans[name]["called"]: str(part["when"]),
                "Lessons": "; ".join(_titled(slug) for slug in lessons),
                "In class, min": sum(_lesson_minutes(slug) for slug in lessons),
                "Exercises": "; ".join(
                    f"{slug[:2]}: {', '.join(map(str, numbers))}"
                    for slug, numbers in part["exercises"].items()
                ),
                "Exercises, min": sum(
                    _question_minutes(slug, number)
                    for slug, numbers in part["exercises"].items()
                    for number in numbers
                ),
                "Stop and ask": part["ask"],
            }
        )
    sums = {key: sum(row[key] for row in rows) for key in rows[0] if "min" in key}
    return [*rows, dict.fromkeys(rows[0], "") | {plans[name]["called"]: "all"} | sums]


def chapters_of(name: str) -> list[str]:
    """Return the chapters of a plan, in its order."""
    path = book_dir() / "teach" / PLANS
    parts = yaml.safe_load(path.read_text("utf-8"))[name]["parts"]
    return [slug for part in parts for slug in part["lessons"]]


@cache
def _master(kind: str, slug: str) -> str:
    path = book_dir() / kind / f"{slug}.md"
    if not path.is_file():
        raise PlanError(f"there is no chapter {slug!r} in book/{kind}.")
    return path.read_text("utf-8")


def _titled(slug: str) -> str:
    _master("lessons", slug)
    return f"{slug[:2]} {sections.title(slug)}"


def _lesson_minutes(slug: str) -> int:
    return int(MINUTES.search(_master("lessons", slug))[1])


def _question_minutes(slug: str, number: int) -> int:
    """Return the minutes that the table of an exercise gives a question."""
    found = {int(n): int(m) for n, m in ASKED.findall(_master("exercises", slug))}
    if number not in found:
        raise PlanError(f"{slug} has no exercise {number}.")
    return found[number]


def outcomes(slug: str) -> list[tuple[str, int]]:
    """Return what a student can do after a chapter, and how many items ask for it."""
    path = book_dir() / "items" / f"{slug}.yaml"
    if not path.is_file():
        raise PlanError(f"there are no items of a chapter {slug!r}.")
    named = [item["objective"] for item in yaml.safe_load(path.read_text("utf-8"))]
    return [(text, named.count(text)) for text in dict.fromkeys(named)]


def exercises(slug: str) -> list[str]:
    """Return the headings of a chapter's exercises."""
    return QUESTION.findall(_master("exercises", slug))


class Syllabus(SphinxDirective):
    """Write a plan as a table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        self.env.note_dependency(str(book_dir() / "teach" / PLANS))
        try:
            rows = plan_rows(self.arguments[0])
        except PlanError as error:
            raise self.error(f"syllabus: {error}") from error
        return [table_of(rows, list(rows[0]))]


class Outcomes(SphinxDirective):
    """Write what a student can do after a chapter, and how it is tested."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a list and a sentence."""
        slug = self.arguments[0]
        try:
            found, asked = outcomes(slug), exercises(slug)
        except PlanError as error:
            raise self.error(f"outcomes: {error}") from error
        self.env.note_dependency(str(book_dir() / "items" / f"{slug}.yaml"))
        box = nodes.bullet_list()
        for text, n in found:
            count = f" ({n} items)" if n > 1 else ""
            box += nodes.list_item("", nodes.paragraph("", f"{text}{count}"))
        return [box, nodes.paragraph("", f"Exercises: {'; '.join(asked)}.")]


def setup(app: Sphinx) -> None:
    """Register the directives."""
    app.add_directive("syllabus", Syllabus)
    app.add_directive("outcomes", Outcomes)
