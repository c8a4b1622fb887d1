"""The bank as Moodle XML, and the keys read back from such a file.

    single     a multiple-choice question; the key is worth 100 percent
    multiple   right choices share 100 percent, wrong ones minus 100 percent
    numeric    a numerical question; Moodle's tolerance is an absolute difference, so
               the relative one of the bank is multiplied by the key; the unit may be
               left out

Every choice carries its explanation as feedback. Categories are the chapters, tags the
difficulty. `read_back` takes a file that somebody may have edited: it reads no
document type and no entity.
"""

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from course_utils.exam.questions import Question, Table
from course_utils.exam.sections import title

TOP = "$course$/top/Fewer Bits"
PLACES = 5


@dataclass(frozen=True)
class Key:
    """What a question counts as right.

    Attributes:
        fractions: Percent for each choice, by its text as HTML.
        value: The number asked for, with its absolute tolerance and unit.
    """

    fractions: tuple[tuple[str, float], ...] = ()
    value: float | None = None
    tolerance: float = 0.0
    unit: str = ""


def write(questions: Iterable[Question], out: Path) -> int:
    """Write questions as Moodle XML and return their number.

    Raises: ValueError without questions; OSError if the file cannot be written.
    """
    asked = list(questions)
    if not asked:
        raise ValueError("There is no question to write.")
    out.write_bytes(to_xml(asked))
    return len(asked)


def to_xml(questions: Iterable[Question]) -> bytes:
    """Return questions as Moodle XML, a category for each chapter."""
    quiz, chapter = ET.Element("quiz"), None
    for question in questions:
        if question.chapter != chapter:
            chapter = question.chapter
            quiz.append(_category(chapter))
        quiz.append(_question(question))
    ET.indent(quiz)
    return ET.tostring(quiz, encoding="utf-8", xml_declaration=True)


def expected(question: Question) -> Key:
    """Return the key that a file should hold for a question of the bank."""
    if question.kind == "numeric":
        tolerance = abs(question.value) * question.tolerance
        return Key(value=question.value, tolerance=tolerance, unit=question.unit)
    texts = (inline(choice.text) for choice in question.choices)
    return Key(fractions=tuple(zip(texts, _fractions(question), strict=True)))


def read_back(xml: bytes) -> dict[str, Key]:
    """Return the key of every question in a Moodle XML file, by its id.

    Raises: ValueError if the file is no Moodle quiz, declares a document type, or
        repeats an id.
    """
    found: dict[str, Key] = {}
    for node in _parsed(xml).iterfind("question"):
        if node.get("type") == "category":
            continue
        name = node.findtext("idnumber", "")
        if not name or name in found:
            raise ValueError(f"A question has the idnumber {name!r}, none or twice.")
        found[name] = _key(node)
    return found


def inline(text: str) -> str:
    """Return text of an item as HTML, with code between backticks."""
    safe = html.escape(text, quote=False)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)


def _parsed(xml: bytes) -> ET.Element:
    # Comes with Jupyter; refuses what could make a small file large.
    from defusedxml import DefusedXmlException  # noqa: PLC0415
    from defusedxml.ElementTree import fromstring  # noqa: PLC0415

    try:
        root = fromstring(xml, forbid_dtd=True)
    except (ET.ParseError, DefusedXmlException) as error:
        raise ValueError(f"This is no XML that can be trusted: {error!r}") from error
    if root.tag != "quiz":
        raise ValueError(f"This is no Moodle quiz: its root is {root.tag!r}.")
    return root


def _key(node: ET.Element) -> Key:
    answers = node.findall("answer")
    if node.get("type") == "numerical":
        answer = answers[0]
        return Key(
            value=float(answer.findtext("text", "nan")),
            tolerance=float(answer.findtext("tolerance", "nan")),
            unit=node.findtext("units/unit/unit_name", ""),
        )
    pairs = ((a.findtext("text", ""), float(a.get("fraction", "nan"))) for a in answers)
    return Key(fractions=tuple(pairs))


