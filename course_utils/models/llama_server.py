"""Serving a GGUF file over HTTP, on this machine only.

    with serve(path) as server:
        server.complete("The capital of France is", max_tokens=4)

`serve` starts the server that comes with llama.cpp's Python package as a process of its
own, waits until it answers, and ends it at the end of the block. The server speaks the
protocol that many servers share: `/v1/models`, `/v1/completions` and
`/v1/chat/completions`, JSON in and out.

Left out: streaming, keys, several models, and addresses other than 127.0.0.1.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from course_utils.models import llama_cpp
from course_utils.models.cache import ModelError

HOST = "127.0.0.1"
MODULE = "llama_cpp.server"
PARTS = ("fastapi", "uvicorn", "sse_starlette", "starlette_context")
START_SECONDS = 60.0
ANSWER_SECONDS = 60.0
POLL_SECONDS = 0.1


def missing() -> str:
    """Return why no server can be started here, or ""."""
    if reason := llama_cpp.missing():
        return reason
    absent = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if absent:
        return f"The server needs {', '.join(absent)}; run `make llama`."
    return ""


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        url: Where, without a path.
        command: How it was started.
        pid: Its process.
    """

    url: str
    command: tuple[str, ...]
    pid: int

    def models(self) -> list[str]:
        """Return the names of the models it serves."""
        return [entry["id"] for entry in self.call("/v1/models")["data"]]

    def complete(self, prompt: str, *, max_tokens: int = 16) -> str:
        """Return how the likeliest text goes on after `prompt`."""
        body = {"prompt": prompt, "max_tokens": max_tokens, "temperature": 0.0}
        return self.call("/v1/completions", body)["choices"][0]["text"]

    def chat(self, messages: Sequence[dict[str, str]], *, max_tokens: int = 32) -> str:
        """Return the answer to a conversation of role and content."""
        body = {
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": 0.0,
        }
        found = self.call("/v1/chat/completions", body)
        return found["choices"][0]["message"]["content"]

    def call(self, path: str, body: dict | None = None) -> dict:
        """Send a request and return the answer; without a body it is a GET.

        Raises: ModelError if the server refuses or is not there.
        """
        return _request(self.url + path, body, timeout=ANSWER_SECONDS)


@contextmanager
def serve(
    path: Path, *, n_ctx: int = 512, start_seconds: float = START_SECONDS
) -> Iterator[Server]:
    """Serve a GGUF file for the length of a `with` block.

    Args:
        path: The file.
        n_ctx: Tokens of the context.
        start_seconds: How long to wait for the first answer.

    Raises: ModelError if the server is missing, or ends or stays silent.
    """
    if reason := missing():
        raise ModelError(reason)
    if not path.is_file():
        raise ModelError(f"There is no file {path}; give a GGUF file that exists.")
    port = free_port()
    command = command_of(path, port=port, n_ctx=n_ctx)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=_environment()
        )
        try:
            server = Server(f"http://{HOST}:{port}", tuple(command), process.pid)
            _wait(server, process, log, start_seconds)
            yield server
        finally:
            _stop(process)


def command_of(path: Path, *, port: int, n_ctx: int) -> list[str]:
    """Return the command that serves a file, as it can be typed in a terminal."""
    return [
        *(sys.executable, "-m", MODULE),
        *("--model", str(path)),
        *("--host", HOST),
        *("--port", str(port)),
        *("--n_ctx", str(n_ctx)),
        *("--n_threads", str(torch.get_num_threads())),
    ]


def free_port() -> int:
    """Return a port that nobody listens on; it may be taken a moment later."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _environment() -> dict[str, str]:
    """Return the environment without the variables that move the server elsewhere."""
    ours = ("HOST", "PORT", "CONFIG_FILE")
    return {name: value for name, value in os.environ.items() if name not in ours}


def _wait(server: Server, process: subprocess.Popen, log, seconds: float) -> None:
    """Return when the server answers for the first time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise ModelError(
                f"The server ended at once (code {process.returncode}): {_last(log)}"
            )
        try:
            _request(server.url + "/v1/models", None, timeout=1.0)
        except ModelError:
            time.sleep(POLL_SECONDS)
        else:
            return
    raise ModelError(
        f"The server did not answer within {seconds:g} s; give it longer with "
        "`start_seconds`, or a smaller file."
    )


def _last(log) -> str:
    """Return the last line that the server wrote."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it wrote nothing."


def _stop(process: subprocess.Popen) -> None:
    """End the server, by force if it does not listen."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _request(url: str, body: dict | None, *, timeout: float) -> dict:
    """Send JSON and return JSON; GET without a body.

    Raises: ModelError if there is no answer, or one that says no.
    """
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    # No proxy: a server on this machine is not asked through another one.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(url, data, headers)
        with opener.open(request, timeout=timeout) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise ModelError(f"{url} answered {error.code} {error.reason}.") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{url} did not answer ({error}).") from error
