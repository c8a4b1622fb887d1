"""Directives of the exam pages: what is covered, and the cheat sheet.

    ```{exam-coverage}
    ```

writes the domains of `book/exam/blueprint.yaml` with the share that the book covers;
`:detail:` writes every objective with its sections and the number of items. The
directive `{cheat-sheet}` writes the blocks of `book/exam/cheat-sheet.yaml`. Every
number is computed while the page is read; nothing is typed.

The sheet has a style sheet of its own, so that it prints on one page.
"""

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from course_utils.exam import coverage as covered
from course_utils.exam import sections

from .assets import asset_address
from .tables import table_of

LESSONS = "notebooks/"
NONE_YET = "none"
STYLE = "cheat-sheet.css"


class ExamCoverage(SphinxDirective):
    """Write what the exam asks and what the book covers of it."""

    option_spec = {"detail": directives.flag}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Return the sentence and the table; with `detail`, the table of objectives."""
        self.env.note_dependency(str(covered.BLUEPRINT))
        found = covered.coverage()
        if "detail" in self.options:
            return [self._objectives(found)]
        taught = [d for d in found.domains if d.share]
        said = (
            f"{found.exam}: the book covers {found.share:.0f} % of the exam, counted "
            f"over {len(found.domains)} domains, of which {len(taught)} are taught in "
            f"part. Source: {found.source}, as of {found.date}."
        )
        return [nodes.paragraph("", said), _domains(found)]

    def _objectives(self, found: covered.Coverage) -> nodes.table:
        columns = ["Domain", "Objective", "Sections", "Items", "Counts"]
        rows = [
            {
                "Domain": domain.name,
                "Objective": objective.text,
                "Sections": self._links(objective),
                "Items": len(objective.items),
                "Counts": "yes" if objective.counts else "no",
            }
            for domain in found.domains
            for objective in domain.objectives
        ]
        return table_of(rows, columns)

    def _links(self, objective: covered.Objective) -> nodes.paragraph:
        """Return links to the sections of an objective, or what is planned."""
        paragraph = nodes.paragraph()
        if not objective.sections:
            planned = objective.planned.partition("_")[0]
            text = f"planned, chapter {planned}" if planned else NONE_YET
            paragraph += nodes.Text(text)
        for i, section in enumerate(objective.sections):
            slug, _, anchor = section.partition("#")
            builder = self.env.app.builder
            page = builder.get_relative_uri(self.env.docname, f"{LESSONS}{slug}")
            text = f"{slug[:2]} {sections.title(section)}"
            paragraph += nodes.Text("; ") if i else nodes.Text("")
            paragraph += nodes.reference(
                "", text, internal=True, refuri=f"{page}#{anchor}"
            )
        return paragraph


def _domains(found: covered.Coverage) -> nodes.table:
    columns = ["Domain", "Weight, %", "Objectives", "Covered", "Share of the exam, %"]
    rows: list[dict[str, object]] = [
        {
            "Domain": domain.name,
            "Weight, %": domain.weight,
            "Objectives": len(domain.objectives),
            "Covered": sum(o.counts for o in domain.objectives),
            "Share of the exam, %": f"{domain.share:.1f}",
        }
        for domain in found.domains
    ]
    rows.append(
        {
            "Domain": "Together",
            "Weight, %": sum(d.weight for d in found.domains),
            "Objectives": sum(len(d.objectives) for d in found.domains),
            "Covered": sum(o.counts for d in found.domains for o in d.objectives),
            "Share of the exam, %": f"{found.share:.1f}",
        }
    )
    return table_of(rows, columns)


class CheatSheet(SphinxDirective):
    """Write the blocks of the cheat sheet, with their rules for paper."""

    def run(self) -> list[nodes.Node]:
        """Return one container of tables."""
        self.env.note_dependency(str(covered.BLUEPRINT.with_name("cheat-sheet.yaml")))
        href = asset_address(self.env, STYLE)
        style = f'<link rel="stylesheet" href="{href}">'
        return [nodes.raw("", style, format="html"), sheet_nodes()]


def sheet_nodes() -> nodes.container:
    """Return the blocks of the cheat sheet as tables with captions."""
    # Torch takes seconds to import, and only this page computes with it.
    from course_utils.exam import sheet  # noqa: PLC0415

    box = nodes.container(classes=["cheat-sheet"])
    for block in sheet.blocks():
        columns = list(block.table.columns)
        rows = [dict(zip(columns, row, strict=True)) for row in block.table.rows]
        table = table_of(rows, columns)
        table.insert(0, nodes.title("", block.title))
        box += table
    return box


def setup(app: Sphinx) -> None:
    """Register the directives."""
    app.add_directive("exam-coverage", ExamCoverage)
    app.add_directive("cheat-sheet", CheatSheet)
