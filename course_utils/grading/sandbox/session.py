"""A conversation with one submission's process: cells to run, functions to call.

Every reply is bounded in size and time and is decoded into plain values. After a
reply that is late, too large or no message the session is over, and says so.
"""

import builtins
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable

from course_utils.grading.sandbox import wire
from course_utils.grading.sandbox.limits import Limits


class SandboxError(RuntimeError):
    """The student's process is over; the message says why."""


class Session:
    """One submission's process, until it is closed or breaks a limit.

    Attributes:
        over: Why it is over; "" while it lives.
        changed: Whether a call has changed an argument of its own copy.
        puts_back: Whether such a change is made to the caller's argument too.
    """

    def __init__(self, link: socket.socket, life: int, limits: Limits) -> None:
        self._link, self._life, self._limits = link, life, limits
        self._end = time.monotonic() + limits.wall
        self._buffer = bytearray()
        self._callables: list[Callable] = []
        self._cells = 0
        self._state: bytes | None = None
        self.over = ""
        self.changed = self.puts_back = False
        self._before: list[tuple] = []

    def run(self, source: str) -> None:
        """Run a cell.

        Raises: whatever the cell raises; SandboxError if it broke a limit.
        """
        self._cells += 1
        self._request({"cell": source, "number": self._cells})

    def call(self, what: str | int, *args: object, **kwargs: object) -> object:
        """Call a function of the student's by name or number; return its value."""
        request = {
            "call": what,
            "args": [wire.encode(a, self._put) for a in args],
            "kwargs": {k: wire.encode(v, self._put) for k, v in kwargs.items()},
        }
        return self._request(request | self._random(), args)

    def function(self, what: str | int) -> Callable:
        """Return a stand-in for a function of the student's."""

        def stand_in(*args: object, **kwargs: object) -> object:
            return self.call(what, *args, **kwargs)

        stand_in.__name__ = what if isinstance(what, str) else "function"
        return stand_in

    def undo(self) -> None:
        """Give the caller's arguments back what they held before they were changed.

        Checks share values, with each other and from one submission to the next.
        """
        while self._before:
            argument, sent = self._before.pop()
            wire.put_back(argument, wire.decode(sent, self._callables.__getitem__))

    def close(self) -> None:
        """End the student's process and everything it started."""
        self.over = self.over or "the session is closed."
        if self._life >= 0:
            self._link.close()
            os.close(self._life)
            self._life = -1

    def __enter__(self) -> "Session":
        """Return the session."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _put(self, function: Callable) -> int:
        self._callables.append(function)
        return len(self._callables) - 1

    def _random(self) -> dict:
        """Return torch's state of random numbers if it has changed since last sent."""
        if not (torch := sys.modules.get("torch")):
            return {}
        state = torch.get_rng_state()
        if (data := state.numpy().tobytes()) == self._state:
            return {}
        self._state = data
        return {"torch_state": wire.encode(state)}

    def _request(self, message: dict, args: tuple = ()) -> object:
        """Send a request, serve what the student asks meanwhile, return the value."""
        end = min(time.monotonic() + self._limits.answer, self._end)
        self._send(message, end)
        while True:
            reply = self._receive(end)
            if "ask" not in reply:
                break
            self._send(self._asked(reply), end)
        if "error" in reply:
            raise _error(reply["error"])
        value = self._decoded(reply.get("value"))
        if (changed := reply.get("changed")) and isinstance(changed, dict):
            self.changed = True
            for i, arg in enumerate(args if self.puts_back else ()):
                if str(i) in changed:
                    self._before.append((arg, message["args"][i]))
                    wire.put_back(arg, self._decoded(changed[str(i)]))
        return value

    def _asked(self, reply: dict) -> dict:
        """Call the checker's function that the student's code was given."""
        try:
            function = self._callables[reply["ask"]]
            args = [self._decoded(a) for a in reply["args"]]
            kwargs = {str(k): self._decoded(v) for k, v in reply["kwargs"].items()}
            return {"value": wire.encode(function(*args, **kwargs), self._put)}
        except SandboxError:
            raise
        except Exception as error:
            return {"error": [type(error).__name__, str(error)[:500]]}

    def _decoded(self, value: object) -> object:
        try:
            return wire.decode(value, self.function)
        except (wire.WireError, RecursionError) as error:
            raise self._lost(str(error)) from None

    def _send(self, message: dict, end: float) -> None:
        if self.over:
            raise SandboxError(self.over)
        self._link.settimeout(max(0.001, end - time.monotonic()))
        try:
            self._link.sendall(json.dumps(message).encode() + b"\n")
        except TimeoutError:
            raise self._lost("it took too long to answer.") from None
        except OSError:
            raise self._lost(self._ended()) from None

    def _receive(self, end: float) -> dict:
        """Return one message, or end the session."""
        while b"\n" not in self._buffer:
            self._link.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self._link.recv(1 << 16)
            except TimeoutError:
                raise self._lost("it took too long to answer.") from None
            except OSError:
                data = b""
            if not data:
                raise self._lost(self._ended())
            self._buffer += data
            if len(self._buffer) > self._limits.output:
                raise self._lost("its answer was too large.")
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(message := json.loads(line), dict):
                return message
        raise self._lost("its answer could not be read.")

    def _ended(self) -> str:
        return "its process ended: it quit, crashed, or used too much memory or time."

    def _lost(self, reason: str) -> SandboxError:
        """End the session for `reason`."""
        self.over = reason
        self.close()
        return SandboxError(reason)


def _error(described: object) -> Exception:
    """Return the student's error as the nearest builtin one, marked as theirs."""
    kind, text, line = (str(part)[:500] for part in [*list(described), "", "", ""][:3])
    found = getattr(builtins, kind, None)
    # An assertion of the student's must not read as one of the checks.
    ordinary = isinstance(found, type) and issubclass(found, Exception)
    ordinary = ordinary and not issubclass(found, AssertionError)
    try:
        error = found(text) if ordinary else RuntimeError(f"{kind}: {text}")
    except TypeError:
        error = RuntimeError(f"{kind}: {text}")
    error.student_line = line
    return error
