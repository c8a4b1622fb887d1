"""Every page: nothing from outside, no error, readable by everyone, light to load."""

import json
import re
import subprocess

import pytest
from site_pages import LANDING, LESSON, LESSONS, NOTEBOOKS, PAGES

KB = 1000


@pytest.mark.parametrize("page", PAGES)
def test_no_request_leaves_the_host_and_none_fails(visits, base_url, page):
    visit = visits[page]
    # A widget's code is in the page; its module is imported from a blob of the page.
    allowed = (f"{base_url}/", f"blob:{base_url}/", "data:")
    assert [r for r in visit.requests if not r.startswith(allowed)] == []
    assert visit.failures == []


@pytest.mark.parametrize("page", PAGES)
def test_console_is_silent(visits, page):
    assert visits[page].messages == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing(visits, page, scheme):
    assert visits[page].violations[scheme] == []


def test_axe_would_find_something(browser, base_url, checker):
    """An image without alt on the real page is reported, so axe does run."""
    page = browser.new_page()
    page.goto(f"{base_url}/{LANDING}")
    page.evaluate("document.querySelector('figure img').removeAttribute('alt')")
    page.evaluate(checker("axe-core/axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run()).violations.map((v) => v.id)")
    page.close()
    assert found == ["image-alt"]


def test_html_is_valid(site, checker):
    """Errors and warnings alike; nothing is filtered."""
    command = ["java", "-jar", str(checker("vnu-jar/build/dist/vnu.jar"))]
    options = ["--format", "json", "--skip-non-html", "--exit-zero-always", "--stdout"]
    done = subprocess.run(
        [*command, *options, str(site)], capture_output=True, text=True, check=True
    )
    messages = json.loads(done.stdout)["messages"]
    found = [
        f"{m['url'].rpartition(str(site))[2]}:{m.get('lastLine')} {m['message']}"
        for m in messages
    ]
    assert found == []


def weight(visit) -> int:
    """Bytes sent for a page without its figures."""
    return sum(
        size for url, size in visit.transferred.items() if "/_images/" not in url
    )


def test_landing_page_is_light(visits):
    assert 0 < weight(visits[LANDING]) <= 400 * KB


@pytest.mark.parametrize("lesson", LESSONS)
def test_lesson_is_light(visits, lesson):
    assert 0 < weight(visits[f"{lesson}.html"]) <= 600 * KB


def test_figures_are_small(site):
    figures = list((site / "_images").iterdir())
    assert figures
    assert [f.name for f in figures if f.stat().st_size > 40 * KB] == []


@pytest.mark.parametrize("page", PAGES)
def test_images_have_alt_and_load_late(site, page):
    for image in re.findall(r"<img\b[^>]*>", (site / page).read_text(encoding="utf-8")):
        assert len(re.search(r'alt="([^"]*)"', image)[1].split()) >= 4, image
        assert 'loading="lazy"' in image
        assert re.search(r'width="\d+" height="\d+"', image), image


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_notebook_opens_in_colab(site, notebook):
    text = (site / f"{notebook}.html").read_text(encoding="utf-8")
    place = re.escape(f"/blob/main/{notebook}.ipynb")
    colab = r"https://colab\.research\.google\.com/github/[\w-]+/[\w-]+"
    assert re.search(rf'<a class="button" href="{colab}{place}">', text)


def test_paper_shows_the_text_alone(browser, base_url):
    page = browser.new_page()
    page.goto(f"{base_url}/{LESSON}")
    page.emulate_media(media="print")
    for hidden in ("header.bar", "nav.book", "nav.page", "nav.tools", "nav.turn"):
        assert page.locator(hidden).count() == 1
        assert not page.locator(hidden).is_visible(), hidden
    assert page.locator("h1").is_visible()
    page.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_scrolls_sideways(browser, base_url, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    wide = {}
    for name in PAGES:
        page.goto(f"{base_url}/{name}")
        beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if beyond > 0:
            wide[name] = beyond
    page.close()
    assert wide == {}
