"""Alt texts of notebook figures, from the metadata that `report.show` stores.

MyST-NB takes an alt text from a cell's metadata only. Our figures carry theirs with
the output, `{"fewer_bits": {"alt": ...}}`, because the sentence is part of the
result. A figure without one is a warning, which fails the build.
"""

import json
from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

LOG = logging.getLogger(__name__)


@cache
def outputs_of(notebook: str) -> list[list[dict]]:
    """Return the outputs of every cell of a notebook, by the cell's index."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    return [cell.get("outputs", []) for cell in cells]


def alts(outputs: list[dict]) -> list[str]:
    """Return the alt text of each picture among a cell's outputs, in order."""
    found = []
    for output in outputs:
        pictures = [m for m in output.get("data", {}) if m.startswith("image/")]
        found += [alt_of(output, mime) for mime in pictures]
    return found


def alt_of(output: dict, mime: str = "image/png") -> str:
    """Return the alt text that an output's metadata carries, or an empty string."""
    metadata = output.get("metadata", {})
    ours = metadata.get("fewer_bits", {}).get("alt")
    return ours or metadata.get(mime, {}).get("alt") or ""


def add_alts(app: Sphinx, doctree: nodes.document) -> None:
    """Copy alt texts from the notebook behind this document to its images."""
    source = app.env.doc2path(app.env.docname)
    if not str(source).endswith(".ipynb"):
        return
    outputs = outputs_of(str(source))
    for cell in doctree.findall(_is_code_cell):
        texts = alts(outputs[cell["cell_index"]])
        for image, alt in zip(cell.findall(nodes.image), texts, strict=False):
            image["alt"] = image.get("alt") or alt
            if not image["alt"]:
                LOG.warning(
                    "cell %d shows a picture without an alt text; show it with "
                    "report.show(fig, alt=...)",
                    cell["cell_index"],
                    location=app.env.docname,
                )


def _is_code_cell(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def setup(app: Sphinx) -> None:
    """Register the step that runs after each document is read."""
    app.connect("doctree-read", add_alts)
