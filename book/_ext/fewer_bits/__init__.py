"""The book's own Sphinx extension: theme, maths, pictures, glossary, tables.

Jupyter Book reads `_config.yml`, which names this package as the only local
extension and `fewer_bits` as the theme. Everything a page needs is made at build
time, so a page sends no request to another host and works from a folder.

What each module does:

- `page`      fills the theme's template: description, Colab link, widgets
- `polish`    pure functions over the finished HTML: images, tables, widgets
- `headings`  gives each section the id that its Markdown anchor promises
- `mathml`    maths as MathML
- `pictures`  alt texts from the metadata of notebook outputs
- `chart`     a directive that lifts a figure out of an executed notebook
- `tables`    directives that show a record, or the status of the notebooks
- `exam_coverage`  directives of the exam pages: what is covered, the cheat sheet
- `exam_practice`  a directive for practice, the mock exam and progress
- `teaching`  directives of the instructor's pages: syllabi, outcomes
- `glossary`  links back from a term to the pages that use it
- `finish`    the start page, and removal of files that no page asks for
"""

from pathlib import Path

from sphinx.application import Sphinx

from . import (
    chart,
    exam_coverage,
    exam_practice,
    finish,
    glossary,
    headings,
    mathml,
    page,
    pictures,
    tables,
    teaching,
)

THEME = Path(__file__).parent / "theme"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the theme and every part of the extension."""
    app.add_html_theme("fewer_bits", str(THEME))
    # Jupyter Book sets this for an extension that we do not load; it must have a home.
    app.add_config_value("comments_config", {}, "html")
    writing = (headings, mathml, pictures, chart, tables, exam_coverage, teaching)
    for part in (*writing, exam_practice, glossary, page, finish):
        part.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
