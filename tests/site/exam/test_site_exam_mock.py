"""The mock exam: its draw, its clock, and its report."""

import json
import math
from datetime import UTC, datetime

import pytest
from exam_pages import (
    CELLS,
    KEPT,
    MOCK,
    SEED,
    as_asked,
    begin_mock,
    give,
    place_exists,
    plain,
)
from playwright.sync_api import expect

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("count", [20, 40, 60])
def test_draw_follows_the_seed_and_the_blueprint(page, base_url, bank, count):
    page.goto(f"{base_url}/{MOCK}")
    draw = """([count, seeds]) => seeds.map((seed) =>
        fewerBitsExam.logic.draw(fewerBitsExam.view.bank, count, seed))"""
    forms = page.evaluate(draw, [count, list(range(1, 21))])
    again = page.evaluate(draw, [count, [5]])[0]
    assert again == forms[4]
    total = sum(d["share"] for d in bank["domains"])
    domain = {item["id"]: item["domain"] for item in bank["items"]}
    for form in forms:
        ids = [entry["id"] for entry in form]
        assert len(ids) == len(set(ids)) == count
        for d in bank["domains"]:
            drawn = sum(domain[i] == d["name"] for i in ids)
            assert abs(drawn - count * d["share"] / total) < 1, d["name"]
    assert len({json.dumps(form) for form in forms}) == len(forms)
    orders = {tuple(e["order"]) for f in forms for e in f if len(e["order"]) == 4}
    assert len(orders) == math.factorial(4)


def test_seats_where_a_domain_has_too_few(page, base_url):
    page.goto(f"{base_url}/{MOCK}")
    seats = """([shares, room, count]) => [...fewerBitsExam.logic.seats(
        Object.entries(shares).map(([name, share]) => ({ name, share })),
        (name) => room[name], count)]"""

    def given(room, count):
        return dict(page.evaluate(seats, [{"a": 6, "b": 3, "c": 1}, room, count]))

    assert given({"a": 99, "b": 99, "c": 99}, 10) == {"a": 6, "b": 3, "c": 1}
    assert given({"a": 99, "b": 1, "c": 99}, 10) == {"a": 7, "b": 1, "c": 2}
    assert given({"a": 99, "b": 0, "c": 99}, 10) == {"a": 9, "c": 1}
    assert given({"a": 2, "b": 2, "c": 2}, 10) == {"a": 2, "b": 2, "c": 2}


def test_mock_to_its_report(page, start, site, bank):
    exam = begin_mock(page, start)
    assert [e["id"] for e in exam["form"]] == [
        e["id"]
        for e in page.evaluate(
            "([n, s]) => fewerBitsExam.logic.draw(fewerBitsExam.view.bank, n, s)",
            [20, SEED],
        )
    ]
    items = [as_asked(bank, entry) for entry in exam["form"]]
    expect(page.locator(".exam-question fieldset")).to_be_focused()
    for item in items[1:]:  # the first stays open
        page.get_by_role("button", name="Next question").click()
        give(page, item, right=item is not items[1])
        assert page.locator("[data-right]").count() == 0
        expect(page.locator("#exam-mock")).not_to_contain_text("Right:")
    page.get_by_role("button", name="Hand in").click()
    expect(page.get_by_text("1 question has no answer. Hand in?")).to_be_visible()
    expect(page.get_by_role("button", name="Go on")).to_be_focused()
    page.get_by_role("button", name="Hand in now").click()
    expect(page.get_by_role("heading", name="Result: 18 of 20 right")).to_be_focused()
    rows = page.locator("tbody tr").evaluate_all(CELLS)
    wrong = {items[0]["id"], items[1]["id"]}
    for name, right, of, *_ in rows:
        own = [item["id"] for item in items if item["domain"] == name]
        assert (int(right), int(of)) == (len(set(own) - wrong), len(own))
    assert sum(int(row[2]) for row in rows) == 20
    said = page.locator(".exam-missing").inner_text()
    for d in bank["domains"]:
        assert (f"{d['name']} ({d['weight']} %)" in said) == (d["share"] == 0)
    listed = page.locator(".exam-wrong > li")
    assert listed.count() == 2
    for i in range(2):
        expect(listed.nth(i)).to_contain_text(plain(items[i]["text"]))
        href = listed.nth(i).get_by_role("link").get_attribute("href")
        assert place_exists(site, start, page.url, href)


