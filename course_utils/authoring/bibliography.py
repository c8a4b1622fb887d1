r"""A small reader of BibTeX: author, year and link of each entry.

It reads what `book/references.bib` uses: entries with fields in braces, in quotes or
bare, names joined by " and ", braces around a group's name, and accents written as
`{\"o}`. Left out: @string, @preamble, cross references and every field that a
citation in a lesson does not show.
"""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from course_utils.authoring.errors import AuthoringError, fault

_ENTRY = re.compile(r"@(\w+)\s*\{\s*([^\s,{}]+)\s*,")
_FIELD = re.compile(r"\s*([\w-]+)\s*=\s*")
_ACCENT = re.compile(r"\\([\"'`^~=.cvuH])\s*\{?\s*(\\?[a-zA-Z])\s*\}?")
_COMBINING = dict(
    zip(
        "\"'`^~=.cvuH",
        "\u0308\u0301\u0300\u0302\u0303\u0304\u0307\u0327\u030c\u0306\u030b",
        strict=True,
    )
)
_LETTERS = {r"\o": "ø", r"\O": "Ø", r"\l": "ł", r"\L": "Ł", r"\ss": "ß", r"\aa": "å"}


@dataclass(frozen=True)
class Reference:
    """One entry as a lesson cites it."""

    key: str
    authors: tuple[str, ...]
    year: str
    link: str

    @property
    def label(self) -> str:
        """Author and year: "Dettmers et al. (2023)"."""
        if len(self.authors) > 2:
            names = f"{self.authors[0]} et al."
        else:
            names = " and ".join(self.authors)
        return f"{names} ({self.year})"


def read_bibliography(path: Path) -> dict[str, Reference]:
    """Return every entry by key.

    Raises: AuthoringError on a key that occurs twice or braces that do not close.
    """
    if not path.exists():
        return {}
    text = path.read_text("utf-8")
    found: dict[str, Reference] = {}
    for match in _ENTRY.finditer(text):
        if match[1].lower() in ("comment", "string", "preamble"):
            continue
        line = text.count("\n", 0, match.start()) + 1
        if match[2] in found:
            raise fault(
                path.name, line, f"the key {match[2]} occurs twice; rename one."
            )
        try:
            found[match[2]] = _reference(match[2], _fields(text, match.end()))
        except AuthoringError as error:
            raise fault(path.name, line, str(error)) from error
    return found


def _fields(text: str, start: int) -> dict[str, str]:
    """Return the fields of the entry whose body begins at `start`."""
    fields: dict[str, str] = {}
    while match := _FIELD.match(text, start):
        value, start = _value(text, match.end())
        fields[match[1].lower()] = value
        while start < len(text) and text[start] in ", \t\r\n":
            start += 1
    return fields


def _value(text: str, start: int) -> tuple[str, int]:
    """Return one value, delimiters off, and the position after it."""
    if text[start] not in '{"':
        match = re.compile(r"[^,}\s]+").match(text, start)
        return (match[0], match.end()) if match else ("", start)
    closing, depth = ("}", 1) if text[start] == "{" else ('"', 0)
    for i in range(start + 1, len(text)):
        if text[i] == "{":
            depth += 1
        elif text[i] == "}":
            depth -= 1
        if text[i] == closing and depth == 0:
            return text[start + 1 : i], i + 1
    raise AuthoringError("a value is not closed; check its braces.")


def _reference(key: str, fields: dict[str, str]) -> Reference:
    """Build a reference from the fields of an entry."""
    names = (
        fields.get("author") or fields.get("organization") or fields.get("editor", "")
    )
    authors = tuple(_surname(name) for name in _split_names(names) if name)
    year = fields.get("year") or fields.get("date", "")[:4]
    return Reference(key, authors, _plain(year), _link(fields))


def _split_names(names: str) -> list[str]:
    """Split at each " and " that stands outside braces."""
    flat, depth = "", 0
    for char in re.sub(r"\s+", " ", names):
        depth += {"{": 1, "}": -1}.get(char, 0)
        flat += "\0" if char == " " and depth else char
    parts = re.split(r" and ", flat)
    return [part.replace("\0", " ").strip() for part in parts]


def _surname(name: str) -> str:
    """Return the family name; a name in braces is a group and stays whole."""
    if re.fullmatch(r"\{[^{}]*\}", name):
        return _plain(name)
    if "," in name:
        return _plain(name.partition(",")[0])
    words = _plain(name).split()
    # "Name of the first lower-case word on": Laurens van der Maaten.
    for i, word in enumerate(words[1:-1], start=1):
        if word[0].islower():
            return " ".join(words[i:])
    return words[-1]


def _link(fields: dict[str, str]) -> str:
    """Return the address of the text: DOI, arXiv, or as given."""
    if url := fields.get("url"):
        return _plain(url)
    if doi := fields.get("doi"):
        return "https://doi.org/" + re.sub(
            r"^https?://(dx\.)?doi\.org/", "", doi.strip()
        )
    if eprint := fields.get("eprint"):
        return f"https://arxiv.org/abs/{eprint.strip()}"
    return ""


def _plain(text: str) -> str:
    """Return TeX as plain text."""
    text = _ACCENT.sub(lambda m: m[2][-1] + _COMBINING[m[1]], text)
    for tex, letter in _LETTERS.items():
        text = re.sub(re.escape(tex) + r"(?![a-zA-Z])\s*", letter, text)
    text = re.sub(r"\\([&%_#$])", r"\1", text).replace("~", " ")
    text = unicodedata.normalize("NFC", text.replace("{", "").replace("}", ""))
    return " ".join(text.split())
