"""Directives of the instructor's pages: syllabi, and outcomes of a chapter.

    ```{syllabus} ten-weeks
    ```

writes the plan of that name in `book/teach/syllabi.yaml` as a table. Titles and minutes
come from the masters, so that a plan names chapters and question numbers and nothing
else. A plan whose chapters come before what they need is refused.

    ```{outcomes} 09_gptq
    ```

writes what a student can do after a chapter, from `book/teach/outcomes.yaml`, with
links to the questions and to the sections of the items that test it.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from course_utils.exam import sections
from course_utils.exam.coverage import items_by_section
from course_utils.paths import book_dir

from .tables import Row, table_of

PLANS, OUTCOMES = "syllabi.yaml", "outcomes.yaml"
MINUTES = re.compile(r"^minutes: (\d+)$", re.MULTILINE)
NEEDS = re.compile(r"^\*\*You need\*\*(.*)$", re.MULTILINE)
CHAPTER = re.compile(r"[Cc]hapter (\d\d)\b")
ASKED = re.compile(r"^\| (\d+)\. .+ \| (\d+) \|$", re.MULTILINE)


class PlanError(ValueError):
    """A plan that names what is not there; the message says where."""


@dataclass(frozen=True)
class Test:
    """A question or an item: its words, and the page and section that hold it."""

    text: str
    page: str
    anchor: str


@dataclass(frozen=True)
class Outcome:
    """What a student can do, and what tests it."""

    can: str
    tests: tuple[Test, ...]


def plan_rows(name: str, folder: Path | None = None) -> list[Row]:
    """Return a row for each part of a plan, and one of sums.

    Raises: PlanError for an unknown plan, chapter or question.
    """
    path = (folder or book_dir() / "teach") / PLANS
    plans = yaml.safe_load(path.read_text("utf-8"))
    if name not in plans:
        raise PlanError(f"there is no plan {name!r}; choose {', '.join(plans)}.")
    for sentence in out_of_order(_chapters(plans[name]), plans[name].get("before", [])):
        raise PlanError(f"{name}: {sentence}")
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
    return _chapters(yaml.safe_load(path.read_text("utf-8"))[name])


def _chapters(plan: dict) -> list[str]:
    return [slug for part in plan["parts"] for slug in part["lessons"]]


def needs(slug: str) -> list[str]:
    """Return the numbers of the chapters that a lesson says it needs."""
    return CHAPTER.findall("".join(NEEDS.findall(_master("lessons", slug))))


def out_of_order(slugs: list[str], before: list[str]) -> list[str]:
    """Return a sentence for each chapter that comes before one that it needs.

    Args:
        slugs: Chapters in the order in which they are taught.
        before: Chapters that are read before the course.
    """
    known = {slug[:2] for slug in before}
    found = []
    for slug in slugs:
        if missing := [number for number in needs(slug) if number not in known]:
            found.append(f"{slug} needs {', '.join(missing)} before it.")
        known.add(slug[:2])
    return found


def _path(kind: str, slug: str) -> Path:
    return book_dir() / kind / f"{slug}.md"


@cache
def _master(kind: str, slug: str) -> str:
    path = _path(kind, slug)
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


def outcomes(slug: str, folder: Path | None = None) -> list[Outcome]:
    """Return what a student can do after a chapter, and what tests it.

    Raises: PlanError for a chapter without outcomes, and for a question or an item
        that does not exist.
    """
    path = (folder or book_dir() / "teach") / OUTCOMES
    found = yaml.safe_load(path.read_text("utf-8")).get(slug)
    if not found:
        raise PlanError(f"{path.name} has no outcomes of {slug}.")
    return [Outcome(one["can"], _tests(slug, one)) for one in found]


def _tests(slug: str, outcome: dict) -> tuple[Test, ...]:
    if not outcome["tested_by"]:
        raise PlanError(f"{slug}: nothing tests {outcome['can']!r}.")
    return tuple(
        _question(slug, name) if isinstance(name, int) else _item(slug, name)
        for name in outcome["tested_by"]
    )


def _question(slug: str, number: int) -> Test:
    _question_minutes(slug, number)
    for anchor, heading in sections.headings(_path("exercises", slug)).items():
        if heading.startswith(f"{number}. "):
            return Test(f"question {heading}", f"exercises/{slug}", anchor)
    raise PlanError(f"{slug} has no heading of exercise {number}.")


def _item(slug: str, name: str) -> Test:
    section = _sections_of_items().get(name)
    if section is None:
        raise PlanError(f"{slug}: there is no item {name!r}.")
    page, _, anchor = section.partition("#")
    if page != slug:
        raise PlanError(f"{slug}: the item {name} is about chapter {page}.")
    return Test(f"item {name}", f"notebooks/{page}", anchor)


@cache
def _sections_of_items() -> dict[str, str]:
    """Return item -> the section it is about, as "slug#anchor"."""
    return {
        name: section for section, names in items_by_section().items() for name in names
    }


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
    """Write what a student can do after a chapter, and what tests it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a table."""
        slug = self.arguments[0]
        for path in (book_dir() / "teach" / OUTCOMES, _path("exercises", slug)):
            self.env.note_dependency(str(path))
        try:
            found = outcomes(slug)
        except PlanError as error:
            raise self.error(f"outcomes: {error}") from error
        columns = ["A student can", "Tested by"]
        rows = [dict(zip(columns, (o.can, self._links(o)), strict=True)) for o in found]
        return [table_of(rows, columns)]

    def _links(self, outcome: Outcome) -> nodes.paragraph:
        paragraph = nodes.paragraph()
        for i, test in enumerate(outcome.tests):
            page = self.env.app.builder.get_relative_uri(self.env.docname, test.page)
            paragraph += nodes.Text("; " if i else "")
            paragraph += nodes.reference(
                "", test.text, internal=True, refuri=f"{page}#{test.anchor}"
            )
        return paragraph


def setup(app: Sphinx) -> None:
    """Register the directives."""
    app.add_directive("syllabus", Syllabus)
    app.add_directive("outcomes", Outcomes)
