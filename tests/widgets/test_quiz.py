"""The quiz: what it accepts, what it answers, and the keyboard."""

import copy

import pytest

from course_utils.widgets.quiz import Quiz

SINGLE = {
    "id": "step",
    "kind": "single",
    "text": "How far apart are the values of `4` bits?",
    "choices": [
        {"text": "2 / 15", "correct": True, "why": "16 values have 15 gaps."},
        {"text": "2 / 16", "correct": False, "why": "This counts values, not gaps."},
    ],
    "explanation": "The range over the gaps.",
    "section": "01_what-is-quantization#the-step",
    "section_title": "The step",
}
MULTIPLE = {
    "id": "kept",
    "kind": "multiple",
    "text": "What does a group keep?",
    "choices": [
        {"text": "a scale", "correct": True, "why": "One per group."},
        {"text": "a zero point", "correct": True, "why": "One per group too."},
        {"text": "the weights", "correct": False, "why": "They are replaced."},
    ],
}
NUMERIC = {
    "id": "bytes",
    "kind": "numeric",
    "text": "How many bytes?",
    "value": 3.9375e9,
    "tolerance": 0.01,
    "unit": "bytes",
    "explanation": "Bits over 8.",
}
ITEMS = [SINGLE, MULTIPLE, NUMERIC]
ROUTES = [
    {"min": 0, "max": 2, "text": "Read chapter 01", "href": "01_what-is-quantization"},
    {"min": 3, "max": 3, "text": "Go further", "href": "02_number-formats"},
]


def question(page, number: int):
    return page.locator("form").nth(number - 1)


def said(page, number: int) -> str:
    return question(page, number).get_by_role("status").inner_text()


def progress(page) -> str:
    return page.locator(".fb-progress").inner_text()


def test_a_right_and_a_wrong_choice_by_keyboard(mount):
    page = mount(Quiz(ITEMS))
    assert progress(page) == "0 of 3 answered, 0 right"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")  # from the first choice to the second
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert said(page, 1) == "Not yet. This counts values, not gaps. Section: The step."
    assert progress(page) == "1 of 3 answered, 0 right"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowUp")
    assert said(page, 1) == ""  # the verdict was about the other answer
    page.keyboard.press("Enter")
    expected = "Correct. 16 values have 15 gaps. The range over the gaps."
    assert said(page, 1) == f"{expected} Section: The step."
    assert progress(page) == "1 of 3 answered, 1 right"
    assert page.evaluate("model.state.solved") == {"step": True}


@pytest.mark.parametrize(
    ("chosen", "feedback"),
    [
        ([], "Choose an answer first."),
        ([0], "Not yet. What you chose is right, but something is missing."),
        ([0, 2], "Not yet. They are replaced. Something right is missing too."),
        ([0, 1, 2], "Not yet. They are replaced."),
        ([0, 1], "Correct. One per group. One per group too."),
    ],
)
def test_several_choices(mount, chosen, feedback):
    page = mount(Quiz([MULTIPLE]))
    for i in chosen:
        page.get_by_role("checkbox").nth(i).press("Space")
    page.get_by_role("button", name="Check").press("Enter")
    assert said(page, 1) == feedback
    assert progress(page).startswith("1 of 1" if chosen else "0 of 1")


@pytest.mark.parametrize(
    ("typed", "feedback"),
    [
        ("3.9375e9", "Correct. Bits over 8."),
        ("3.976875E9", "Correct. Bits over 8."),  # the limit itself, 1 % above
        ("3,898125e9", "Correct. Bits over 8."),  # 1 % below, decimal comma
        ("3.98e9", "Not yet."),
        ("3.15e10", "Not yet. You are off by a factor of 8: bits or bytes?"),
        (
            "4.2279e9",
            "Not yet. GB is 1e9 bytes, GiB is 2^30 bytes: which one is asked for?",
        ),
        ("\u22123.9375e9", "Not yet. The size is right and the sign is not."),
        ("", "Type a number such as 3.5 or 2e9, without separators."),
        ("3,937", "Type a number such as 3.5 or 2e9, without separators."),
        ("four", "Type a number such as 3.5 or 2e9, without separators."),
    ],
)
def test_a_number_with_unit_and_tolerance(mount, typed, feedback):
    page = mount(Quiz([NUMERIC]))
    page.get_by_label("Answer in bytes").fill(typed)
    page.keyboard.press("Enter")
    assert said(page, 1) == feedback
    counted = not feedback.startswith("Type")
    assert progress(page).startswith("1 of 1" if counted else "0 of 1")
    invalid = page.get_by_label("Answer in bytes").get_attribute("aria-invalid")
    assert invalid == (None if counted else "true")


def test_the_explanation_comes_with_the_second_miss(mount):
    page = mount(Quiz([NUMERIC]))
    for feedback in ("Not yet.", "Not yet. Bits over 8."):
        page.get_by_label("Answer in bytes").fill("1")
        page.keyboard.press("Enter")
        assert said(page, 1) == feedback


def answer_all(page, first: int) -> None:
    question(page, 1).get_by_role("radio").nth(first).check()
    question(page, 1).get_by_role("button").click()
    for i in (0, 1):
        question(page, 2).get_by_role("checkbox").nth(i).check()
    question(page, 2).get_by_role("button").click()
    page.get_by_label("Answer in bytes").fill("3.94e9")
    page.keyboard.press("Enter")


