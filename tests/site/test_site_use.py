"""A reader at the keyboard, with pages from a server and from a folder."""

import re

import pytest
from playwright.sync_api import expect
from site_pages import LANDING, LESSON


@pytest.fixture(params=["http", "file"])
def start(request, site, base_url):
    """Where the pages are: behind a server, or in a folder."""
    return base_url if request.param == "http" else site.as_uri()


@pytest.fixture
def messages(page):
    """What the console and the page complain about."""
    found = []
    page.on("console", lambda message: found.append(message.text))
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def test_number_line_moves_by_keyboard(page, start, messages):
    page.goto(f"{start}/{LESSON}")
    widget = page.locator(".widget", has=page.get_by_label("bits", exact=True)).first
    status = widget.get_by_role("status")
    bits = widget.get_by_label("bits", exact=True)
    before = int(bits.input_value())
    expect(status).to_contain_text(f"{2**before} grid values")
    bits.focus()
    page.keyboard.press("ArrowRight")
    expect(status).to_contain_text(f"{2 ** (before + 1)} grid values")
    assert messages == []


def test_quiz_answers_by_keyboard(page, start, messages):
    page.goto(f"{start}/{LESSON}")
    form = page.locator(".widget form", has=page.get_by_role("radio")).first
    verdict = form.get_by_role("status")
    expect(verdict).to_be_empty()
    form.get_by_role("radio").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(verdict).to_contain_text(re.compile(r"^(Correct|Not yet)\."))
    assert messages == []


def test_search_finds_a_term(page, start, messages):
    page.goto(f"{start}/{LANDING}")
    page.get_by_role("searchbox").fill("perplexity")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"search\.html\?q=perplexity"))
    results = page.locator("#search-results ul.search > li")
    expect(page.locator("#search-results")).to_contain_text("found")
    assert results.count() >= 3
    hrefs = results.locator("a").evaluate_all(
        "as => as.map(a => a.getAttribute('href'))"
    )
    assert "book/glossary.html#perplexity" in hrefs
    assert messages == []


def test_theme_is_chosen_and_kept(page, base_url):
    page.goto(f"{base_url}/{LANDING}")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Light or dark").press("Enter")
    dark = page.evaluate(ground)
    assert dark != light
    page.goto(f"{base_url}/{LESSON}")
    assert page.evaluate(ground) == dark


def test_menu_opens_on_a_phone(page, base_url):
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{base_url}/{LESSON}")
    menu = page.get_by_role("button", name="Contents of the book")
    book = page.get_by_role("navigation", name="Book", exact=True)
    expect(book).not_to_be_visible()
    menu.press("Enter")
    expect(book).to_be_visible()
    page.keyboard.press("Escape")
    expect(book).not_to_be_visible()
    expect(menu).to_be_focused()


def test_a_page_reads_without_javascript(browser, base_url):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{base_url}/{LESSON}")
    assert page.locator("nav.book a").first.is_visible()
    assert "needs JavaScript" in page.locator(".widget").first.inner_text()
    page.close()