def _fractions(question: Question) -> Iterator[float]:
    """Yield what each choice is worth, in percent."""
    right = sum(choice.correct for choice in question.choices)
    wrong = len(question.choices) - right
    for choice in question.choices:
        if choice.correct:
            yield round(100 / right, PLACES)
        else:
            yield 0.0 if question.kind == "single" else round(-100 / wrong, PLACES)


def _category(chapter: str) -> ET.Element:
    node = ET.Element("question", type="category")
    # A slash would open a category below.
    name = title(chapter).replace("/", " ")
    _text(node, "category", f"{TOP}/{chapter[:2]} {name}")
    return node


def _question(question: Question) -> ET.Element:
    numeric = question.kind == "numeric"
    node = ET.Element("question", type="numerical" if numeric else "multichoice")
    _text(node, "name", f"{question.id}: {question.objective}")
    _html(node, "questiontext", _asked(question))
    _html(node, "generalfeedback", _afterwards(question))
    ET.SubElement(node, "defaultgrade").text = "1"
    ET.SubElement(node, "idnumber").text = question.id
    tags = ET.SubElement(node, "tags")
    _text(tags, "tag", f"difficulty {question.difficulty}")
    (_numerical if numeric else _multichoice)(node, question)
    return node


def _multichoice(node: ET.Element, question: Question) -> None:
    ET.SubElement(node, "single").text = str(question.kind == "single").lower()
    ET.SubElement(node, "shuffleanswers").text = "true"
    ET.SubElement(node, "answernumbering").text = "abc"
    for choice, worth in zip(question.choices, _fractions(question), strict=True):
        answer = ET.SubElement(node, "answer", fraction=repr(worth), format="html")
        ET.SubElement(answer, "text").text = inline(choice.text)
        _html(answer, "feedback", inline(choice.why))


def _numerical(node: ET.Element, question: Question) -> None:
    answer = ET.SubElement(node, "answer", fraction="100", format="moodle_auto_format")
    ET.SubElement(answer, "text").text = repr(question.value)
    tolerance = abs(question.value) * question.tolerance
    ET.SubElement(answer, "tolerance").text = repr(tolerance)
    _html(answer, "feedback", inline(question.explanation))
    # A unit that is left out costs nothing; the text of the question names it.
    ET.SubElement(node, "unitgradingtype").text = "0"
    ET.SubElement(node, "unitpenalty").text = "0"
    ET.SubElement(node, "showunits").text = "0" if question.unit else "3"
    ET.SubElement(node, "unitsleft").text = "0"
    if question.unit:
        unit = ET.SubElement(ET.SubElement(node, "units"), "unit")
        ET.SubElement(unit, "multiplier").text = "1"
        ET.SubElement(unit, "unit_name").text = question.unit


def _asked(question: Question) -> str:
    """Return the text of a question with its table or code, as HTML."""
    parts = [f"<p>{inline(question.text)}</p>"]
    if question.table:
        parts.append(_table(question.table))
    if question.code:
        parts.append(f"<pre><code>{html.escape(question.code)}</code></pre>")
    if question.kind == "numeric" and question.unit:
        parts.append(f"<p>Unit: {html.escape(question.unit)}</p>")
    return "".join(parts)


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{inline(c)}</th>' for c in table.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{inline(c)}</td>' for c in row)}</tr>"
        for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _afterwards(question: Question) -> str:
    """Return what is shown after an answer: explanation, and where it is taught."""
    slug = question.section.partition("#")[0]
    place = html.escape(f"Chapter {slug[:2]}, {title(question.section)}")
    said = f"<p>{inline(question.explanation)}</p>" if question.explanation else ""
    return f"{said}<p>{place}</p>"


def _text(node: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(ET.SubElement(node, tag), "text").text = text


def _html(node: ET.Element, tag: str, text: str) -> None:
    child = ET.SubElement(node, tag, format="html")
    ET.SubElement(child, "text").text = text