def test_the_route_counts_first_tries_and_links_on_a_page(mount):
    page = mount(Quiz(ITEMS, routes=ROUTES), root="../")
    answer_all(page, first=1)
    end = page.get_by_role("status").last
    assert end.inner_text() == "2 of 3 right at the first try. Read chapter 01"
    href = end.get_by_role("link").get_attribute("href")
    assert href == "../notebooks/01_what-is-quantization.html"
    link = question(page, 1).get_by_role("link", name="The step")
    expected = "../notebooks/01_what-is-quantization.html#the-step"
    assert link.get_attribute("href") == expected
    # A second try is counted as right, and the advice stays.
    question(page, 1).get_by_role("radio").nth(0).check()
    question(page, 1).get_by_role("button").click()
    assert progress(page) == "3 of 3 answered, 3 right"
    assert end.inner_text().startswith("2 of 3")


@pytest.mark.parametrize(
    ("href", "link"),
    [
        ("05_awq", "../notebooks/05_awq.html"),
        ("05_awq#why", "../notebooks/05_awq.html#why"),
        ("../exercises/05_awq.html", "../exercises/05_awq.html"),
        ("https://example.org/a#b", "https://example.org/a#b"),
    ],
)
def test_addresses_on_a_page(mount, href, link):
    routes = [{"min": 0, "max": 1, "text": "Go on", "href": href}]
    page = mount(Quiz([NUMERIC], routes=routes), root="../")
    page.get_by_label("Answer in bytes").fill("1")
    page.keyboard.press("Enter")
    assert page.get_by_role("link", name="Go on").get_attribute("href") == link


@pytest.mark.parametrize(
    "href", ["javascript:alert(1)", "DATA:text/html,x", "file:///x"]
)
def test_an_address_of_another_scheme_is_no_link(mount, href):
    routes = [{"min": 0, "max": 1, "text": "Go on", "href": href}]
    page = mount(Quiz([NUMERIC], routes=routes), root="../")
    page.get_by_label("Answer in bytes").fill("1")
    page.keyboard.press("Enter")
    assert page.get_by_text("Go on").count() == 1
    assert page.get_by_role("link").count() == 0


def test_no_link_where_there_is_no_page(mount):
    page = mount(Quiz(ITEMS, routes=ROUTES))
    answer_all(page, first=0)
    assert page.get_by_role("status").last.inner_text().endswith("Go further")
    assert page.get_by_role("link").count() == 0


def test_names_and_order_for_a_screen_reader(mount):
    page = mount(Quiz(ITEMS))
    groups = page.locator("fieldset")
    assert groups.count() == 3
    legend = "1. How far apart are the values of 4 bits?"
    assert page.get_by_role("group", name=legend, exact=True).count() == 1
    assert page.locator("legend code").inner_text() == "4"
    labels = question(page, 2).locator("label").all_inner_texts()
    assert labels == ["a scale", "a zero point", "the weights"]


def test_text_is_never_markup(mount):
    item = copy.deepcopy(SINGLE)
    item["text"] = item["choices"][0]["text"] = "<b id=injected>bold</b>"
    page = mount(Quiz([item]))
    assert page.locator("#injected").count() == 0
    assert page.get_by_label("<b id=injected>bold</b>").count() == 1


def test_a_long_text_stays_inside_a_narrow_page(mount, page):
    page.set_viewport_size({"width": 320, "height": 700})
    mount(Quiz(ITEMS, routes=ROUTES), root="../")
    answer_all(page, first=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def changed(item: dict, **fields) -> dict:
    return copy.deepcopy(item) | fields


BOTH_RIGHT = [dict(choice, correct=True) for choice in SINGLE["choices"]]
NO_WHY = [{**choice, "why": ""} for choice in SINGLE["choices"]]


@pytest.mark.parametrize(
    ("items", "routes", "complaint"),
    [
        ([], (), "no items"),
        ([SINGLE, SINGLE], (), "Two items have the id 'step'"),
        ([changed(SINGLE, text="")], (), "'step' has no text"),
        ([changed(SINGLE, kind="essay")], (), "single, multiple or numeric"),
        ([changed(SINGLE, choices=BOTH_RIGHT)], (), "2 correct choices"),
        ([changed(SINGLE, choices=NO_WHY)], (), "has no why"),
        ([changed(MULTIPLE, choices=[])], (), "at least two choices"),
        ([changed(NUMERIC, tolerance=0)], (), "relative"),
        ([changed(NUMERIC, value=0)], (), "finite and not 0"),
        (ITEMS, ROUTES[:1], "every number of right answers"),
        (ITEMS, [*ROUTES, ROUTES[1]], "exactly one"),
    ],
)
def test_incomplete_items_are_refused(items, routes, complaint):
    with pytest.raises(ValueError, match=complaint):
        Quiz(items, routes=routes)


def test_plain_text_gives_no_answer_away():
    shown = repr(Quiz(ITEMS))
    assert shown == "Quiz with 3 questions: open the notebook or the page to answer."
