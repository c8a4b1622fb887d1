"""Which characters of a Markdown cell are prose.

Code, maths, link targets and HTML tags are not read as sentences: a number or a
bracket there means something else. `mask` blanks them and keeps every other
character where it is, so a position in the mask is a position in the text.
"""

import re
from collections.abc import Callable

_FENCE = re.compile(
    r"^ {0,3}(`{3,}|~{3,})[^\n]*\n.*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", re.M | re.S
)
_CODE = re.compile(r"(?<!`)(`+)(?!`)(?:(?!\n[ \t]*\n).)+?(?<!`)\1(?!`)", re.S)
_MATHS = re.compile(r"(?<![\\$])(\$\$?)(?!\$)(?:(?!\n[ \t]*\n).)+?(?<!\\)\1", re.S)
_TARGET = re.compile(r"(?<=\])\([^)\n]*\)")
_BARE_URL = re.compile(r"https?://[^\s)>\]]+")
_TAG = re.compile(r"</?[a-zA-Z][^<>\n]*>|<!--.*?-->", re.S)


def mask(text: str, *, links: bool = True) -> str:
    """Return `text` with everything that is not prose turned into spaces.

    Args:
        text: A Markdown cell.
        links: Also blank the targets of links, bare URLs and HTML tags.
    """
    patterns = [_FENCE, _CODE, _MATHS]
    patterns += [_TARGET, _BARE_URL, _TAG] if links else []
    for pattern in patterns:
        text = pattern.sub(_blank, text)
    return text


def replace(text: str, pattern: re.Pattern, new: Callable[[re.Match], str]) -> str:
    """Replace `pattern` where it begins in prose, outside code and maths."""
    prose = mask(text, links=False)
    pieces, end = [], 0
    for match in pattern.finditer(text):
        if prose[match.start()] == text[match.start()]:
            pieces += [text[end : match.start()], new(match)]
            end = match.end()
    return "".join(pieces) + text[end:]


def _blank(match: re.Match) -> str:
    """Return as many spaces, with the line breaks kept."""
    return re.sub(r"[^\n]", " ", match.group())
