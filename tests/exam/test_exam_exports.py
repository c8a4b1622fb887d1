"""Exports: Moodle XML, the Anki deck, the command line."""

import json
import sqlite3
import zipfile

import pytest

from course_utils.exam import anki, moodle
from course_utils.exam.__main__ import main
from course_utils.exam.bank import load_bank
from course_utils.exam.glossary import GlossaryError, Term, terms
from course_utils.exam.sections import title

STEP = "l~D{gFyz*E"
ENTRY = """(step)=
## Step

The distance of neighbours. And `more` of $x$.
Even more.

Section: [The step](../notebooks/01_what-is-quantization.ipynb#the-step)
"""


@pytest.fixture(scope="module")
def bank():
    return load_bank()


def test_moodle_keeps_every_key(bank):
    keys = moodle.read_back(moodle.to_xml(bank))
    assert set(keys) == {question.id for question in bank}
    for question in bank:
        key = keys[question.id]
        if question.kind == "numeric":
            assert key.value == question.value
            assert key.tolerance == abs(question.value) * question.tolerance
            assert key.unit == question.unit
            continue
        shown = [text for text, _ in key.fractions]
        assert shown == [moodle.inline(choice.text) for choice in question.choices]
        right = [worth for _, worth in key.fractions if worth > 0]
        assert [w > 0 for _, w in key.fractions] == [
            c.correct for c in question.choices
        ]
        assert sum(right) == pytest.approx(100, abs=1e-3)
        wrong = [worth for _, worth in key.fractions if worth <= 0]
        total = -100 if question.kind == "multiple" else 0
        assert sum(wrong) == pytest.approx(total, abs=1e-3)
        assert key == moodle.expected(question)


def test_a_changed_key_would_be_noticed(bank):
    xml = moodle.to_xml(bank).replace(b'fraction="100.0"', b'fraction="0.0"', 1)
    keys = moodle.read_back(xml)
    assert [q.id for q in bank if keys[q.id] != moodle.expected(q)]


def test_moodle_shows_tables_code_and_reasons(bank):
    by_id = {q.id: q for q in bank}
    xml = moodle.to_xml([by_id["x-table-flips"], by_id["x-bug-norm"]]).decode()
    assert "&lt;table&gt;" in xml
    assert "&lt;pre&gt;&lt;code&gt;def norm(x):" in xml
    for choice in by_id["x-bug-norm"].choices:
        assert (
            moodle.inline(choice.why).replace("<", "&lt;").replace(">", "&gt;") in xml
        )
    assert moodle.inline("a < `b`") == "a &lt; <code>b</code>"


BOMB = b'<!DOCTYPE q [<!ENTITY a "x">]><quiz><question>&a;</question></quiz>'


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (BOMB, "no XML that can be trusted"),
        (b"<!DOCTYPE quiz><quiz></quiz>", "no XML that can be trusted"),
        (b"<quiz>", "no XML that can be trusted"),
        (b"<html></html>", "no Moodle quiz"),
        (b"<quiz><question type='multichoice'/></quiz>", "none or twice"),
    ],
)
def test_a_file_that_is_no_bank_is_refused(xml, said):
    with pytest.raises(ValueError, match=said):
        moodle.read_back(xml)


def test_the_glossary_has_terms_with_definitions_and_sections():
    found = terms()
    assert len(found) >= 80
    for term in found:
        assert term.definition.endswith(".")
        # One sentence: no full stop or mark inside is followed by a new one.
        assert not any(f"{sign} " in term.definition[:-1] for sign in ".?")
        assert title(term.section)
    names = [term.title.lower() for term in found]
    assert names == sorted(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ENTRY + "\n" + ENTRY, "the id step twice"),
        (ENTRY.replace("Section: ", ""), "line with its section"),
        (ENTRY.replace("#the-step", "#nowhere"), "no section 'nowhere'"),
    ],
)
def test_a_faulty_glossary_is_named(tmp_path, text, said):
    page = tmp_path / "glossary.md"
    page.write_text(text)
    with pytest.raises(GlossaryError, match=said):
        terms(page)


def test_a_card_is_html():
    term = Term(
        "a", "A < b", "Code `x` and $y$.", "", "01_what-is-quantization#the-step"
    )
    front, back, notes, place = anki.fields_of(term)
    assert front == "A &lt; b"
    assert back == r"Code <code>x</code> and \(y\)."
    assert notes == ""
    assert place == "Chapter 01, The step"


def test_the_deck_holds_every_term_under_a_stable_guid(tmp_path, apart):
    genanki = apart("genanki")
    found, deck = terms(), tmp_path / "deck.apkg"
    assert anki.write(found, deck) == len(found)
    with zipfile.ZipFile(deck) as packed:
        (tmp_path / "db").write_bytes(packed.read("collection.anki2"))
    with sqlite3.connect(tmp_path / "db") as database:
        notes = dict(database.execute("select guid, flds from notes").fetchall())
        cards = database.execute("select count(*) from cards").fetchone()[0]
    assert cards == len(notes) == len(found)
    for term in found:
        guid = genanki.guid_for("fewer-bits", term.id)
        assert notes[guid].split("\x1f") == anki.fields_of(term)
    # A reader's deck knows the card by this guid: it must never change.
    assert notes[STEP].startswith("Step\x1f")
    first = deck.read_bytes()
    anki.write(found, deck)
    assert deck.read_bytes() == first
    with pytest.raises(ValueError, match="at least one term"):
        anki.write([], deck)


def test_the_command_line(tmp_path, capsys):
    assert main(["moodle", str(tmp_path / "bank.xml")]) == 0
    bank = load_bank()
    assert f"{len(bank)} questions" in capsys.readouterr().out
    keys = moodle.read_back((tmp_path / "bank.xml").read_bytes())
    assert keys == {q.id: moodle.expected(q) for q in bank}
    out = tmp_path / "form.json"
    assert main(["form", str(out), "--seed", "3", "--questions", "9"]) == 0
    assert len(json.loads(out.read_text("utf-8"))) == 9
    wanted = ["form", str(tmp_path / "f.xml"), "--questions", "5"]
    assert main([*wanted, "--chapter", "09_gptq"]) == 0
    assert len(moodle.read_back((tmp_path / "f.xml").read_bytes())) == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["form", "OUT/f.json", "--questions", "99999"], "The bank has"),
        (["moodle", "OUT/no/where.xml"], "Cannot use"),
    ],
)
def test_an_error_is_one_sentence(tmp_path, capsys, words, said):
    words = [word.replace("OUT", str(tmp_path)) for word in words]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1
