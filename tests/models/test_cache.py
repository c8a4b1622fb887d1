import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from course_utils.models import cache

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    """Each test starts like a new process: nothing has been hashed yet."""
    monkeypatch.setattr(cache, "_hashed", {})


class Builder:
    """Writes two small files and counts how often it was asked to."""

    def __init__(self):
        self.calls = 0

    def __call__(self, target: Path) -> dict:
        self.calls += 1
        (target / "weights").write_bytes(CONTENT)
        (target / "config.json").write_text("{}")
        return {"id": "small"}


def ensure(folder, build, lines=None, needs=2**20):
    lines = [] if lines is None else lines
    return cache.ensure(folder, build, needs=needs, progress=lines.append)


def flip(path: Path, at: int = 1000) -> None:
    """Change one bit and leave size and times as they were."""
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def leftovers(parent: Path) -> list[str]:
    """What lies there beside complete folders and lock files."""
    return sorted(p.name for p in parent.iterdir() if "partial" in p.name)


def test_builds_once_and_lists_what_it_wrote(tmp_path):
    build = Builder()
    folder = ensure(tmp_path / "model", build)
    assert ensure(tmp_path / "model", build) == folder
    assert build.calls == 1
    card = cache.read_card(folder)
    assert card["id"] == "small"
    assert card["files"]["weights"] == hashlib.sha256(CONTENT).hexdigest()
    assert set(card["files"]) == {"weights", "config.json"}
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["weights", "config.json", cache.CARD])
def test_a_flipped_bit_in_any_file_is_found_and_repaired(tmp_path, monkeypatch, name):
    build, lines = Builder(), []
    folder = ensure(tmp_path / "model", build)
    flip(folder / name, at=1)
    monkeypatch.setattr(cache, "_hashed", {})  # a new process
    assert cache.problem(folder) is not None
    ensure(folder, build, lines)
    assert build.calls == 2
    assert (folder / "weights").read_bytes() == CONTENT
    assert len(lines) == 1
    assert "damaged" in lines[0]
    assert "\n" not in lines[0]
    assert leftovers(tmp_path) == []


def test_the_same_process_notices_a_write(tmp_path):
    build = Builder()
    folder = ensure(tmp_path / "model", build)
    assert cache.problem(folder) is None
    (folder / "weights").write_bytes(b"\1" + CONTENT[1:])
    assert cache.problem(folder) is not None


def test_the_same_process_hashes_once(tmp_path, monkeypatch):
    folder = ensure(tmp_path / "model", Builder())
    cache.problem(folder)

    def fail(path):
        raise AssertionError(f"{path} was hashed again")

    monkeypatch.setattr(cache, "sha256_of", fail)
    assert cache.problem(folder) is None


@pytest.mark.parametrize("name", ["weights", cache.CARD])
def test_a_missing_or_cut_file_is_repaired(tmp_path, monkeypatch, name):
    build = Builder()
    folder = ensure(tmp_path / "model", build)
    (folder / name).unlink()
    ensure(folder, build)
    os.truncate(folder / name, 5)
    ensure(folder, build)
    assert build.calls == 3
    assert (folder / "weights").read_bytes() == CONTENT


def test_a_folder_that_cannot_be_locked_is_still_read(tmp_path, monkeypatch):
    """A cache shared by a whole class is read-only for its readers."""
    folder = ensure(tmp_path / "model", Builder())
    monkeypatch.setattr(cache, "_hashed", {})

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(cache, "_locked", refuse)
    assert ensure(folder, Builder()) == folder
    with pytest.raises(cache.ModelError, match="Permission denied"):
        ensure(tmp_path / "other", Builder())


def test_too_little_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=3_000_000)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage)
    build = Builder()
    with pytest.raises(cache.ModelError, match=r"3 MB free.*needs 500 MB") as raised:
        ensure(tmp_path / "model", build, needs=500_000_000)
    assert build.calls == 0
    assert "COURSE_CACHE" in str(raised.value)
    assert not (tmp_path / "model").exists()


def test_a_disk_that_fills_up_leaves_nothing(tmp_path):
    def build(target):
        (target / "weights").write_bytes(CONTENT)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(cache.ModelError, match="No space left on device") as raised:
        ensure(tmp_path / "model", build)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "model").exists()
    assert leftovers(tmp_path) == []


def test_a_disk_that_fills_up_during_a_repair_leaves_nothing_half(tmp_path):
    folder = ensure(tmp_path / "model", Builder())
    (folder / "weights").write_bytes(b"damaged")

    def build(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(cache.ModelError):
        ensure(folder, build)
    assert leftovers(tmp_path) == []
    build = Builder()
    ensure(folder, build)
    assert build.calls == 1
    assert (folder / "weights").read_bytes() == CONTENT


# Builds once the file of the third argument is there.
SCRIPT = """
import sys, time
from functools import partial
from pathlib import Path
from course_utils.models import cache

def build(target):
    with open(sys.argv[2], "a") as log:
        log.write("built\\n")
    (target / "started").touch()
    while not Path(sys.argv[3]).exists():
        time.sleep(0.02)
    (target / "weights").write_bytes(b"w" * 3_000_000)
    return {}

say = partial(print, flush=True)
folder = cache.ensure(Path(sys.argv[1]), build, needs=2**20, progress=say)
assert (folder / "weights").stat().st_size == 3_000_000
"""


def start(folder: Path, log: Path, go: Path, limit: int | None = None):
    prefix = ""
    if limit is not None:
        prefix = (
            "import resource; "
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        )
    command = [sys.executable, "-c", prefix + SCRIPT, str(folder), str(log), str(go)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(path: Path, pattern: str) -> None:
    deadline = time.monotonic() + 30
    while not list(path.glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern} in {path}"
        time.sleep(0.02)


def test_two_processes_at_once_build_once(tmp_path):
    folder, log, go = tmp_path / "model", tmp_path / "log", tmp_path / "go"
    first = start(folder, log, go)
    wait_for(tmp_path, ".model.partial-*/started")
    second = start(folder, log, go)
    said = second.stdout.readline()  # it has met the first one's lock
    go.touch()
    results = [process.communicate(timeout=60) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], results
    assert log.read_text() == "built\n"
    assert "Another process" in said
    assert cache.problem(folder) is None


def test_a_killed_process_leaves_the_next_one_free_to_build(tmp_path):
    folder, log = tmp_path / "model", tmp_path / "log"
    killed = start(folder, log, tmp_path / "never")
    wait_for(tmp_path, ".model.partial-*/started")
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    assert len(leftovers(tmp_path)) == 1
    build = Builder()
    ensure(folder, build)
    assert build.calls == 1
    assert leftovers(tmp_path) == []


def test_a_limit_on_file_size_gives_one_sentence_and_leaves_nothing(tmp_path):
    process = start(tmp_path / "model", tmp_path / "log", tmp_path, limit=1_000_000)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith("course_utils.models.cache.ModelError: Cannot write")
    assert "File too large" in last
    assert not (tmp_path / "model").exists()
    assert leftovers(tmp_path) == []


def test_the_card_is_readable_json(tmp_path):
    folder = ensure(tmp_path / "model", Builder())
    assert json.loads((folder / cache.CARD).read_text())["files"]
