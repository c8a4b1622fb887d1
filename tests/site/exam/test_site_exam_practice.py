"""Practice: by keyboard, every answer explained, what was wrong comes back."""

import json
import re

import pytest
from exam_pages import CELLS, KEPT, PRACTICE, fixed, place_exists, plain, tick_and_start
from playwright.sync_api import expect


def test_practice_by_keyboard_alone(page, start, site, bank):
    item = fixed(bank, kind="single", style="plain", chapter="01_what-is-quantization")
    choices = item["choices"]
    key = next(i for i, c in enumerate(choices) if c["correct"])
    wrong = (key + 1) % len(choices)
    page.goto(f"{start}/{PRACTICE}")
    keys = page.keyboard
    page.get_by_label("1. What is lost").focus()
    keys.press("Space")
    page.get_by_label("One choice").focus()
    keys.press("Space")
    keys.press("Enter")  # sends the form
    expect(page.locator(".exam-question fieldset")).to_be_focused()
    expect(page.locator("legend").last).to_contain_text(plain(item["text"]))
    keys.press("Tab")
    keys.press("Space")
    for _ in range(wrong):
        keys.press("ArrowDown")
    keys.press("Enter")
    verdict = page.locator(".exam-verdict")
    expect(verdict).to_contain_text(f"Not yet. {plain(choices[wrong]['why'])}")
    href = verdict.get_by_role("link").get_attribute("href")
    assert place_exists(site, start, page.url, href)
    assert not place_exists(site, start, page.url, f"{href}-gone")
    for _ in range((key - wrong) % len(choices)):
        keys.press("ArrowDown")
    expect(verdict).to_be_empty()
    keys.press("Enter")
    expect(verdict).to_contain_text(f"Correct. {plain(choices[key]['why'])}")
    # The first answer is what is remembered, and the question is offered again.
    page.reload()
    page.get_by_label("Questions").select_option("wrong")
    expect(page.get_by_text("1 question.", exact=True)).to_be_visible()
    page.get_by_role("button", name="Start practice").press("Enter")
    expect(page.locator("legend").last).to_contain_text(plain(item["text"]))
    keys.press("Tab")
    keys.press("Space")
    for _ in range(key):
        keys.press("ArrowDown")
    keys.press("Enter")
    expect(verdict).to_contain_text("Correct.")
    entry = json.loads(page.evaluate(KEPT))["items"][item["id"]]
    assert (entry["tries"], entry["right"]) == (2, True)


def test_every_chosen_distractor_is_explained(page, base_url, bank):
    item = fixed(bank, kind="multiple")
    title = next(c["title"] for c in bank["chapters"] if c["slug"] == item["chapter"])
    page.goto(f"{base_url}/{PRACTICE}")
    tick_and_start(page, title, "Several choices")
    expect(page.locator("legend").last).to_contain_text(plain(item["text"]))
    for box in page.locator("[name=practice]").all():
        box.check()
    page.get_by_role("button", name="Check").click()
    for choice in item["choices"]:
        if not choice["correct"]:
            said = page.locator(".exam-verdict")
            expect(said).to_contain_text(plain(choice["why"]))


def test_wrong_ones_are_offered_at_the_end(page, base_url, bank):
    page.goto(f"{base_url}/{PRACTICE}")
    tick_and_start(page, "A table to read", "Hard")
    count = int(
        re.search(r"of (\d+)\.", page.locator(".exam-place").inner_text()).group(1)
    )
    page.get_by_role("button", name="Show the answer").click()
    expect(page.locator(".exam-verdict")).to_contain_text("Right:")
    for _ in range(count - 1):
        page.get_by_role("button", name="Next question").click()
    page.get_by_role("button", name="Finish").click()
    expect(page.get_by_role("heading", name="0 of 1 answered")).to_be_focused()
    page.get_by_role("button", name="Practise the 1 that were not").click()
    expect(page.locator(".exam-place")).to_have_text("Question 1 of 1.")


@pytest.mark.parametrize("style", ["table", "bug"])
def test_tables_and_code_are_shown(page, base_url, bank, style):
    item = fixed(bank, style=style)
    page.goto(f"{base_url}/{PRACTICE}")
    label = {"table": "A table to read", "bug": "Code with a fault"}[style]
    tick_and_start(page, label)
    question = page.locator(".exam-question")
    if style == "bug":
        assert question.locator("pre").inner_text() == item["code"]
        return
    cells = question.locator("tbody tr").evaluate_all(CELLS)
    assert cells == [[plain(cell) for cell in row] for row in item["table"]["rows"]]
    assert question.locator("th[scope=col]").all_inner_texts() == [
        plain(column) for column in item["table"]["columns"]
    ]
