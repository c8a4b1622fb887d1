"""Links back from the glossary: which pages use a term.

A lesson links a term as `glossary.md#step`. After all pages are read, each entry
gets a line "Used in" with the pages that link to it, in the book's order.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

GLOSSARY = "book/glossary"


def uses(env: BuildEnvironment) -> dict[str, list[str]]:
    """Return the documents that link to each term's anchor, in reading order."""
    found: dict[str, list[str]] = {}
    for docname in reading_order(env):
        if docname == GLOSSARY:
            continue
        for anchor in _linked_terms(env.get_doctree(docname)):
            pages = found.setdefault(anchor, [])
            if docname not in pages:
                pages.append(docname)
    return found


def reading_order(env: BuildEnvironment) -> list[str]:
    """Return every document once, as the table of contents lists them."""
    order: list[str] = []

    def visit(docname: str) -> None:
        if docname not in order:
            order.append(docname)
            for child in env.toctree_includes.get(docname, []):
                visit(child)

    visit(env.config.root_doc)
    return order


def _linked_terms(doctree: nodes.document) -> list[str]:
    return [
        node["reftargetid"]
        for node in doctree.findall()
        if isinstance(node, nodes.Element)
        and node.get("reftarget") == GLOSSARY
        and node.get("reftargetid")
    ]


def link_back(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Add the line "Used in" to every entry of the glossary that is used."""
    if docname != GLOSSARY:
        return
    by_anchor = uses(app.env)
    for section in doctree.findall(nodes.section):
        pages = [p for anchor in section["ids"] for p in by_anchor.get(anchor, [])]
        if pages:
            section.append(_used_in(app, pages))


def _used_in(app: Sphinx, pages: list[str]) -> nodes.paragraph:
    paragraph = nodes.paragraph(classes=["used-in"])
    paragraph += nodes.Text("Used in: ")
    for i, page in enumerate(pages):
        title = app.env.titles[page].astext()
        address = app.builder.get_relative_uri(GLOSSARY, page)
        paragraph += nodes.Text(", ") if i else nodes.Text("")
        paragraph += nodes.reference("", title, internal=True, refuri=address)
    return paragraph


def setup(app: Sphinx) -> None:
    """Register the step that runs when links are resolved."""
    app.connect("doctree-resolved", link_back)
