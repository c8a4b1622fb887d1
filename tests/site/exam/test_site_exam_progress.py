"""Progress: kept, exported, imported, erased; the rule; pages without storage."""

import json
import math
from statistics import NormalDist

import pytest
from exam_pages import CELLS, EXAM, KEPT, MOCK, PRACTICE, PROGRESS, begin_mock
from playwright.sync_api import expect

DATE = "2026-01-01T12:00:00.000Z"
BLOCK = """Object.defineProperty(window, "localStorage", {
    get() { throw new DOMException("blocked", "SecurityError"); } })"""
RUN_AXE = """async () => (await axe.run()).violations
    .map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`)"""
WRONG = "This file holds no progress of this book"


def entry(*, right=True, tries=1, date=DATE):
    return {"tries": tries, "right": right, "date": date}


def mock(right, of, seed, name="Evaluation"):
    domains = [{"name": name, "right": right, "of": of}]
    date = f"2026-01-{seed:02}T12:00:00.000Z"
    return {
        "date": date,
        "seed": seed,
        "minutes": 80,
        "right": right,
        "of": of,
        "domains": domains,
    }


def whole(items=None, exams=(), **other):
    head = {"book": "Fewer Bits", "version": 1}
    return {**head, "items": items or {}, "exams": list(exams), **other}


def put(page, data) -> None:
    """Choose a file with this content on the page of progress."""
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    file = {"name": "p.json", "mimeType": "application/json", "buffer": content}
    page.get_by_label("Import progress").set_input_files(file)


def said(page):
    return page.locator("#exam-progress > [role=status]").last


def kept(page):
    return json.loads(page.evaluate(KEPT) or "null")


def exported(page):
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export progress").click()
    return json.loads(waiting.value.path().read_text("utf-8"))


def answer_one(page, start) -> str:
    """Answer a question in practice and return its id."""
    page.goto(f"{start}/{PRACTICE}")
    page.get_by_label("One choice").check()
    page.get_by_role("button", name="Start practice").press("Enter")
    page.locator("[name=practice]").first.check()
    page.keyboard.press("Enter")
    expect(page.locator(".exam-verdict strong")).to_be_visible()
    return page.evaluate("""() => {
        const text = document.querySelector(".exam-question legend").textContent;
        return fewerBitsExam.view.bank.items.find((item) =>
            text.endsWith(item.text.replaceAll("`", ""))).id; }""")


def test_export_erase_import_round_trip(page, start, bank):
    name = answer_one(page, start)
    page.goto(f"{start}/{PROGRESS}")
    put(page, whole(exams=[mock(35, 40, 3)]))
    expect(said(page)).to_have_text("Imported: 0 questions and 1 mock exam.")
    before = exported(page)
    assert before == kept(page)
    assert [*before["items"]] == [name]
    rows = page.locator("tbody tr").evaluate_all(CELLS)
    chapter = next(i["chapter"] for i in bank["items"] if i["id"] == name)
    titles = [c["title"] for c in bank["chapters"]]
    slugs = [c["slug"] for c in bank["chapters"]]
    row = rows[slugs.index(chapter)]
    right = str(int(before["items"][name]["right"]))
    of = sum(i["chapter"] == chapter for i in bank["items"])
    assert (row[1], row[2], row[4]) == ("1", str(of), right)
    assert [r[0] for r in rows[:-1]] == titles
    assert rows[-1][:4] == ["2026-01-03", "35", "40", "88"]
    page.get_by_role("button", name="Erase progress").press("Enter")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(said(page)).to_have_text("Nothing was erased.")
    assert kept(page) == before
    expect(page.get_by_role("button", name="Erase progress")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Erase it").press("Enter")
    expect(said(page)).to_have_text("Progress is erased.")
    assert kept(page) is None
    expect(page.get_by_text("No mock exam so far.")).to_be_visible()
    put(page, before)
    expect(said(page)).to_have_text("Imported: 1 question and 1 mock exam.")
    assert exported(page) == before


def test_erase_takes_the_exam_that_was_begun(page, base_url):
    begin_mock(page, base_url)
    page.goto(f"{base_url}/{PROGRESS}")
    page.get_by_role("button", name="Erase progress").click()
    page.get_by_role("button", name="Erase it").click()
    assert page.evaluate(EXAM) is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x89PNG\r\n", WRONG),
        ([], WRONG),
        ({"version": 1, "items": {}, "exams": []}, WRONG),
        (whole(version=2), "written by a newer edition of the book"),
        (whole(version=0), WRONG),
        (whole({"01-step": {"tries": 1, "right": "yes", "date": DATE}}), WRONG),
        (whole({"01-step": entry(date="yesterday")}), WRONG),
        (whole(exams=[mock(41, 40, 3)]), WRONG),
        (
            b'{"book":"Fewer Bits","version":1,"exams":[],"items":{"__proto__":1}}',
            WRONG,
        ),
        (json.dumps(whole()).encode() + b" " * 1_000_000, "larger than 1 MB"),
    ],
)
def test_a_file_that_is_refused_changes_nothing(page, base_url, content, sentence):
    answer_one(page, base_url)
    before = kept(page)
    page.goto(f"{base_url}/{PROGRESS}")
    put(page, content)
    expect(said(page)).to_contain_text(sentence)
    expect(said(page)).to_contain_text("othing was changed.")
    assert kept(page) == before


