"""Sections of the lessons, by "slug#anchor". Imports neither torch nor the items."""

import re
from functools import cache
from pathlib import Path

from course_utils.paths import ROOT


def lesson_path(slug: str) -> Path:
    """Return where the master of a lesson lies, written or not."""
    return ROOT / "book" / "lessons" / f"{slug}.md"


def lessons() -> list[str]:
    """Return the slugs of the lessons that exist."""
    return sorted(p.stem for p in lesson_path("x").parent.glob("[0-9][0-9]_*.md"))


def missing(section: str) -> str:
    """Return what a section lacks in a sentence, or "" if it exists."""
    slug, _, anchor = section.partition("#")
    lesson = lesson_path(slug)
    if not lesson.exists():
        return f"its lesson {slug} is not written yet."
    if anchor not in headings(lesson):
        return f"the lesson {slug} has no section {anchor!r}."
    return ""


def title(section: str) -> str:
    """Return the heading of a section, or of a lesson where `section` is a slug.

    Raises: ValueError if there is no such section.
    """
    slug, _, anchor = section.partition("#")
    lesson = lesson_path(slug)
    found = headings(lesson) if lesson.exists() else {}
    if not anchor and found:
        return next(iter(found.values()))
    if anchor not in found:
        raise ValueError(f"There is no section {section}; write it as slug#anchor.")
    return found[anchor]


def anchors(lesson: Path) -> set[str]:
    """Return the anchors of a lesson's headings, as GitHub and MyST make them."""
    return set(headings(lesson))


@cache
def headings(lesson: Path) -> dict[str, str]:
    """Return anchor -> heading of a lesson, in order."""
    found, in_code = {}, False
    for line in lesson.read_text("utf-8").splitlines():
        if line.startswith("```"):
            in_code = not in_code
        elif line.startswith("#") and not in_code:
            heading = line.lstrip("#").strip()
            words = re.sub(r"[^\w\- ]", "", heading.lower())
            found[words.replace(" ", "-")] = heading
    return found
