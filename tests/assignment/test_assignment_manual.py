"""The page for judging: for its owner alone, by plain forms, nothing lost."""

import http.client
import json
import socket
import threading
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from course_utils.assignment import manual
from course_utils.assignment.judgements import FILE, Judgement, Judgements, levels
from course_utils.assignment.results import RESULTS, Asked, write_asked

HEADING = "5. Explain: why"
RUBRIC = (
    "| Level | What |\n|---|---|\n| 0 | None. |\n| 1 | <i>A bit</i>. |\n| 3 | All. |"
)


@pytest.fixture
def folder(tmp_path):
    asked = Asked("Week 1", "09_gptq", {HEADING: 3.0}, {HEADING: RUBRIC})
    write_asked(tmp_path, asked)
    texts = ["Because <script>.", "Since.", ""]
    lines = [
        {
            "submission": f"{i}.ipynb",
            "student": f"name{i}",
            "sha256": f"hash{i}",
            "answers": {HEADING: text},
            "checks_sha256": "",
        }
        for i, text in enumerate(texts)
    ]
    (tmp_path / RESULTS).write_text("".join(json.dumps(x) + "\n" for x in lines))
    return tmp_path


@pytest.fixture
def desk(folder):
    with manual.Desk(folder) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def ask(desk, method="GET", path="", body=None, **headers):
    link = http.client.HTTPConnection(manual.HOST, desk.server_port, timeout=5)
    sent = urlencode(body) if body else None
    link.request(method, path or desk.path, sent, headers)
    answer = link.getresponse()
    return answer.status, answer.read().decode()


def test_answers_are_shown_without_names_and_as_text(desk):
    status, text = ask(desk)
    assert status == 200
    assert "Answer 1 of 2" in text
    assert "Because &lt;script&gt;." in text
    assert "&lt;i&gt;A bit&lt;/i&gt;" in text
    assert "name0" not in text
    assert "0.ipynb" not in text
    assert "Answer 2 of 2" in ask(desk, path=f"{desk.path}?n=1")[1]
    assert "Answer 2 of 2" in ask(desk, path=f"{desk.path}?n=99")[1]


def test_a_judgement_is_on_disk_at_once(desk, folder):
    body = {"n": "0", "level": "3", "comment": "Good.\r\nBetter: <b>"}
    _, text = ask(desk, "POST", body=body)
    assert "Answer 2 of 2" in text
    assert "1 of 2 judged" in text
    kept = json.loads((folder / FILE).read_text())
    assert kept == {"hash0": {HEADING: {"level": 3, "comment": "Good.\nBetter: <b>"}}}
    assert "Answer 2 of 2" in ask(desk)[1]  # The first that is not judged.
    _, text = ask(desk, path=f"{desk.path}?n=0")
    assert 'value="3" required checked' in text
    assert "Better: &lt;b&gt;" in text
    assert Judgements(folder).get("hash0", HEADING).level == 3
    assert Judgements(folder).get("hash1", HEADING) is None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"n": "0", "level": "7"}, "must be one of 0, 1, 3"),
        ({"n": "0", "level": "2"}, "must be one of 0, 1, 3"),
        ({"n": "0"}, "choose a level"),
        ({"n": "0", "level": "-1"}, "choose a level"),
        ({"n": "0", "level": "\u00b2"}, "choose a level"),
        ({"n": "0", "level": "1" * 5000}, "choose a level"),
        ({"n": "5", "level": "1"}, "no such answer"),
        ({"n": "0", "level": "1", "comment": "x" * 5000}, "at most 4000"),
        ({"n": "0", "level": "1", "comment": "x" * 200_000}, "more than 100000 bytes"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_lost(desk, folder, body, sentence):
    Judgements(folder).put("hash1", HEADING, Judgement(1))
    before = (folder / FILE).read_text()
    try:
        _, text = ask(desk, "POST", body=body)
        assert sentence in text
    except ConnectionError:
        assert len(body["comment"]) > manual.MOST_BYTES  # It did not read all of it.
    assert (folder / FILE).read_text() == before


def test_what_was_typed_is_shown_again(desk):
    long = "A long comment. " * 300
    _, text = ask(desk, "POST", body={"n": "0", "level": "1", "comment": long})
    assert long in text
    assert 'value="1" required checked' in text
    _, text = ask(desk, "POST", body={"n": "0", "comment": "No level."})
    assert "No level." in text
    assert "required checked" not in text
    body = {"n": "9", "comment": "No level."}
    assert "No level." not in ask(desk, "POST", body=body)[1]


def test_strange_texts_stop_no_page(desk):
    assert ask(desk, path=f"{desk.path}?n=%C2%B2")[0] == 200
    desk.answers[0] = replace(desk.answers[0], text="half \ud800")
    assert "half ?" in ask(desk)[1]


def test_an_idle_connection_blocks_nobody(desk):
    with socket.create_connection((manual.HOST, desk.server_port)):
        assert ask(desk)[0] == 200


@pytest.mark.parametrize("path", ["/", "/x/", "/favicon.ico"])
def test_without_the_token_nothing_is_shown(desk, path):
    assert ask(desk, path=path)[0] == 403
    assert ask(desk, "POST", path=path, body={"n": "0", "level": "1"})[0] == 403


def test_another_name_of_this_machine_is_refused(desk):
    assert ask(desk, Host=f"evil.example:{desk.server_port}")[0] == 403
    assert ask(desk, Host="localhost")[0] == 403


def test_the_page_ends_itself(folder):
    said = []
    shown = threading.Event()
    place = []

    def show(address):
        place.append(address)
        shown.set()

    running = threading.Thread(
        target=manual.serve, args=(folder,), kwargs={"say": said.append, "show": show}
    )
    running.start()
    assert shown.wait(5)
    host, _, path = place[0].removeprefix("http://").partition("/")
    link = http.client.HTTPConnection(host, timeout=5)
    link.request("POST", f"/{path}", "end=1")
    assert "Judging has ended" in link.getresponse().read().decode()
    running.join(5)
    assert not running.is_alive()
    assert place[0] in said[0]


def test_nothing_to_judge_is_said(tmp_path):
    write_asked(tmp_path, Asked("Week 1", "09_gptq", {}))
    with manual.Desk(tmp_path) as desk:
        assert "Nobody has answered in words" in desk.page(0)


def test_every_rubric_of_the_book_has_levels():
    from course_utils.grading.questions import load_master, masters  # noqa: PLC0415

    rubrics = [q.rubric for p in masters() for q in load_master(p).questions]
    found = [levels(rubric) for rubric in rubrics if rubric]
    assert len(found) >= 16
    assert all([*one] == [0, 1, 2, 3] and all(one.values()) for one in found)


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / FILE).write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        Judgements(tmp_path)
