"""Every link inside the book leads to a place that exists."""

from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from site_pages import LESSONS

from course_utils.paths import ROOT


class Page(HTMLParser):
    """The ids and the addresses of one page."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, _tag, attrs):
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"])
        self.addresses += [found[k] for k in ("href", "src", "action") if found.get(k)]


@pytest.fixture(scope="module")
def pages(site) -> dict:
    return {
        path.relative_to(site).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in sorted(site.rglob("*.html"))
    }


def broken(site, pages, name: str, address: str) -> str | None:
    """Return why an address on a page leads nowhere, None if it leads somewhere."""
    parts = urlsplit(address)
    if parts.scheme in ("http", "https", "mailto", "data"):
        return None
    path = (site / name).parent / unquote(parts.path) if parts.path else site / name
    target = path.resolve()
    if not target.is_file():
        return f"{name}: {address} is no file"
    page = pages.get(target.relative_to(site.resolve()).as_posix())
    if parts.fragment and page and unquote(parts.fragment) not in page.ids:
        return f"{name}: {address} has no such place"
    return None


def test_internal_links_resolve(site, pages):
    found = [
        broken(site, pages, name, address)
        for name, page in pages.items()
        for address in page.addresses
    ]
    assert len(found) > 200
    assert [reason for reason in found if reason] == []


def test_a_broken_link_would_be_found(site, pages):
    home = "book/glossary.html"
    assert broken(site, pages, home, "#step") is None
    assert "no such place" in broken(site, pages, home, "#no-such-term")
    assert "no file" in broken(site, pages, home, "nothing.html")


def test_every_term_of_the_glossary_can_be_linked(pages):
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    anchors = [line[1:-2] for line in text.splitlines() if line.startswith("(")]
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert len(anchors) == len(headings) >= 25
    assert set(anchors) <= set(pages["book/glossary.html"].ids)


def test_used_terms_link_back(site, pages):
    """A term that a lesson links names that lesson below its entry."""
    glossary = pages["book/glossary.html"]
    for lesson in LESSONS:
        page = pages[f"{lesson}.html"]
        if any("glossary.html#" in address for address in page.addresses):
            assert f"../{lesson}.html" in glossary.addresses
    text = (site / "book" / "glossary.html").read_text(encoding="utf-8")
    assert text.count('class="used-in"') >= 5


def test_quiz_sections_exist(pages):
    """An item sends a reader to a section of its lesson."""
    missing = []
    for path in sorted((ROOT / "book" / "items").glob("[0-9]*.yaml")):
        for item in yaml.safe_load(path.read_text(encoding="utf-8")):
            slug, _, anchor = item["section"].rpartition("#")
            if anchor not in pages[f"notebooks/{slug or path.stem}.html"].ids:
                missing.append(f"{item['id']}: {item['section']}")
    assert missing == []
