"""A filled gradebook: the right row, the right column, nothing else."""

import csv
import io

import pytest

from course_utils.assignment import gradebook
from course_utils.assignment.results import Asked
from course_utils.assignment.roster import Student
from course_utils.assignment.tally import Score

ROSTER = (Student("s1", "Ann", "ann@x"), Student("77", "Bob", "bob@x"))


def score(who, points, error=""):
    return Score({"student": who, "error": error}, {"1. Implement: a": points})


def asked(title="Week 1"):
    return Asked(title, "09_gptq", {"1. Implement: a": 2.0}, {}, ROSTER)


BEST = {"s1": score("s1", 1.5), "77": score("77", 0.5)}


def fill(path, text, title="Week 1"):
    path.write_text(text, encoding="utf-8")
    filled, odd = gradebook.fill(path, asked(title), BEST)
    return list(csv.reader(io.StringIO(filled))), odd


@pytest.fixture
def path(tmp_path):
    return tmp_path / "e.csv"


@pytest.mark.parametrize(
    ("title", "column"),
    [
        ("Week 1", "Week 1"),
        ("Week 1", "Week 1 (4711)"),
        ("Week 1", "Assignment: Week 1 (Real)"),
        ("GPTQ (w3)", "GPTQ (w3) (4711)"),
        ("a+b", "a+b (1)"),
    ],
)
def test_the_column_of_the_assignment_is_filled(path, title, column):
    rows, odd = fill(path, f"SIS User ID,{column}\ns1,\n77,9\n", title)
    assert rows == [["SIS User ID", column], ["s1", "1.5"], ["77", "0.5"]]
    assert odd == []


@pytest.mark.parametrize("column", ["Week 1 (bonus) (4712)", "Week 10", "Quiz: Week 1"])
def test_another_column_is_left_alone(path, column):
    rows, _ = fill(path, f"SIS User ID,{column}\ns1,9\n")
    assert rows == [["SIS User ID", column, "Week 1"], ["s1", "9", "1.5"]]


def test_two_columns_of_one_title_are_refused(path):
    with pytest.raises(ValueError, match=r"Week 1 \(1\), Week 1 \(2\); leave the one"):
        fill(path, "SIS User ID,Week 1 (1),Week 1 (2)\ns1,,\n")


def test_a_number_of_canvas_is_no_id_of_the_school(path):
    """The stranger has the number 77 in Canvas; Bob has the id 77."""
    rows, odd = fill(path, "Student,ID,SIS User ID\nStranger,77,u9\nAnn,5,s1\n")
    assert [row[-1] for row in rows] == ["Week 1", "", "1.5"]
    assert odd == ["Not in e.csv: 77"]
    rows, odd = fill(path, "Student,ID,SIS User ID\nBob,77,\n")
    assert rows[1][-1] == "0.5"


def test_a_student_gets_points_in_one_row(path):
    text = "Username,Email address\nx,ann@x\nS1,other@x\n"
    assert [row[-1] for row in fill(path, text)[0]] == ["Week 1", "", "1.5"]


def test_short_rows_are_read(path):
    rows, _ = fill(path, "Student,X,SIS User ID\nA\n\nB,,s1\n")
    assert rows[1:] == [["A", "", "", ""], ["B", "", "s1", "1.5"]]


@pytest.mark.parametrize(("of", "n"), [("2", 0), ("2.0", 0), ("", 0), ("100", 1)])
def test_another_scale_is_said(path, of, n):
    text = f"Student,SIS User ID,Week 1\n    Points Possible,,{of}\nA,s1,\nB,77,\n"
    rows, odd = fill(path, text)
    assert rows[1][2] == (of or "2")
    assert len(odd) == n
    assert all("says 100 points for Week 1, and ours are of 2" in one for one in odd)


def test_what_is_no_table_is_said(path):
    path.write_bytes(b"SIS User ID\n\xe9\n")
    with pytest.raises(ValueError, match="is not UTF-8"):
        gradebook.fill(path, asked(), BEST)
    with pytest.raises(ValueError, match="is no CSV file"):
        fill(path, f"SIS User ID\n{'x' * 200_000}\n")
    with pytest.raises(ValueError, match="none of the columns"):
        fill(path, "")


def test_moodle_says_what_could_not_be_graded():
    best = {"s1": score("s1", 0.0, "=it was cut off."), "77": score("77", None)}
    rows = list(csv.reader(io.StringIO(gradebook.moodle(asked(), best))))
    assert [row[2:] for row in rows[1:]] == [
        ["0", "Not graded: =it was cut off."],
        ["0", "Not judged yet: 1. Implement: a"],
    ]


@pytest.mark.parametrize("first", "=+-@\t\r")
def test_no_cell_of_ours_is_a_formula(first):
    hostile = Asked(
        f"{first}t", "x", {"a": 1.0}, {}, (Student("s1", f"{first}n", f"{first}m"),)
    )
    for text in (gradebook.canvas(hostile, {}), gradebook.moodle(hostile, {})):
        cells = [c for row in csv.reader(io.StringIO(text, newline="")) for c in row]
        assert any(cell.startswith(f"'{first}") for cell in cells)
        assert not any(cell.startswith(tuple("=+-@\t\r")) for cell in cells)