def test_import_merges_and_keeps_unknown_ids(page, base_url):
    name = answer_one(page, base_url)
    own = kept(page)["items"][name]
    page.goto(f"{base_url}/{PROGRESS}")
    put(page, whole({name: entry(tries=5), "99-later": entry()}))
    expect(said(page)).to_have_text(
        "Imported: 2 questions and 0 mock exams. "
        "1 question is not in this edition: kept, and not counted."
    )
    # The later answer counts, and here that is the one of this browser.
    assert kept(page)["items"] == {name: {**own, "tries": 5}, "99-later": entry()}
    rows = page.locator("tbody tr").evaluate_all(CELLS)
    assert sum(int(row[1]) for row in rows) == 1


def test_imported_text_is_never_html(page, base_url):
    page.goto(f"{base_url}/{PROGRESS}")
    evil = "<img src=x onerror=alert(1)>"
    put(page, whole(exams=[mock(30, 40, 3, name=evil)], note=evil))
    expect(said(page)).to_have_text("Imported: 0 questions and 1 mock exam.")
    assert page.locator("#exam-progress img").count() == 0


@pytest.mark.parametrize(
    ("exams", "met", "found"),
    [
        ([], False, 0),
        ([mock(40, 40, 1)], False, 1),
        ([mock(32, 40, 1), mock(48, 60, 2)], True, 2),
        ([mock(32, 40, 1), mock(47, 60, 2)], False, 1),
        ([mock(40, 40, 1), mock(20, 20, 2)], False, 1),
        ([mock(40, 40, 1), mock(40, 40, 2), mock(10, 40, 3)], False, 1),
        ([mock(40, 40, 1), {**mock(40, 40, 2), "seed": 1}], False, 1),
    ],
)
def test_the_rule(page, base_url, exams, met, found):
    page.goto(f"{base_url}/{PROGRESS}")
    put(page, whole(exams=exams))
    state = "The rule is met" if met else "The rule is not met yet"
    shown = page.locator(".exam-ready")
    expect(shown).to_have_text(f"{state}: {found} of 2 exams are there.")


def test_lower_end_is_wilsons_and_the_limits_are_said(page, base_url, bank):
    page.goto(f"{base_url}/{PROGRESS}")
    put(page, whole(exams=[mock(50, 60, 4)]))
    z, n, share = NormalDist().inv_cdf(0.975), 60, 50 / 60
    # The ends are where the share lies z standard errors away; here by bisection.
    low, high = 0.0, share
    for _ in range(60):
        middle = (low + high) / 2
        far = share - middle > z * math.sqrt(middle * (1 - middle) / n)
        low, high = (middle, high) if far else (low, middle)
    text = f"the lower end of the 95 % interval is {round(100 * low)} %."
    place = page.locator("#exam-progress")
    expect(place).to_contain_text(f"2026-01-04: 83 % of 60 questions; {text}")
    expect(place).to_contain_text("at least 80 % right")
    expect(place).to_contain_text(f"{bank['exam']['share']:.1f} % of the exam")
    expect(page.locator("#main")).to_contain_text("no published pass mark")


def test_pages_work_without_storage(page, base_url):
    page.add_init_script(BLOCK)
    name = answer_one(page, base_url)
    expect(page.get_by_text("This browser stores nothing")).to_be_visible()
    saved = exported(page)
    assert [*saved["items"]] == [name]
    page.goto(f"{base_url}/{PROGRESS}")
    put(page, saved)
    expect(said(page)).to_have_text("Imported: 1 question and 0 mock exams.")
    assert page.locator("tbody tr").evaluate_all(CELLS)[0][1] != ""
    page.goto(f"{base_url}/{MOCK}")
    page.get_by_role("button", name="Start the mock exam").click()
    page.get_by_role("button", name="Hand in").click()
    page.get_by_role("button", name="Hand in now").click()
    expect(page.get_by_role("heading", name="Result: 0 of 60")).to_be_visible()


def test_progress_that_cannot_be_read_is_left_alone(page, base_url):
    page.goto(f"{base_url}/{PROGRESS}")
    future = json.dumps(whole(version=9))
    page.evaluate("(text) => localStorage.setItem('fewer-bits:progress', text)", future)
    answer_one(page, base_url)
    expect(page.get_by_text("cannot read")).to_be_visible()
    assert page.evaluate(KEPT) == future
    page.goto(f"{base_url}/{PROGRESS}")
    page.get_by_role("button", name="Erase progress").click()
    page.get_by_role("button", name="Erase it").click()
    answer_one(page, base_url)
    assert len(kept(page)["items"]) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_axe_finds_nothing_in_use(page, base_url, checker, scheme, width):
    """The pages as they open are checked with all others; here as they are used."""
    axe = checker("axe-core/axe.min.js").read_text(encoding="utf-8")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})

    def look(state):
        page.evaluate(axe)
        assert page.evaluate(RUN_AXE) == [], state
        beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0, state

    answer_one(page, base_url)
    look("verdict")
    for label in ("A table to read", "Code with a fault"):
        page.reload()
        page.get_by_label(label).check()
        page.get_by_role("button", name="Start practice").click()
        page.get_by_role("button", name="Show the answer").click()
        look(label)
    begin_mock(page, base_url)
    page.get_by_label("Flag this question").check()
    look("question of the exam")
    page.get_by_role("button", name="Hand in").click()
    look("question whether to hand in")
    page.get_by_role("button", name="Hand in now").click()
    look("report")
    page.goto(f"{base_url}/{PROGRESS}")
    page.get_by_role("button", name="Erase progress").click()
    look("progress")


@pytest.mark.parametrize("name", [PRACTICE, MOCK, PROGRESS])
def test_a_sentence_without_javascript(browser, base_url, name):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{base_url}/{name}")
    assert "needs JavaScript" in page.locator(".exam").inner_text()
    page.close()
