"""The glossary as a deck of flashcards for Anki.

A card asks for a term and answers with its definition, what the entry adds, and the
section that teaches it. The guid of a card follows from the id of its term, so a new
deck updates the cards of an old one and keeps what a reader has learned. Two decks of
the same glossary are equal to the byte.
"""

import html
import io
import re
import zipfile
from pathlib import Path

from course_utils.exam.glossary import Term
from course_utils.exam.sections import title

# Drawn once; Anki knows a deck and a kind of note by such numbers.
DECK, MODEL = 1_733_908_421, 1_733_908_422
NAME = "Fewer Bits: terms of quantization"
FIELDS = ("Term", "Definition", "Notes", "Section")
# Seconds since 1970 of 1 January 2026: a deck has no clock of its own.
WHEN = 1_767_225_600
FRONT = "<h2>{{Term}}</h2>"
BACK = """{{FrontSide}}<hr id="answer"><p>{{Definition}}</p>
{{#Notes}}<p>{{Notes}}</p>{{/Notes}}<p><small>{{Section}}</small></p>"""
STYLE = ".card { font-family: sans-serif; font-size: 1.2rem; text-align: left; }"


def write(terms: list[Term], out: Path) -> int:
    """Write the deck and return its number of cards.

    Raises: ImportError without genanki; ValueError without terms; OSError if the file
        cannot be written.
    """
    if not terms:
        raise ValueError("A deck needs at least one term; the glossary has none.")
    try:
        import genanki  # noqa: PLC0415 -- optional: only the deck needs it
    except ImportError as error:
        raise ImportError("The deck needs genanki: pip install genanki") from error
    model = genanki.Model(
        MODEL,
        "Fewer Bits: term",
        fields=[{"name": name} for name in FIELDS],
        templates=[{"name": "Define", "qfmt": FRONT, "afmt": BACK}],
        css=STYLE,
    )
    deck = genanki.Deck(DECK, NAME)
    for term in terms:
        guid = genanki.guid_for("fewer-bits", term.id)
        deck.add_note(genanki.Note(model, fields=fields_of(term), guid=guid))
    packed = io.BytesIO()
    genanki.Package(deck).write_to_file(packed, timestamp=WHEN)
    out.write_bytes(_without_dates(packed.getvalue()))
    return len(terms)


def fields_of(term: Term) -> list[str]:
    """Return the fields of a term's card, as HTML."""
    slug = term.section.partition("#")[0]
    place = f"Chapter {slug[:2]}, {title(term.section)}"
    return [
        *(_html(text) for text in (term.title, term.definition, term.notes)),
        html.escape(place),
    ]


def _html(text: str) -> str:
    """Return text of the glossary as HTML: code, formulas and escaped signs."""
    safe = html.escape(" ".join(text.split()), quote=False)
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return re.sub(r"\$([^$]+)\$", r"\\(\1\\)", safe)


def _without_dates(packed: bytes) -> bytes:
    """Return a zip archive whose entries carry the earliest date of the format."""
    again = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(packed)) as old,
        zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name), zipfile.ZIP_DEFLATED)
    return again.getvalue()
