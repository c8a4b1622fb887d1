"""Maths as MathML, made at build time: no script, no font, no request.

The writing is latex2mathml's. A few of its gaps are closed here: `aligned`, floor and
ceiling signs, the thin space before `log`, and names of functions, which it writes as
operators with space on both sides. Anything it leaves in LaTeX is a warning, which
fails the build.
"""

import html
import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

LOG = logging.getLogger(__name__)

REPLACED = {
    r"\begin{aligned}": r"\begin{align*}",
    r"\end{aligned}": r"\end{align*}",
    r"\lfloor": r"\left\lfloor ",
    r"\rceil": r"\right\rceil ",
    r"\rfloor": r"\right\rfloor ",
    r"\lceil": r"\left\lceil ",
}
REPLACE = re.compile(
    r"(?<!\\left)(?<!\\right)(?:" + "|".join(map(re.escape, REPLACED)) + ")"
)
# LaTeX sets a thin space between a factor and a function of this kind.
FUNCTION = re.compile(r"(?<=[\w})])\s*(\\(?:log|exp|ln|max|min)(?![A-Za-z]))")
NAME = re.compile(r"<mo>([A-Za-z]{2,})</mo>")
ENTITY = re.compile(r"&#x([0-9A-Fa-f]+);")
LEFT_OVER = re.compile(r"\\[A-Za-z]+|&(?!#|amp;|lt;|gt;|quot;)|\\\\")


def to_mathml(latex: str, *, block: bool) -> str:
    """Return the MathML of a LaTeX formula.

    Raises:
        ValueError: If a part of the formula is not understood.
    """
    latex = REPLACE.sub(lambda found: REPLACED[found[0]], latex)
    latex = FUNCTION.sub(r"\\,\1", latex)
    text = convert(latex, display="block" if block else "inline")
    text = NAME.sub(r"<mi>\1</mi>", text)
    if left := LEFT_OVER.search(text):
        raise ValueError(f"{left[0]!r} in the formula {latex!r} is not understood.")
    # What HTML does not need: a third of a formula's bytes.
    for default in (' display="inline"', ' xmlns="http://www.w3.org/1998/Math/MathML"'):
        text = text.replace(default, "")
    return ENTITY.sub(lambda entity: html.escape(chr(int(entity[1], 16))), text)


def _render(translator: HTML5Translator, node: nodes.Element, *, block: bool) -> None:
    try:
        text = to_mathml(node.astext(), block=block)
    except Exception as error:  # latex2mathml raises many kinds
        LOG.warning("formula: %s", error, location=node)
        text = f"<code>{translator.encode(node.astext())}</code>"
    translator.body.append(f'<div class="math">{text}</div>' if block else text)
    raise nodes.SkipNode


def inline(translator: HTML5Translator, node: nodes.Element) -> None:
    """Write a formula that stands in a sentence."""
    _render(translator, node, block=False)


def block(translator: HTML5Translator, node: nodes.Element) -> None:
    """Write a formula that stands alone."""
    _render(translator, node, block=True)


def setup(app: Sphinx) -> None:
    """Register the renderer and make it the one in use."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.config.html_math_renderer = "mathml"
