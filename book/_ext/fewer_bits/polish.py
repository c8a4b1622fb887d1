"""Pure functions over a page's finished HTML.

Docutils and MyST-NB write the HTML; a few things they cannot be told to do are done
on the text: lazy images of known size, tables that scroll, widgets with a sentence
for a reader without JavaScript.
"""

import html
import re
from collections.abc import Callable

Size = tuple[int, int]

IMAGE = re.compile(r"<img\b([^>]*?)\s*/?>")
ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
WIDGET = re.compile(
    r'<script type="application/vnd\.jupyter\.widget-view\+json">(.*?)</script>',
    re.DOTALL,
)
# MyST writes a dead box without a name.
TASK = re.compile(
    r'<input class="task-list-item-checkbox"(?P<done> checked="checked")?'
    r' disabled="disabled" type="checkbox"> ?(?P<text>.*?)</p>',
    re.DOTALL,
)
# MyST-NB gives it paragraphs, which HTML forbids here, and a name that nobody sees.
FOLD = re.compile(
    r'<summary aria-label="Toggle hidden content">\s*<p class="collapsed[^>]*>(.*?)</p>'
    r'\s*<p class="expanded[^>]*>(.*?)</p>\s*</summary>',
    re.DOTALL,
)
NO_SCRIPT = (
    "This control needs JavaScript. The text around it gives its starting values; "
    "the notebook has the control too."
)


def images(body: str, size_of: Callable[[str], Size | None]) -> str:
    """Return `body` with images that load late and keep their place.

    Args:
        body: HTML.
        size_of: Width and height in pixels of the image at an address, or None.
    """

    def rewrite(match: re.Match[str]) -> str:
        attributes = dict(ATTRIBUTE.findall(match[1]))
        attributes.pop("style", None)
        if size := size_of(attributes.get("src", "")):
            attributes["width"], attributes["height"] = map(str, size)
        attributes |= {"loading": "lazy", "decoding": "async"}
        attributes.setdefault("alt", "")
        return "<img" + "".join(f' {k}="{v}"' for k, v in attributes.items()) + ">"

    return IMAGE.sub(rewrite, body)


def tables(body: str) -> str:
    """Return `body` with every table in a box that scrolls sideways."""

    def rewrite(match: re.Match[str]) -> str:
        # pandas writes border="1" and inline styles, which HTML no longer knows.
        table = match[0].replace(' border="1"', "")
        table = re.sub(r' style="text-align: right;"', "", table)
        return f'<div class="scroll">{table}</div>'

    return TABLE.sub(rewrite, body)


def widgets(body: str) -> str:
    """Return `body` with a box, and a sentence without JavaScript, per widget."""
    return WIDGET.sub(
        lambda m: (
            f'<div class="widget">{m[0]}<noscript><p>{NO_SCRIPT}</p></noscript></div>'
        ),
        body,
    )


def folds(body: str) -> str:
    """Return `body` with folded cells that are named by what a reader sees."""
    shown = r'<span class="collapsed">\1</span><span class="expanded">\2</span>'
    return FOLD.sub(f"<summary>{shown}</summary>", body)


def tasks(body: str) -> str:
    """Return `body` with checklists that can be ticked and are named by their text."""
    return TASK.sub(
        lambda m: (
            f'<label><input type="checkbox"{m["done"] or ""}> {m["text"]}</label></p>'
        ),
        body,
    )


def citations(body: str) -> str:
    """Return `body` without the roles of citations, which ARIA has retired."""
    for role in ("doc-biblioentry", "doc-backlink"):
        body = body.replace(f' role="{role}"', "")
    return body.replace('<div role="list" class="citation-list">', "<div>")


def summary(paragraph: str, limit: int = 155) -> str:
    """Return the start of a paragraph as one attribute value, cut at a word."""
    text = " ".join(paragraph.split())
    if len(text) > limit:
        text = text[: limit - 1].rsplit(" ", 1)[0].rstrip(",;:.") + "…"
    return html.escape(text, quote=True)
