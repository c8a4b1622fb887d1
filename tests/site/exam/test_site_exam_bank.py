"""The questions in the pages: whole, of today, safe in HTML, and linked."""

import gzip
import json
import re

import pytest
from exam_pages import MOCK, PRACTICE, PROGRESS
from fewer_bits import exam_practice

from course_utils.exam import coverage, sections

BANK = re.compile(r'<script type="application/json" id="exam-bank">(.*?)</script>')
KB = 1000


@pytest.mark.parametrize(
    ("name", "part"), [(PRACTICE, "practice"), (MOCK, "mock"), (PROGRESS, "progress")]
)
def test_page_holds_the_bank_of_today(site, bank, name, part):
    """A site older than the questions fails here: build it anew."""
    text = BANK.search((site / name).read_text("utf-8"))[1]
    assert "<" not in text
    assert json.loads(text) == exam_practice.of_part(part, bank)


def test_no_text_can_end_the_script():
    evil = {"text": "</script><!-- <script> ]]> \u2028 &lt;"}
    text = exam_practice.script_text(evil)
    assert "<" not in text
    assert json.loads(text) == evil


def test_bank_is_whole(bank):
    ids = [item["id"] for item in bank["items"]]
    assert len(ids) == len(set(ids)) >= 250
    covered = {d["name"] for d in bank["domains"] if d["share"]}
    assert {item["domain"] for item in bank["items"]} == covered
    assert sum(d["weight"] for d in bank["domains"]) == 100
    slugs = {c["slug"] for c in bank["chapters"]}
    assert {item["chapter"] for item in bank["items"]} == slugs == {*sections.lessons()}
    drawn = [item for item in bank["items"] if "instances" in item]
    assert len(drawn) >= 10
    for item in drawn:
        texts = [item["text"], *(i["text"] for i in item["instances"])]
        assert len(texts) == len(set(texts)), item["id"]


def test_a_question_without_domain_is_refused(bank):
    found = coverage.coverage()
    item = {"id": "new", "section": "99_new#here", "chapter": "99_new"}
    with pytest.raises(exam_practice.TopicsError, match="new belongs to no domain"):
        exam_practice.domain_of(item, found, {})
    topics = {"Prompt engineering": ["99_new"]}
    with pytest.raises(exam_practice.TopicsError, match="to Prompt engineering"):
        exam_practice.domain_of(item, found, topics)
    topics = {"Evaluation": ["99_new"], "Fine-tuning": ["new"]}
    assert exam_practice.domain_of(item, found, topics) == "Fine-tuning"


def test_every_section_of_the_bank_exists(site, bank):
    linked = {item["section"] for item in bank["items"]}
    assert len(linked) > 50
    for section in linked:
        slug, anchor = section.split("#")
        text = (site / "notebooks" / f"{slug}.html").read_text("utf-8")
        assert f'id="{anchor}"' in text, section


def test_pages_are_light(site):
    """The bank is 0.3 MB of text, about 75 kB as a server sends it."""
    for name in (PRACTICE, MOCK):
        body = (site / name).read_bytes()
        assert 100 * KB < len(body) < 450 * KB
        assert len(gzip.compress(body)) < 120 * KB
    assert len((site / PROGRESS).read_bytes()) < 60 * KB
