"""Reading items: keys follow from expressions, and faults are named."""

import copy
import json
import math

import pytest
import yaml

from course_utils.exam.items import (
    ItemError,
    load,
    parse,
    shown_order,
    slugs,
    to_widget,
    widget_items,
)
from course_utils.widgets.quiz import Quiz

SINGLE = {
    "id": "t-step",
    "objective": "compute a step",
    "section": "the-step",
    "difficulty": 1,
    "kind": "single",
    "let": {"bits": "4", "span": "2.0"},
    "text": "A grid of {bits} bits spans {span}. The step?",
    "key": "span / (2**bits - 1)",
    "choices": [
        {"text": "{value:.4f}", "value": "key", "why": "Gaps."},
        {
            "text": "{value:.4f}",
            "value": "span / 2**bits",
            "why": "{bits} bits have fewer gaps.",
            "misconception": "values counted",
        },
        {
            "text": "larger than {span}",
            "true_if": "key > span",
            "why": "No.",
            "misconception": "none",
        },
    ],
}
NUMERIC = {
    "id": "t-number",
    "objective": "compute a step",
    "section": "02_other#a-b",
    "difficulty": 3,
    "kind": "numeric",
    "text": "The step?",
    "key": "rmse(even(), rebuilt(even(), 4))",
    "tolerance": 0.02,
    "unit": "",
    "explanation": "It is {key:.3f}.",
}


def one(raw):
    return parse(yaml.safe_dump([raw]), "01_test")[0]


def changed(raw, **fields):
    new = copy.deepcopy(raw)
    new.update(fields)
    return {k: v for k, v in new.items() if v is not None}


def test_the_key_is_the_choice_whose_value_equals_it():
    item = one(SINGLE)
    assert [c.text for c in item.choices if c.correct] == ["0.1333"]
    assert item.text == "A grid of 4 bits spans 2.0. The step?"
    assert item.section == "01_test#the-step"
    assert {c.why for c in item.choices} == {"Gaps.", "4 bits have fewer gaps.", "No."}


def test_a_changed_number_moves_the_key():
    item = one(changed(SINGLE, let={"bits": "2", "span": "3.0"}))
    assert [c.text for c in item.choices if c.correct] == ["1.0000"]


def test_a_numeric_key_is_measured():
    item = one(NUMERIC)
    # Errors spread evenly over a step have the root mean square step / sqrt(12).
    assert item.value == pytest.approx(2 / 15 / math.sqrt(12), rel=0.02)
    assert item.section == "02_other#a-b"
    assert item.section_title == "A b"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (changed(SINGLE, kind="essay"), "kind is 'essay'"),
        (changed(SINGLE, difficulty=4), "difficulty is 4"),
        (changed(SINGLE, objective=None), "fields missing: ['objective']"),
        (changed(SINGLE, anchor="x"), "fields not known: ['anchor']"),
        (changed(SINGLE, level="expert"), "level is 'expert'"),
        (changed(SINGLE, text="{nothing}"), "cannot fill"),
        (changed(SINGLE, key="1 /"), "fails with SyntaxError"),
        (changed(SINGLE, key="1 / 0"), "fails with ZeroDivisionError"),
        (changed(SINGLE, choices=SINGLE["choices"][1:] * 2), "0 choices are right"),
        (changed(SINGLE, key=None), "need a key to compare with"),
        (changed(SINGLE, choices=SINGLE["choices"][:2]), "at least three choices"),
        (
            changed(SINGLE, choices=[SINGLE["choices"][0]] * 3),
            "3 choices are right",
        ),
        (changed(SINGLE, let={False: "1"}), "False is no name"),
        (changed(NUMERIC, key=None), "needs a key"),
        (changed(NUMERIC, tolerance=0), "makes no question"),
        (changed(NUMERIC, key="math.nan"), "makes no question"),
    ],
)
def test_a_fault_names_the_item(raw, said):
    with pytest.raises(ItemError) as caught:
        one(raw)
    assert str(caught.value).startswith(f"01_test, {raw['id']}: ")
    assert said in str(caught.value)


def test_a_choice_is_decided_in_one_way_and_says_why():
    for broken in ({"value": "1", "true_if": "key"}, {}, {"value": "1", "why": None}):
        choice = {"text": "x", "why": "y", **broken}
        choice = {k: v for k, v in choice.items() if v is not None}
        with pytest.raises(ItemError, match="needs a why, and value or true_if"):
            one(changed(SINGLE, choices=[*SINGLE["choices"], choice]))


def test_multiple_needs_right_and_wrong_choices():
    choices = [{"text": t, "true_if": "bits == 4", "why": t} for t in "abc"]
    with pytest.raises(ItemError, match="3 of 3 choices are right"):
        one(changed(SINGLE, kind="multiple", choices=choices))


def test_the_order_is_fixed_by_the_id_and_spreads():
    assert shown_order("a", 4) == shown_order("a", 4)
    first = [shown_order(f"item-{i}", 4).index(0) for i in range(400)]
    # 400 draws of 4: a count of 100 has a standard deviation of 8.7; 5 of them.
    assert all(57 <= first.count(p) <= 143 for p in range(4))


@pytest.mark.parametrize("slug", slugs())
def test_the_widget_takes_what_the_bank_gives(slug):
    shown = widget_items(slug)
    assert Quiz(items=shown).items == [{**Quiz(items=[s]).items[0]} for s in shown]
    assert json.loads(json.dumps(shown)) == shown
    for item, whole in zip(shown, load(slug), strict=True):
        assert item["section_title"]
        assert sum(c["correct"] for c in item["choices"]) == sum(
            c.correct for c in whole.choices
        )


def test_the_widget_form_of_each_kind():
    shown = to_widget(one(SINGLE))
    assert set(shown) == {
        *("id", "kind", "text", "choices", "explanation", "section", "section_title")
    }
    assert set(shown["choices"][0]) == {"text", "correct", "why"}
    number = to_widget(one(changed(NUMERIC, level="advanced")))
    assert number["value"] == one(NUMERIC).value
    assert (number["tolerance"], number["level"]) == (0.02, "advanced")
