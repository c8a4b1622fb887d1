"""The terms of the glossary, read from the page that shows them.

An entry of `book/glossary.md` is

    (the-id)=
    ## Term

    A sentence that defines it. Lines that add to it.

    Section: [Heading](../notebooks/SLUG.ipynb#anchor)

The id is also what lessons link to, so it never changes; the deck of flashcards keeps
its cards by it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from course_utils.exam.sections import missing
from course_utils.paths import book_dir

ENTRY = re.compile(
    r"^\((?P<id>[a-z0-9-]+)\)=\n## (?P<title>.+)\n\n(?P<body>.+?)\n\n"
    r"Section: \[.+\]\(\.\./notebooks/(?P<slug>.+)\.ipynb#(?P<anchor>.+)\)\n",
    re.MULTILINE | re.DOTALL,
)
START = re.compile(r"^\([a-z0-9-]+\)=$", re.MULTILINE)


@dataclass(frozen=True)
class Term:
    """One entry of the glossary.

    Attributes:
        definition: The sentence that defines it.
        notes: What the entry adds, or "".
        section: "slug#anchor" of the section that teaches it.
    """

    id: str
    title: str
    definition: str
    notes: str
    section: str


class GlossaryError(ValueError):
    """A glossary that cannot be read; the message names the entry."""


def terms(path: Path | None = None) -> list[Term]:
    """Return the terms of the glossary, in the order of the page.

    Raises: GlossaryError that names an entry which lacks a part, repeats an id or
        leads to no section; OSError without a file.
    """
    text = (path or book_dir() / "glossary.md").read_text("utf-8")
    starts = [match.start() for match in START.finditer(text)]
    ends = [*starts[1:], len(text)]
    found = [_term(text[a:b]) for a, b in zip(starts, ends, strict=True)]
    seen: set[str] = set()
    for term in found:
        if term.id in seen:
            raise GlossaryError(f"The glossary has the id {term.id} twice.")
        seen.add(term.id)
    return found


def _term(entry: str) -> Term:
    match = ENTRY.match(entry)
    if not match:
        name = entry.partition("=")[0]
        raise GlossaryError(
            f"The entry {name} needs a heading, a definition and a line with its "
            "section."
        )
    first, _, notes = match["body"].strip().partition("\n")
    section = f"{match['slug']}#{match['anchor']}"
    if said := missing(section):
        raise GlossaryError(f"The entry ({match['id']}): {said}")
    return Term(match["id"], match["title"], first, notes.strip(), section)
