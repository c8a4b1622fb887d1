"""What the theme's template needs to know about a page."""

import html
import zlib
from functools import cache
from pathlib import Path

from docutils import nodes
from markupsafe import Markup
from PIL import Image
from sphinx.application import Sphinx

from . import polish

ASSETS = "book/assets"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
TOP_LEVEL = (nodes.section, nodes.container)
SHORTEST = 40
NOTEBOOKS = ("notebooks/", "exercises/", "solutions/")


def fill(
    app: Sphinx, pagename: str, _template: str, context: dict, doctree: nodes.document
) -> None:
    """Add to `context` what the theme shows and Sphinx does not give."""
    context["asset"] = lambda name: _address(app, context, name)
    title = Markup(context.get("title") or "Search").striptags()
    context["description"] = describe(doctree) or html.escape(
        f"{title}: a page of {app.config.html_title}", quote=True
    )
    context["widget_state"] = _widget_state(context)
    if pagename.startswith(NOTEBOOKS):
        context["colab"] = colab_address(app.config.html_theme_options, pagename)
        context["notebook"] = context["pathto"](f"_sources/{pagename}.ipynb", 1)
    if "body" in context:
        body = polish.images(context["body"], lambda src: _size(app, src))
        steps = (polish.tables, polish.tasks, polish.widgets, polish.citations)
        for step in (*steps, polish.folds):
            body = step(body)
        context["body"] = body


def describe(doctree: nodes.document | None) -> str:
    """Return the start of a page's first paragraph, for search engines."""
    if doctree is None:
        return ""
    for paragraph in doctree.findall(nodes.paragraph):
        text = paragraph.astext()
        # A shorter one introduces a list.
        if len(text) > SHORTEST and isinstance(paragraph.parent, TOP_LEVEL):
            return polish.summary(text)
    return ""


def colab_address(options: dict, pagename: str) -> str:
    """Return where Colab opens this page's notebook.

    Raises:
        ValueError: If `_config.yml` names no repository on GitHub.
    """
    url = options.get("repository_url", "").removesuffix("/")
    colab = options.get("launch_buttons", {}).get("colab_url", "").removesuffix("/")
    host, _, repository = url.partition("github.com/")
    if not (host and repository and colab):
        raise ValueError(
            "_config.yml: set repository.url to https://github.com/OWNER/NAME and "
            "launch_buttons.colab_url."
        )
    branch = options.get("repository_branch") or "main"
    return f"{colab}/github/{repository}/blob/{branch}/{pagename}.ipynb"


def _widget_state(context: dict) -> str:
    """Return the saved state of the page's widgets, an empty string without any.

    It is JSON inside a script element, which any spelling of its end tag would close.
    So no "<" is left in it; JSON reads the escape as the same character.
    """
    for script in context.get("script_files", []):
        attributes = getattr(script, "attributes", {})
        if attributes.get("type") == WIDGET_STATE:
            body = attributes["body"].replace(r"<\/script>", "</script>")
            return body.replace("<", r"\u003c")
    return ""


def _address(app: Sphinx, context: dict, name: str) -> str:
    """Return the address of one of our assets, with its checksum."""
    checksum = _checksum(str(Path(app.srcdir) / ASSETS / name))
    return f"{context['pathto'](f'_static/{name}', 1)}?v={checksum}"


@cache
def _checksum(path: str) -> str:
    return f"{zlib.crc32(Path(path).read_bytes()):08x}"


def _size(app: Sphinx, src: str) -> polish.Size | None:
    """Return the size in pixels of an image of the book, None if it has none."""
    name = Path(src).name
    original = next((k for k, v in app.builder.images.items() if v == name), None)
    if original is None or name.endswith(".svg"):
        return None
    with Image.open(Path(app.srcdir) / original) as image:
        return image.size


def setup(app: Sphinx) -> None:
    """Register the step that runs before a page is written."""
    # After MyST-NB has added the widget state (500).
    app.connect("html-page-context", fill, priority=900)
