"""The `chart` directive: a figure of the book, lifted out of its notebook.

    ```{chart} 01_what-is-quantization figure-perplexity
    One sentence that says what it shows.
    ```

The picture and its alt text are those of the executed notebook, so the page cannot
show another figure than the lesson. The cell is found by a tag, its id or a `label`
in its metadata.
"""

import hashlib
import json
import os
from base64 import b64decode
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from .pictures import alt_of


def find_cell(cells: list[dict], label: str) -> dict:
    """Return the cell that carries `label`.

    Raises:
        ValueError: If no cell or more than one carries it.
    """
    found = [cell for cell in cells if label in _labels(cell)]
    if len(found) != 1:
        raise ValueError(
            f"{len(found)} cells carry the label {label!r}; give one code cell of the "
            f"lesson the tag {label}."
        )
    return found[0]


def _labels(cell: dict) -> set[str]:
    metadata = cell.get("metadata", {})
    return {cell.get("id"), metadata.get("label"), *metadata.get("tags", [])}


def first_picture(cell: dict) -> tuple[bytes, str]:
    """Return the PNG and the alt text of the first picture a cell shows.

    Raises:
        ValueError: If the cell shows none.
    """
    for output in cell.get("outputs", []):
        if png := output.get("data", {}).get("image/png"):
            return b64decode("".join(png)), alt_of(output)
    raise ValueError("The cell shows no picture; execute the notebook.")


class Chart(SphinxDirective):
    """Show the figure of a labelled cell, with a link to its lesson."""

    required_arguments = 2
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the figure."""
        slug, label = self.arguments
        notebook = Path(self.env.srcdir) / "notebooks" / f"{slug}.ipynb"
        self.env.note_dependency(str(notebook))
        try:
            cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
            png, alt = first_picture(find_cell(cells, label))
        except (OSError, ValueError) as error:
            raise self.error(f"chart {slug} {label}: {error}") from error
        figure = nodes.figure(classes=["chart"])
        figure += nodes.image(uri=self.keep(png), alt=alt)
        caption = nodes.caption()
        self.state.nested_parse(self.content, self.content_offset, caption)
        caption[:] = [child for block in caption for child in block.children]
        caption += [nodes.Text(" "), self.link(slug)]
        figure += caption
        return [figure]

    def keep(self, png: bytes) -> str:
        """Store the picture where Sphinx finds it and return its address."""
        folder = Path(self.env.app.outdir).parent / "jupyter_execute"
        folder.mkdir(parents=True, exist_ok=True)
        # The name MyST-NB gives the same bytes, so that the site holds them once.
        path = folder / f"{hashlib.sha256(png).hexdigest()}.png"
        path.write_bytes(png)
        return "/" + os.path.relpath(path, self.env.srcdir)

    def link(self, slug: str) -> nodes.Node:
        """Return a link to the lesson, to be resolved once its title is known."""
        text = nodes.inline("", "Computed in this lesson")
        return addnodes.pending_xref(
            "",
            text,
            refdomain="std",
            reftype="doc",
            refdoc=self.env.docname,
            reftarget=f"/notebooks/{slug}",
            refexplicit=True,
            refwarn=True,
        )


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("chart", Chart)
