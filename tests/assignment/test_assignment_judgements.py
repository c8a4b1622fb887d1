"""What a person judged is kept, whole, and counts."""

import json

import pytest

from course_utils.assignment.judgements import FILE, Judgement, Judgements
from course_utils.assignment.results import Asked, Graded
from course_utils.assignment.tally import scores

CODE, WORDS = "1. Implement: a", "2. Explain: b"
RUBRIC = "| Level | What |\n|---|---|\n| 0 | None. |\n| 3 | All. |"
ASKED = Asked("Week 1", "09_gptq", {CODE: 2.0, WORDS: 3.0}, {WORDS: RUBRIC})
STOPPED = {"sha256": "a", "error": "stopped.", "points": {}, "answers": {WORDS: "x"}}


def test_two_pages_lose_nothing(tmp_path):
    one, other = Judgements(tmp_path), Judgements(tmp_path)
    one.put("a", WORDS, Judgement(1))
    other.put("b", WORDS, Judgement(3))
    found = Judgements(tmp_path)
    assert (found.get("a", WORDS).level, found.get("b", WORDS).level) == (1, 3)


@pytest.mark.parametrize("text", ["[]", '{"a": 1}', '{"a": {"b": {"level": 1}}}'])
def test_another_form_is_said(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ValueError, match="cannot be read"):
        Judgements(tmp_path)


def test_a_level_that_the_rubric_lacks_is_said(tmp_path):
    kept = {"a": {WORDS: {"level": 7, "comment": ""}}}
    (tmp_path / FILE).write_text(json.dumps(kept))
    line = STOPPED | {"error": "", "points": {CODE: 1.0}}
    with pytest.raises(ValueError, match="must be one of 0, 3"):
        scores(Graded(ASKED, [line]), Judgements(tmp_path))


def test_words_count_where_the_code_could_not_be_graded(tmp_path):
    judged = Judgements(tmp_path)
    (before,) = scores(Graded(ASKED, [STOPPED]), judged)
    assert before.points == {CODE: 0.0, WORDS: None}
    judged.put("a", WORDS, Judgement(3))
    (after,) = scores(Graded(ASKED, [STOPPED]), judged)
    assert after.points == {CODE: 0.0, WORDS: 3.0}
