"""Feedback, summary and gradebooks: right sums, no hidden input, no foreign markup."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest

from course_utils.assignment import gradebook, report, results
from course_utils.assignment.judgements import Judgement, Judgements
from course_utils.assignment.results import Asked, load, write_asked
from course_utils.assignment.roster import Student
from course_utils.assignment.tally import counting, scores
from course_utils.assignment.words import hint

CODE, WORDS = "1. Implement: a step", "2. Explain: why"
RUBRIC = "| Level | What |\n|---|---|\n| 0 | None. |\n| 1 | A bit. |\n| 3 | All. |"
STUDENTS = (
    Student("s1", "Ann <b>", "ann@x"),
    Student("s2", "=HYPERLINK(1)", "bob@x"),
    Student("s3", "Cy", "cy@x"),
)
ASKED = Asked("Week 1", "09_gptq", {CODE: 2.0, WORDS: 3.0}, {WORDS: RUBRIC}, STUDENTS)
EVIL = "<img src=x onerror=alert(1)></pre><script>alert(2)</script>"


def check(message="", name="check_by_hand", *, hidden=False):
    return {"question": CODE, "check": name, "message": message, "hidden": hidden}


def line(submission, student, points, *checks, answer="", sha="", **more):
    return {
        "submission": submission,
        "student": student,
        "sha256": sha or submission,
        "error": "",
        "points": {CODE: points},
        "checks": list(checks),
        "answers": {WORDS: answer},
        "remarks": [],
        "seconds": 0.25,
        "checks_sha256": "",
    } | more


@pytest.fixture
def graded(tmp_path):
    def write(*lines, asked=ASKED):
        write_asked(tmp_path, asked)
        text = "".join(json.dumps(one) + "\n" for one in lines)
        (tmp_path / results.RESULTS).write_text(text)
        return tmp_path

    return write


def pages(folder):
    report.write(folder, say=lambda _: None)
    return {p.stem: p.read_text() for p in (folder / "feedback").iterdir()}


class Tags(HTMLParser):
    """The tags of a page, which must close in order."""

    EMPTY = frozenset(("meta", "input", "br", "path", "use", "rect", "stop"))

    def __init__(self, text):
        super().__init__()
        self.seen, self.open = set(), []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, _):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_feedback_names_the_failed_check_and_its_hint(graded):
    shown = check("Is the sign right?\n    expected 1\n    got      2")
    folder = graded(line("s1.ipynb", "s1", 1.0, check(name="check_b"), shown))
    text = pages(folder)["s1"]
    assert "by hand" in text
    assert "Is the sign right?\n    expected 1" in text
    assert "Together 1 of 5 points" in text


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Try ties.\n    expected 3\n    got 4242", "Try ties."),
        ("your function raised ValueError: 4242 at `raise`", "your function raised V"),
        ("your function raised RuntimeError: a\n4242", "your function raised R"),
        ("what your function returned could not be used (E: 4242)", "could not be use"),
        ("not written yet.", "not written yet."),
    ],
)
def test_no_hidden_input_is_shown(graded, message, said):
    folder = graded(line("s1.ipynb", "s1", 0.0, check(message, hidden=True)))
    text = pages(folder)["s1"]
    assert "4242" not in text
    assert said in text
    shown = hint(check(message))
    assert ("4242" in shown) == ("4242" in message)


def test_text_of_a_submission_is_never_markup(graded):
    folder = graded(
        line(f"{EVIL}.ipynb", "s1", 0.0, check(EVIL), answer=EVIL, remarks=[EVIL]),
        line("../../x.ipynb", "s2", 0.0, check("a" * 10**6), error=EVIL),
    )
    found = pages(folder)
    assert len(found) == 2
    summary = (folder / "summary.html").read_text()
    for text in (*found.values(), summary):
        assert not {"script", "img"} & Tags(text).seen
        assert len(text) < 300_000
        assert not re.search(r"(?:src|href)=\"?https?:", text)
    assert {p.parent.name for p in folder.rglob("*.html")} == {
        "feedback",
        folder.name,
    }


def test_names_that_differ_little_are_different_files(graded):
    names = ["a/b.ipynb", "a_b.ipynb", "A_B.ipynb", "...ipynb", "\u00e9.ipynb"]
    folder = graded(*(line(name, "", 0.0, sha=str(i)) for i, name in enumerate(names)))
    found = pages(folder)
    assert len({name.lower() for name in found}) == len(names)


def test_a_page_of_an_earlier_run_is_taken_away(graded):
    folder = graded(line("s1.ipynb", "s1", 1.0), line("s2.ipynb", "s2", 1.0))
    assert set(pages(folder)) == {"s1", "s2"}
    assert set(pages(graded(line("s2.ipynb", "s2", 1.0)))) == {"s2"}


def test_judgements_are_merged_and_what_waits_is_said(graded):
    folder = graded(
        line("s1.ipynb", "s1", 2.0, answer="because"),
        line("s2.ipynb", "s2", 2.0, answer="since"),
        line("s3.ipynb", "s3", 2.0),
    )
    judged = Judgements(folder)
    judged.put("s1.ipynb", WORDS, Judgement(1, f"Nearly. {EVIL}"))
    said = []
    report.write(folder, say=said.append)
    assert said == [
        f"1 answers are not judged yet: `assignment report {folder} --enter`"
    ]
    found = {p.stem: p.read_text() for p in (folder / "feedback").iterdir()}
    assert "Level 1 of 3: A bit." in found["s1"]
    assert "Together 3 of 5 points.<" in found["s1"]
    assert "<script" not in found["s1"]
    assert "Together 2 of 5 points of what is judged so far" in found["s2"]
    assert "not judged yet" not in found["s3"]
    every = scores(load(folder), Judgements(folder))
    assert [s.total for s in every] == [3.0, 2.0, 2.0]


def rows(text):
    return list(csv.reader(io.StringIO(text)))


def test_gradebooks_hold_the_points(graded):
    folder = graded(
        line("s1.ipynb", "s1", 1.25),
        line("s1_again.ipynb", "s1", 2.0),
        line("s2.ipynb", "s2", 2 / 3),
    )
    report.write(folder, say=lambda _: None)
    canvas = rows((folder / "canvas.csv").read_text())
    assert canvas[0] == [*gradebook.CANVAS, "Week 1"]
    assert canvas[1][0].strip() == "Points Possible"
    assert canvas[1][-1] == "5"
    assert [(row[2], row[-1]) for row in canvas[2:]] == [
        ("s1", "2"),
        ("s2", "0.6667"),
        ("s3", ""),
    ]
    assert canvas[3][0] == "'=HYPERLINK(1)"
    moodle = rows((folder / "moodle.csv").read_text())
    assert [row[:3] for row in moodle[1:]] == [
        ["s1", "ann@x", "2"],
        ["s2", "bob@x", "0.6667"],
        ["s3", "cy@x", ""],
    ]


def test_an_exported_gradebook_gets_its_column(graded, tmp_path):
    folder = graded(line("s1.ipynb", "s1", 2.0), line("s2.ipynb", "s2", 1.0))
    path = tmp_path / "export.csv"
    path.write_text(
        "\ufeffStudent,ID,SIS User ID,Section,Week 1 (4711),Other (1)\n"
        "    Points Possible,,,,5,10\n"
        '"B, Ann",77,s1,A,,=3\n'
        "Student of nobody,78,s9,A,4,2\n"
    )
    said = []
    report.write(folder, path, say=said.append)
    filled = rows((folder / "filled-export.csv").read_text())
    assert filled == [
        ["Student", "ID", "SIS User ID", "Section", "Week 1 (4711)", "Other (1)"],
        ["    Points Possible", "", "", "", "5", "10"],
        ["B, Ann", "77", "s1", "A", "2", "=3"],
        ["Student of nobody", "78", "s9", "A", "4", "2"],
    ]
    assert said == ["Not in export.csv: s2"]
    path.write_text("Surname,Email address\nB,ANN@x\n")
    report.write(folder, path, say=said.append)
    filled = rows((folder / "filled-export.csv").read_text())
    assert filled == [
        ["Surname", "Email address", "Week 1"],
        ["B", "ANN@x", "2"],
    ]
    path.write_text("Name\nB\n")
    with pytest.raises(ValueError, match="none of the columns SIS User ID"):
        report.write(folder, path)


def test_the_summary_names_what_a_person_should_see(graded):
    folder = graded(
        line("s1.ipynb", "s1", 2.0, check(), sha="same", seconds=9.5),
        line("s2.ipynb", "s2", 1.0, check("no"), sha="same", remarks=["odd thing."]),
        line("x.ipynb", "", 0.0, error="it is cut off."),
    )
    text = pages(folder) and (folder / "summary.html").read_text()
    Tags(text)
    for part in (
        "3 submissions, of which 1 could not be graded",
        "2 of 3 students handed in",
        "s1.ipynb, s2.ipynb</td><td>equal to the byte",
        "odd thing.",
        "it is cut off.",
        "s3</td><td>handed in nothing",
        "1: by hand failed most often, in 1 submissions",
        "Histogram of the points of 2 submissions",
    ):
        assert part in text
    again = pages(folder) and (folder / "summary.html").read_text()
    assert again == text


def test_the_summary_names_all_who_are_missing_and_which_file_counts(graded):
    students = tuple(Student(f"s{i}") for i in range(100))
    asked = Asked("Week 1", "09_gptq", {CODE: 2.0}, {}, students)
    odd = [line(f"x{i}.ipynb", "", 0.0, error="cut off.") for i in range(40)]
    twice = [line("a_s0.ipynb", "s0", 1.0), line("b_s0.ipynb", "s0", 2.0)]
    folder = graded(*odd, *twice, asked=asked)
    text = pages(folder) and (folder / "summary.html").read_text()
    assert f"{', '.join(f's{i}' for i in range(1, 100))}</td>" in text
    assert "2 submissions; b_s0.ipynb counts" in text
    assert "10 more lines are in results.jsonl" in text


@pytest.mark.parametrize("n", [0, 1, 5000])
def test_the_summary_works_for_any_class(graded, n):
    many = (
        line(f"{i:04}.ipynb", "", i / max(n, 1), check("no"), sha=str(i))
        for i in range(n)
    )
    asked = Asked("Week 1", "09_gptq", {CODE: 2.0})
    folder = graded(*many, asked=asked)
    found = load(folder)
    text = report.summary(found, scores(found, Judgements(folder)), {})
    assert f"{n} submissions" in text
    assert len(text) < 500_000


def test_the_best_of_several_counts(graded):
    folder = graded(
        line("a_s1.ipynb", "s1", 2.0), line("b_s1.ipynb", "s1", 1.0), line("c", "", 2.0)
    )
    best = counting(scores(load(folder), Judgements(folder)))
    assert {who: s.total for who, s in best.items()} == {"s1": 2.0}


def test_a_folder_that_was_not_graded_is_said(tmp_path):
    with pytest.raises(ValueError, match="run `assignment grade` first"):
        report.write(tmp_path)
    (tmp_path / results.ASKED).write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        report.write(tmp_path)
