"""The cheat sheet on paper: exactly one page of A4."""

import re

import pytest

PAGE = re.compile(rb"/Type\s*/Page\b")
BOX = re.compile(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]")
# Points of A4, 210 by 297 mm.
A4 = (595, 842)
TWICE = """() => { const sheet = document.querySelector(".cheat-sheet");
    sheet.after(sheet.cloneNode(true)); }"""


@pytest.fixture
def sheet(page, base_url):
    page.goto(f"{base_url}/book/exam/cheat-sheet.html")
    return page


def test_the_sheet_is_one_page_of_a4(sheet):
    pdf = sheet.pdf(prefer_css_page_size=True)
    assert len(PAGE.findall(pdf)) == 1
    sizes = {tuple(round(float(x)) for x in found) for found in BOX.findall(pdf)}
    assert sizes == {A4}


def test_a_longer_sheet_would_be_noticed(sheet):
    sheet.evaluate(TWICE)
    assert len(PAGE.findall(sheet.pdf(prefer_css_page_size=True))) > 1
