"""The computed coverage of the exam, and the cheat sheet."""

import copy

import pytest
import yaml

from course_utils.exam import coverage as covered
from course_utils.exam.bank import load_bank
from course_utils.exam.coverage import BlueprintError, coverage, items_by_section
from course_utils.exam.expressions import ItemError
from course_utils.exam.sections import missing
from course_utils.exam.sheet import SHEET, blocks

SECTION = "01_what-is-quantization#the-step"
PLAN = {
    "exam": "E",
    "source": "S",
    "date": "2026-08-18",
    "domains": [
        {
            "name": "A",
            "weight": 60,
            "objectives": [
                {"text": "taught", "sections": [SECTION]},
                {"text": "lost", "sections": ["01_what-is-quantization#nowhere"]},
                {"text": "planned", "planned": "77_later"},
            ],
        },
        {"name": "B", "weight": 40, "objectives": [{"text": "nothing"}]},
    ],
}
ITEMS = {SECTION: ["i", "j"]}


def read(tmp_path, plan, items=ITEMS):
    path = tmp_path / "blueprint.yaml"
    path.write_text(yaml.safe_dump(plan))
    return coverage(path, items)


def test_only_sections_that_exist_and_are_asked_about_count(tmp_path):
    found = read(tmp_path, PLAN)
    assert [o.counts for o in found.domains[0].objectives] == [True, False, False]
    assert found.domains[0].objectives[0].items == ("i", "j")
    assert [d.share for d in found.domains] == [20, 0]
    assert found.share == 20
    assert read(tmp_path, PLAN, {}).share == 0


def edited(**changes):
    plan = copy.deepcopy(PLAN)
    plan["domains"][1] |= changes
    return plan


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (edited(weight=41), "add up to 101, not 100"),
        (edited(objectives=[]), "B: give a weight and objectives"),
        (edited(objectives=[{"text": "x", "section": "y"}]), "B: an objective has"),
        (edited(objectives=[{"text": "x", "sections": ["01_y"]}]), "as slug#anchor"),
        ({"exam": "E"}, "blueprint.yaml needs date, domains"),
    ],
)
def test_a_faulty_blueprint_is_named(tmp_path, plan, said):
    with pytest.raises(BlueprintError, match=said):
        read(tmp_path, plan)


def test_the_blueprint_of_the_book():
    found = coverage()
    assert (found.date, len(found.domains)) == ("2026-08-18", 10)
    assert 0 < found.share < 100
    raw = yaml.safe_load(covered.BLUEPRINT.read_text("utf-8"))
    named = [
        section
        for domain in raw["domains"]
        for objective in domain["objectives"]
        for section in objective.get("sections", [])
    ]
    assert [f"{s}: {missing(s)}" for s in named if missing(s)] == []
    assert [s for s in named if s not in items_by_section()] == []


def test_the_items_are_those_of_the_bank():
    by_section = {}
    for question in load_bank():
        by_section.setdefault(question.section, set()).add(question.id)
    assert {s: set(i) for s, i in items_by_section().items()} == by_section


def test_the_sheet_is_computed():
    found = {block.title: dict(block.table.rows) for block in blocks()[2:3]}
    # 4-bit codes with a 16-bit scale for each 128, 64 and 32 weights.
    assert found["Stored bits per weight"]["INT4, groups of 128, 64, 32"] == (
        "4.125, 4.25, 4.5"
    )
    for block in blocks():
        widths = {len(row) for row in block.table.rows}
        assert widths == {len(block.table.columns)}


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("costs 4.5 bits", "typed number"),
        ("over 90 %", "typed number"),
        ("{nothing}", "cannot fill"),
    ],
)
def test_a_typed_number_is_refused(tmp_path, cell, said):
    raw = yaml.safe_load(SHEET.read_text("utf-8"))
    raw[0]["rows"][0][1] = cell
    path = tmp_path / "sheet.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    with pytest.raises(ItemError, match=f"cheat sheet, Number formats.*{said}"):
        blocks(path)
