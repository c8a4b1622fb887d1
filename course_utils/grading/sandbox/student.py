"""The student's side: runs cells, calls functions, answers with plain values.

Everything here is in the student's hands once a cell has run, so nothing here is
trusted: a forged answer is a value like any other. Standard output goes nowhere; the
socket is the one way out.
"""

import builtins
import json
import linecache
import os
import socket
import sys
import traceback
import types

from . import wire

MESSAGE = 500


class Server:
    """Answers requests on a socket until it closes."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link.makefile("rwb")
        self.names: dict[str, object] = {"__name__": "__main__"}
        self.callables: list = []

    def run(self) -> None:
        """Answer every request, one after another."""
        while line := self.link.readline():
            self.send(self.answer(json.loads(line)))

    def send(self, message: dict) -> None:
        """Write one line."""
        text = json.dumps(message)
        self.link.write(text.encode() + b"\n")
        self.link.flush()

    def answer(self, request: dict) -> dict:
        """Do what a request asks and return the value or the error."""
        self.arguments: list = []
        try:
            value = wire.encode(self.do(request), self.put)
            return {"value": value, "changed": self._changed(request)}
        except BaseException as error:
            return {"error": _described(error)}

    def do(self, request: dict) -> object:
        """Run a cell, or call something."""
        if "cell" in request:
            name = f"<cell {request['number']}>"
            source = request["cell"]
            linecache.cache[name] = (len(source), None, source.splitlines(True), name)
            exec(compile(source, name, "exec"), self.names)
            return None
        self._random(request)
        what = request["call"]
        function = self.names[what] if isinstance(what, str) else self.callables[what]
        arguments = [wire.decode(a, self.get, inside=True) for a in request["args"]]
        self.arguments = arguments
        named = {
            k: wire.decode(v, self.get, inside=True)
            for k, v in request["kwargs"].items()
        }
        return function(*arguments, **named)

    def put(self, function: object) -> int:
        """Number a callable of the student's for the grader."""
        self.callables.append(function)
        return len(self.callables) - 1

    def get(self, number: int) -> object:
        """Return a stand-in for a callable of the grader's."""

        def ask(*args: object, **kwargs: object) -> object:
            message = {
                "ask": number,
                "args": [wire.encode(a, self.put) for a in args],
                "kwargs": {k: wire.encode(v, self.put) for k, v in kwargs.items()},
            }
            self.send(message)
            reply = json.loads(self.link.readline())
            if "error" in reply:
                kind, text = reply["error"]
                raise getattr(builtins, kind, RuntimeError)(text)
            return wire.decode(reply["value"], self.get, inside=True)

        return ask

    def _changed(self, request: dict) -> dict[str, object]:
        """Return the arguments that the call has changed, by their position."""
        found = {}
        for i, value in enumerate(self.arguments):
            sent = request["args"][i]
            if isinstance(sent, dict) and sent.keys() & wire.MUTABLE:
                now = wire.encode(value, self.put)
                if now != sent:
                    found[str(i)] = now
        return found

    def _random(self, request: dict) -> None:
        """Take over the grader's state of random numbers, where it has changed."""
        if "torch_state" in request and (torch := sys.modules.get("torch")):
            torch.set_rng_state(wire.decode(request["torch_state"]))


def _described(error: BaseException) -> list[str]:
    """Return the error's nearest builtin type, its text, and the student's line."""
    kinds = (k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins")
    try:
        text = str(error)[:MESSAGE]
    except BaseException:
        text = "an error that cannot be shown"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.line for f in frames if f.filename.startswith("<cell ") and f.line]
    shown = "" if isinstance(error, (KeyError, NotImplementedError)) else text
    return [next(kinds), shown or text, (lines or [""])[-1][:MESSAGE]]


def without_checks() -> None:
    """Let `from course_utils.grading.check import ...` succeed, and check nothing.

    The check cells of a notebook stand in the submission. They are for the reader;
    the grader has its own, and runs them elsewhere.
    """

    def nothing(*args: object, **kwargs: object) -> None:
        """Check nothing."""

    check = types.ModuleType("course_utils.grading.check")
    for name in ("expect_close", "expect_equal", "expect_raises", "run_checks"):
        setattr(check, name, nothing)
    try:
        import course_utils.grading  # noqa: F401, PLC0415 -- only where it is lent
    except ModuleNotFoundError:
        package = types.ModuleType("course_utils")
        grading = types.ModuleType("course_utils.grading")
        package.__path__ = grading.__path__ = []
        sys.modules |= {"course_utils": package, "course_utils.grading": grading}
        package.grading = grading
    sys.modules["course_utils.grading"].check = check
    sys.modules["course_utils.grading.check"] = check


def main(link: socket.socket) -> None:
    """Serve one submission with nothing open but its socket."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.closerange(3, link.fileno())
    os.closerange(link.fileno() + 1, 4096)
    without_checks()
    Server(link).run()
