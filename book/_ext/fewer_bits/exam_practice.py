"""Directive of the pages on which a learner practises and takes a mock exam.

    ```{exam-part} practice
    ```

marks where the page's scripts show one of three parts: `practice`, `mock` or
`progress`. It writes the part's questions, their keys computed, and its scripts into
the page. The page works from a folder, where a browser loads neither data nor modules
from a file. So the questions are JSON inside the page, the scripts are classic ones,
and the module that judges answers, the quiz's own, travels as text and is imported
from there.

A question whose numbers a seed draws carries several instances; the page chooses one.
"""

import json
from functools import cache
from pathlib import Path

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from course_utils import widgets
from course_utils.exam import coverage as covered
from course_utils.exam import sections

from .assets import asset_address

TOPICS = covered.BLUEPRINT.with_name("topics.yaml")
STYLE = "exam.css"
SHARED = ("exam-logic.js", "exam-record.js", "exam-view.js", "exam-question.js")
SCRIPTS = {
    "practice": ("exam-practice.js",),
    "mock": ("exam-report.js", "exam-mock.js"),
    "progress": ("exam-progress.js",),
}
NEEDS = (
    "This part needs JavaScript. Without it, the quiz at the end of each lesson "
    "lists its questions in the notebook."
)
JUDGE = Path(widgets.__file__).parent / "quiz.js"
# Enough that two mock exams seldom show the same numbers.
INSTANCES = 5


class TopicsError(ValueError):
    """A table of topics that cannot be used; the message says where."""


@cache
def bank() -> dict:
    """Return the exam, its domains, the chapters and every question, as JSON values."""
    found = covered.coverage()
    topics = yaml.safe_load(TOPICS.read_text("utf-8"))
    items = [_item(*pair, found, topics["domains"]) for pair in _questions()]
    slugs = sorted({item["chapter"] for item in items})
    return {
        "exam": {
            "name": found.exam,
            "source": found.source,
            "date": found.date,
            "share": found.share,
            "minutes": topics["minutes"],
            "questions": topics["questions"],
        },
        "domains": [
            {"name": d.name, "weight": d.weight, "share": d.share}
            for d in found.domains
        ],
        "chapters": [
            {"slug": s, "title": f"{int(s[:2])}. {sections.title(s)}"} for s in slugs
        ],
        "items": items,
    }


def _questions() -> list[tuple[dict, list[dict]]]:
    """Return every question as a page shows it, each with its other instances."""
    # Torch takes seconds to import, and only these pages need the computed keys.
    from course_utils.exam.bank import (  # noqa: PLC0415
        load_bank,
        templates,
        to_page,
    )
    from course_utils.exam.questions import build  # noqa: PLC0415

    drawn = {
        raw["id"]: [to_page(build(raw, seed)) for seed in range(1, INSTANCES)]
        for raw in templates()
    }
    return [(to_page(q), drawn.get(q.id, [])) for q in load_bank()]


def _item(
    shown: dict,
    others: list[dict],
    found: covered.Coverage,
    topics: dict[str, list[str]],
) -> dict:
    """Return a question for the page: its domain, its link, its instances."""
    item = dict(shown)
    item["domain"] = domain_of(item, found, topics)
    if sections.missing(item["section"]):
        item["section"] = item["section_title"] = ""
    else:
        item["section_title"] = sections.title(item["section"])
    if instances := distinct(shown, others):
        item["instances"] = instances
    return item


def distinct(first: dict, others: list[dict]) -> list[dict]:
    """Return what each other instance changes, without those that read the same."""
    found, seen = [], {first["text"]}
    for other in others:
        if other["text"] not in seen:
            seen.add(other["text"])
            changed = {k: v for k, v in other.items() if first.get(k) != v}
            changed.pop("id", None)
            found.append(changed)
    return found


def domain_of(item: dict, found: covered.Coverage, topics: dict[str, list[str]]) -> str:
    """Return the domain of the exam that a question belongs to.

    Raises: TopicsError if none claims it, or one that the book does not cover.
    """
    by_place = {place: name for name, places in topics.items() for place in places}
    section = item["section"]
    named = [
        domain.name
        for domain in found.domains
        for objective in domain.objectives
        if section in objective.sections
    ]
    places = (section, section.partition("#")[0], item["chapter"])
    claims = [by_place.get(item["id"]), *named, *(by_place.get(p) for p in places)]
    name = next((claim for claim in claims if claim), None)
    covering = {d.name for d in found.domains if d.share}
    if name not in covering:
        raise TopicsError(
            f"The question {item['id']} belongs to {name or 'no domain'}; give its "
            f"id, section or chapter to one of {', '.join(sorted(covering))}."
        )
    return name


def of_part(part: str, whole: dict) -> dict:
    """Return what one part of the bank's pages needs."""
    if part != "progress":
        return {**whole, "judge": JUDGE.read_text("utf-8")}
    few = [{"id": i["id"], "chapter": i["chapter"]} for i in whole["items"]]
    return {**whole, "items": few}


def script_text(data: object) -> str:
    """Return JSON that no spelling of a script's end tag or a comment can end."""
    packed = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return packed.replace("<", r"\u003c")


class ExamPart(SphinxDirective):
    """Write one part: its place, its questions and its scripts."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the place, with a sentence for readers without scripts."""
        part = directives.choice(self.arguments[0], tuple(SCRIPTS))
        for path in (covered.BLUEPRINT, TOPICS, JUDGE):
            self.env.note_dependency(str(path))
        try:
            data = of_part(part, bank())
        except ValueError as error:
            raise self.error(f"exam-part {part}: {error}") from error
        scripts = [asset_address(self.env, s) for s in (*SHARED, *SCRIPTS[part])]
        lines = [
            f'<link rel="stylesheet" href="{asset_address(self.env, STYLE)}">',
            f'<div class="exam" id="exam-{part}"><p>{NEEDS}</p></div>',
            '<script type="application/json" id="exam-bank">'
            f"{script_text(data)}</script>",
            *(f'<script defer src="{address}"></script>' for address in scripts),
        ]
        return [nodes.raw("", "\n".join(lines), format="html")]


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("exam-part", ExamPart)
