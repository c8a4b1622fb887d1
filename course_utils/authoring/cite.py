"""Turn `[@key]` and `[term](glossary:term)` into links that any reader renders.

`[@dettmers2023qlora]` becomes author, year and address from `book/references.bib`;
`[@a; @b]` becomes both. `[step](glossary:step)` becomes a link to the heading of that
name in `book/glossary.md`. An unknown key or term is an error, never a dead link.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from course_utils.authoring import prose
from course_utils.authoring.bibliography import Reference, read_bibliography
from course_utils.authoring.errors import AuthoringError
from course_utils.authoring.project import Project

CITATION = re.compile(r"\[(@[^\s\[\];@]+(?:\s*;\s*@[^\s\[\];@]+)*)\](?!\()")
GLOSSARY = re.compile(r"\[([^\[\]]+)\]\(glossary:([^()\s]*)\)")


@dataclass(frozen=True)
class Sources:
    """What a citation or a glossary link can point to."""

    references: dict[str, Reference]
    terms: frozenset[str]

    @classmethod
    def of(cls, project: Project) -> "Sources":
        """Read both from a project."""
        return cls(
            read_bibliography(project.book / "references.bib"),
            glossary_terms(project.book / "glossary.md"),
        )

    def resolve(self, text: str) -> str:
        """Return a Markdown cell with its citations and glossary links written out.

        Raises: AuthoringError on an unknown key or term.
        """
        text = prose.replace(text, CITATION, self._citation)
        return prose.replace(text, GLOSSARY, self._term)

    def _citation(self, match: re.Match) -> str:
        keys = [key.strip().removeprefix("@") for key in match[1].split(";")]
        return "; ".join(self._cited(key) for key in keys)

    def _cited(self, key: str) -> str:
        ref = self.references.get(key)
        if ref is None:
            raise AuthoringError(
                f"[@{key}] is not in book/references.bib; add it there."
            )
        if not (ref.authors and ref.year and ref.link):
            raise AuthoringError(
                f"{key} in book/references.bib needs an author, a year and a url, "
                "a doi or an eprint."
            )
        return f"[{ref.label}]({ref.link})"

    def _term(self, match: re.Match) -> str:
        if match[2] not in self.terms:
            raise AuthoringError(
                f"glossary:{match[2]} has no heading in book/glossary.md; add the term."
            )
        return f"[{match[1]}](../book/glossary.md#{match[2]})"


def glossary_terms(path: Path) -> frozenset[str]:
    """Return the anchor of every heading of the glossary below its title."""
    if not path.exists():
        return frozenset()
    lines = prose.mask(path.read_text("utf-8"), links=False).splitlines()
    heads = [line.lstrip("#") for line in lines if re.match(r"#{2,6} ", line)]
    return frozenset(anchor(head) for head in heads)


def anchor(heading: str) -> str:
    """Return the anchor that GitHub and the pages give to a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")
