"""Section ids that equal their Markdown anchors.

A link `lesson.md#2-the-step` works on GitHub by the heading's slug. Docutils makes
ids by other rules (no leading digit, for one), so widgets and other sites that link
by slug would miss the section. Here the slug becomes the section's first id. An anchor
written before a heading, `(step)=`, comes before the slug and can be linked the same
way, `glossary.md#step`, so that a heading may be reworded.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

AUTOMATIC = re.compile(r"id\d+")


class StableIds(SphinxTransform):
    """Put the anchor of each section first and drop made-up ids."""

    # After docutils has moved anchors onto their sections (260), before MyST resolves
    # links inside the page (879) and Sphinx collects the table of contents.
    default_priority = 870

    def apply(self, **_kwargs: object) -> None:
        """Rewrite the ids of every section of this document."""
        # Slug -> (line, id, title); the environment holds the same dict.
        slugs = getattr(self.document, "myst_slugs", {})
        for section in self.document.findall(nodes.section):
            slug = section.get("slug")
            made = nodes.make_id(section[0].astext())
            section["ids"] = stable_ids(section["ids"], slug, made=made)
            if slug in slugs:
                line, _, title = slugs[slug]
                for anchor in section["ids"]:
                    slugs[anchor] = (line, section["ids"][0], title)


def stable_ids(ids: list[str], slug: str | None, *, made: str) -> list[str]:
    """Return the ids of a section: those written before it, then the slug.

    Args:
        ids: All ids it has.
        slug: The anchor of its heading, None outside Markdown.
        made: The id that docutils makes of the heading.
    """
    written = [i for i in ids if i not in (slug, made) and not AUTOMATIC.fullmatch(i)]
    return [*written, slug] if slug else ids


def setup(app: Sphinx) -> None:
    """Register the transform."""
    app.add_transform(StableIds)