def test_flag_go_back_and_change(page, base_url, bank):
    exam = begin_mock(page, base_url)
    first = as_asked(bank, exam["form"][0])
    give(page, first, right=False)
    page.get_by_label("Flag this question").check()
    page.keyboard.press("Tab")  # over the disabled way back
    page.keyboard.press("Enter")
    expect(page.locator(".exam-place")).to_have_text("Question 2 of 20.")
    page.get_by_role("button", name="Question 1, answered, flagged").press("Enter")
    expect(page.locator(".exam-place")).to_have_text("Question 1 of 20.")
    kept = "JSON.parse(localStorage.getItem('fewer-bits:mock-exam'))"
    before = page.evaluate(f"{kept}.answers")
    if first["kind"] == "multiple":
        for box in page.locator("[name=mock]:checked").all():
            box.uncheck()
    give(page, first)
    assert page.evaluate(f"{kept}.answers") != before
    assert page.evaluate(f"{kept}.flags") == [first["id"]]


def test_mock_resumes_and_the_clock_runs_on(page, context, base_url, bank):
    context.clock.install(time=NOON)
    context.clock.pause_at(NOON.replace(second=1))
    exam = begin_mock(page, base_url)
    give(page, as_asked(bank, exam["form"][0]))
    page.get_by_role("button", name="Next question").click()
    expect(page.get_by_role("timer")).to_have_text("Time left: 40:00")
    page.close()
    context.clock.fast_forward("10:00")
    other = context.new_page()
    other.goto(f"{base_url}/{MOCK}")
    expect(other.get_by_role("timer")).to_have_text("Time left: 30:00")
    expect(other.locator(".exam-place")).to_have_text("Question 2 of 20.")
    expect(other.get_by_text("1 of 20 answered")).to_be_visible()
    other.get_by_role("button", name="Question 1, answered").click()
    given = other.locator("[name=mock]").evaluate_all(
        "all => all.some((f) => f.checked || (f.type === 'text' && f.value))"
    )
    assert given


def test_time_is_said_seldom_and_runs_out(page, base_url):
    page.clock.install(time=NOON)
    page.clock.pause_at(NOON.replace(second=1))
    begin_mock(page, base_url)
    said = page.locator("#exam-mock [role=status].unseen")
    heard = [(page.clock.run_for(60_000), said.inner_text())[1] for _ in range(38)]
    assert [text for text in dict.fromkeys(heard) if text] == [
        "Ten minutes left.",
        "Five minutes left.",
    ]
    assert heard.index("Ten minutes left.") == 29
    page.clock.run_for(60_000)
    assert said.inner_text() == "One minute left."
    page.clock.run_for(60_000)
    expect(page.get_by_text("The time is over. 0 % right")).to_be_visible()
    expect(page.get_by_role("heading", name="Result: 0 of 20")).to_be_focused()
    assert len(json.loads(page.evaluate(KEPT))["exams"]) == 1
    page.reload()  # the report stays, and is not recorded again
    expect(page.get_by_role("heading", name="Result: 0 of 20")).to_be_visible()
    assert len(json.loads(page.evaluate(KEPT))["exams"]) == 1


def test_an_exam_of_other_questions_is_not_resumed(page, base_url):
    begin_mock(page, base_url)
    page.evaluate("""() => {
        const key = "fewer-bits:mock-exam";
        const exam = JSON.parse(localStorage.getItem(key));
        exam.form[0].id = "no-such-question";
        localStorage.setItem(key, JSON.stringify(exam)); }""")
    page.reload()
    expect(page.get_by_text("does not fit the questions")).to_be_visible()
    expect(page.get_by_role("button", name="Start the mock exam")).to_be_visible()
