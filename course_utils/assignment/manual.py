"""A page on this machine on which a person judges answers in words.

One question at a time over all students, who are not named, since both make levels
more even. Each judgement is on disk before the next answer is shown. The page needs
no script, and nobody reads it who does not have its address, which holds a secret.
"""

import re
import secrets
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from course_utils.assignment import results
from course_utils.assignment.judgements import (
    LONGEST_COMMENT,
    Judgement,
    Judgements,
    checked,
    levels,
)
from course_utils.assignment.page import POLICY, page
from course_utils.authoring.site_server import Server

HOST = "127.0.0.1"
MOST_BYTES = 100_000
LEVEL = re.compile("[0-9]")


@dataclass(frozen=True)
class Answer:
    """An answer in words, without its author."""

    sha256: str
    heading: str
    text: str
    rubric: str


def answers_of(graded: results.Graded) -> list[Answer]:
    """Return every answer that was written, question by question, each text once."""
    found: dict[tuple[str, str], Answer] = {}
    for heading, rubric in graded.asked.rubrics.items():
        for line in graded.lines:
            if text := line["answers"].get(heading):
                key = (line["sha256"], heading)
                found.setdefault(key, Answer(*key, text, rubric))
    return list(found.values())


class Handler(BaseHTTPRequestHandler):
    """Show an answer; keep a judgement."""

    server: "Desk"
    timeout = 30  # Seconds that a browser may leave a connection idle.

    def do_GET(self) -> None:
        """Show one answer: the one asked for, or the first that is not judged."""
        if self._allowed():
            asked = parse_qs(urlsplit(self.path).query).get("n")
            self._show(_whole(asked[0]) if asked else self.server.first_open())

    def do_POST(self) -> None:
        """Keep a judgement and show the next answer, or end."""
        if not self._allowed():
            return
        length = _whole(self.headers.get("Content-Length", "0"))
        if length > MOST_BYTES:
            self._show(0, f"what was sent has more than {MOST_BYTES} bytes.")
            return
        sent = parse_qs(self.rfile.read(length).decode("utf-8", "replace"))
        first = {key: values[0] for key, values in sent.items()}
        if "end" in first:
            self._send(page("Judging has ended", "<p>You may close this page.</p>"))
            self.server.shutdown()
            return
        number = _whole(first.get("n", "0"))
        level, comment = first.get("level", ""), first.get("comment", "")
        try:
            self.server.keep(number, level, comment)
        except ValueError as error:
            # What was typed is shown again, so that it can be mended.
            typed = Judgement(int(level) if LEVEL.fullmatch(level) else -1, comment)
            self._send(self.server.page(number, str(error), typed))
            return
        self._show(min(number + 1, len(self.server.answers) - 1))

    def _allowed(self) -> bool:
        """Refuse whoever has no token, or asks by another name of this machine."""
        host = self.headers.get("Host", "")
        path = urlsplit(self.path).path
        # A page elsewhere may point a name of its own at this address.
        here = host == f"{HOST}:{self.server.server_port}"
        if here and secrets.compare_digest(path.encode(), self.server.path.encode()):
            return True
        self.send_error(HTTPStatus.FORBIDDEN)
        return False

    def _show(self, number: int, fault: str = "") -> None:
        self._send(self.server.page(number, fault))

    def _send(self, text: str) -> None:
        # Half of a character, which an answer may hold, has no UTF-8.
        body = text.encode("utf-8", "replace")
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: an address holds the token."""


class Desk(Server):
    """The answers, their judgements, and the address of the page.

    Requests have threads: a connection that a browser opens ahead blocks no other.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.answers = answers_of(results.load(folder))
        self.judgements = Judgements(folder)
        self.path = f"/{secrets.token_urlsafe(24)}/"
        self._one_at_a_time = threading.Lock()
        super().__init__((HOST, port), Handler)

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}{self.path}"

    def keep(self, number: int, level: str, comment: str) -> None:
        """Keep a judgement. Raises: ValueError if it fits no answer or no level."""
        if not 0 <= number < len(self.answers):
            raise ValueError("there is no such answer.")
        if not LEVEL.fullmatch(level):
            raise ValueError("choose a level.")
        answer = self.answers[number]
        given = Judgement(int(level), comment.replace("\r\n", "\n").strip())
        fits = checked(given, answer.rubric)
        with self._one_at_a_time:
            self.judgements.put(answer.sha256, answer.heading, fits)

    def given(self, answer: Answer) -> Judgement | None:
        """Return the judgement of an answer; None if there is none yet."""
        return self.judgements.get(answer.sha256, answer.heading)

    def first_open(self) -> int:
        """Return the first answer that is not judged; 0 if all are."""
        return next((i for i, a in enumerate(self.answers) if not self.given(a)), 0)

    def page(self, number: int, fault: str = "", typed: Judgement | None = None) -> str:
        """Return the page of one answer, with what was typed if it was not kept."""
        if not self.answers:
            return page("Nothing to judge", "<p>Nobody has answered in words.</p>")
        if number >= len(self.answers):
            number, typed = len(self.answers) - 1, None
        answer = self.answers[number]
        given = typed or self.given(answer)
        done = sum(self.given(a) is not None for a in self.answers)
        places = (("Previous", number - 1), ("Next", number + 1))
        links = " ".join(
            f'<a href="?n={n}">{text}</a>'
            for text, n in places
            if 0 <= n < len(self.answers)
        )
        said = f'<p class="fault" role="alert">Not kept: {escape(fault)}</p>'
        return page(
            f"Answer {number + 1} of {len(self.answers)}",
            f"{said if fault else ''}<p>{done} of {len(self.answers)} judged. {links}"
            f"</p>\n<h2>{escape(answer.heading)}</h2>\n<pre>{escape(answer.text)}</pre>"
            f"{_form(number, answer, given)}",
        )


def _form(number: int, answer: Answer, given: Judgement | None) -> str:
    """Return the form with the rubric's levels."""
    choices = "\n".join(
        f'<label><input type="radio" name="level" value="{level}" required'
        f"{' checked' if given and given.level == level else ''}> "
        f"{level}: {escape(text)}</label>"
        for level, text in levels(answer.rubric).items()
    )
    comment = escape(given.comment) if given else ""
    return (
        f'<form method="post"><input type="hidden" name="n" value="{number}">\n'
        f"<fieldset><legend>What the answer shows</legend>\n{choices}</fieldset>\n"
        '<label>Comment for the student<textarea name="comment" '
        f'maxlength="{LONGEST_COMMENT}">{comment}</textarea></label>\n<p>'
        '<button type="submit">Keep and go on</button></p></form>\n'
        '<form method="post"><button name="end" value="1">End judging</button></form>'
    )


def _whole(text: str) -> int:
    """Return the whole number of a text; 0 for anything else."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else 0


def serve(
    folder: Path,
    *,
    say: Callable[[str], None] = print,
    show: Callable[[str], object] = webbrowser.open,
) -> None:
    """Show the page until the person ends it, there or by an interrupt."""
    with Desk(folder) as desk:
        say(f"Judge at {desk.address} (Ctrl-C ends it; all that was kept stays)")
        show(desk.address)
        try:
            desk.serve_forever()
        except KeyboardInterrupt:
            say("Judging has ended.")
