"""The server: it answers what the model computes, and it ends."""

import os
import socket
import sys
import threading

import pytest
import torch

from course_utils.models import fetch, llama_cpp, llama_server
from course_utils.models.cache import ModelError

served = pytest.mark.skipif(bool(llama_server.missing()), reason="no server")
PROMPT = "The most important thing about a bridge is"


def gone(pid: int) -> bool:
    """Return True if there is no such process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@served
def test_it_answers_as_the_file_does_and_ends(embedded_tokenizer):
    path = fetch.gguf_file()
    tokens = torch.tensor(embedded_tokenizer(PROMPT)["input_ids"])
    with llama_cpp.open_file(path, every_row=False, kv_bits=16) as file:
        wanted = embedded_tokenizer.decode(file.write(tokens, 6))
    with llama_server.serve(path, n_ctx=256) as server:
        assert server.models() == [str(path)]
        assert server.complete(PROMPT, max_tokens=6) == wanted
        talk = [{"role": "user", "content": "What is a bridge?"}]
        assert server.chat(talk, max_tokens=8).strip()
        with pytest.raises(ModelError, match="404"):
            server.call("/v1/nothing")
        pid = server.pid
    assert gone(pid)
    with pytest.raises(ModelError, match="did not answer"):
        server.models()


@served
def test_an_error_inside_the_block_ends_it_too(monkeypatch):
    monkeypatch.setattr(llama_server, "_wait", lambda *_: None)
    with pytest.raises(KeyError), llama_server.serve(fetch.gguf_file()) as server:
        raise KeyError
    assert gone(server.pid)


@served
def test_a_file_that_is_none_is_said_in_one_sentence(tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF and nothing more")
    with (
        pytest.raises(ModelError, match="The server ended at once") as raised,
        llama_server.serve(path),
    ):
        pass
    assert "\n" not in str(raised.value)
    with (
        pytest.raises(ModelError, match="There is no file"),
        llama_server.serve(tmp_path / "no.gguf"),
    ):
        pass


def test_silence_ends_in_a_sentence(monkeypatch, tmp_path):
    """A process that never listens."""
    monkeypatch.setattr(llama_server, "missing", lambda: "")
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(llama_server, "command_of", lambda *_a, **_k: sleeper)
    path = tmp_path / "any.gguf"
    path.write_bytes(b"")
    seen = []
    stop = llama_server._stop
    monkeypatch.setattr(llama_server, "_stop", lambda p: (seen.append(p.pid), stop(p)))
    with (
        pytest.raises(ModelError, match="did not answer within"),
        llama_server.serve(path, start_seconds=0.3),
    ):
        pass
    assert gone(seen[0])


def test_an_answer_that_is_no_json_is_said():
    """Something else may listen on a port."""
    with socket.socket() as listener:
        listener.bind((llama_server.HOST, 0))
        listener.listen()

        def answer():
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://{llama_server.HOST}:{listener.getsockname()[1]}/"
        with pytest.raises(ModelError, match="did not answer"):
            llama_server._request(url, None, timeout=5)
        thread.join()


def test_the_command_listens_on_this_machine_only(tmp_path, monkeypatch):
    command = llama_server.command_of(tmp_path / "a b.gguf", port=1234, n_ctx=99)
    pairs = dict(zip(command[3::2], command[4::2], strict=True))
    assert command[:3] == [sys.executable, "-m", "llama_cpp.server"]
    assert pairs["--host"] == "127.0.0.1"
    assert pairs["--port"] == "1234"
    assert pairs["--n_ctx"] == "99"
    assert pairs["--model"] == str(tmp_path / "a b.gguf")
    monkeypatch.setenv("HOST", "0.0.0.0")  # the server obeys it before its arguments
    assert "HOST" not in llama_server._environment()


def test_without_the_library_a_sentence_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, llama_cpp.PACKAGE, None)
    assert llama_server.missing() == llama_cpp.MISSING
    with pytest.raises(ModelError, match="make llama"), llama_server.serve(tmp_path):
        pass


@served
def test_missing_parts_are_named(monkeypatch):
    monkeypatch.setattr(llama_server, "PARTS", ("fastapi", "no_such_part"))
    assert "no_such_part" in llama_server.missing()
    assert "fastapi" not in llama_server.missing()
