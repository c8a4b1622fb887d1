"""The page of measured tables: sums of a chapter, and what it says of no record."""

from pathlib import Path

import pytest
from fewer_bits import tables

from course_utils.measure import tasks

PAGE = Path(__file__).parents[2] / "book" / "measured.md"


def entry(seconds, peak):
    return {"seconds": seconds, "peak_mib": peak}


def test_a_chapter_adds_seconds_and_takes_the_larger_peak():
    executions = {
        "solutions/01_b": entry(10.2, 900),
        "notebooks/01_b": entry(40.1, 800),
        "notebooks/00_a": entry(5.0, 100),
    }
    first, second = tables.chapter_rows({"executions": executions})
    assert (first["chapter"], first["together, s"]) == ("00_a", 5.0)
    assert second["together, s"] == 50.3
    assert second["peak memory (MiB)"] == 900
    assert [second[c] for c in tables.CHAPTER_COLUMNS[1:3]] == [40.1, 10.2]
    # A chapter without a solution leaves its cell empty and keeps the columns.
    table = tables.table_of([first, second], tables.CHAPTER_COLUMNS)
    assert tables.NOTHING in table.astext()


def test_a_missing_record_says_so_once():
    directive = object.__new__(tables.RecordTable)
    directive.arguments, directive.options = ["lessons-gpu"], {}
    directive.read = lambda _: None
    (paragraph,) = directive.run()
    assert paragraph.astext() == "Not yet measured."
    note = object.__new__(tables.RecordNote)
    note.arguments, note.read = ["lessons-gpu"], lambda _: None
    assert note.run() == []


def test_a_table_may_show_some_of_the_quantities():
    values = {name: {"value": 1.5} for name in ("a_ratio", "a_ppl", "b_ratio")}
    directive = object.__new__(tables.RecordTable)
    directive.arguments, directive.options = ["x"], {"ending": "ratio, kl"}
    directive.read = lambda _: {"values": values}
    text = directive.run()[0].astext()
    assert "a ratio" in text
    assert "b ratio" in text
    assert "a ppl" not in text


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_measurement_is_on_a_page(name):
    if name == "embedded-model":
        pytest.skip("its numbers are said in chapter 00")
    assert f"```{{record-table}} {name}\n" in PAGE.read_text(encoding="utf-8")
