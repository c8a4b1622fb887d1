"""Each thing that can be missing gets one sentence that says what to do."""

import collections
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "tools" / "bootstrap.py"


@pytest.fixture
def bootstrap(tmp_path, monkeypatch):
    """The script as a module, working in an empty folder."""
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", str(tmp_path))
    monkeypatch.setattr(module, "VENV", str(tmp_path / ".venv"))
    monkeypatch.setattr(module, "STAMPS", str(tmp_path / ".venv" / "stamps"))
    (tmp_path / ".venv" / "stamps").mkdir(parents=True)
    (tmp_path / "locks").mkdir()
    for name in ("learn", "uv"):
        (tmp_path / "locks" / f"{name}.txt").write_text("# empty\n")
    return module


def one_sentence(capsys, status, code=1):
    """Return the only line printed."""
    lines = capsys.readouterr().out.strip().splitlines()
    assert status == code
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 14, 0)])
def test_wrong_python(bootstrap, monkeypatch, capsys, version):
    monkeypatch.setattr(sys, "version_info", version)
    line = one_sentence(capsys, bootstrap.main(["learn"]))
    assert f"Python {version[0]}.{version[1]}" in line
    assert "install python3.11" in line


def test_full_disk(bootstrap, monkeypatch, capsys):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(bootstrap, "VENV", "/nonexistent")
    monkeypatch.setattr(
        bootstrap.shutil, "disk_usage", lambda _: usage(0, 0, 500_000_000)
    )
    line = one_sentence(capsys, bootstrap.main(["learn"]))
    assert "Only 0.5 GB" in line
    assert "free some space" in line


def test_a_disk_that_fills_up_on_the_way(bootstrap, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bootstrap, "make_venv", full)
    line = one_sentence(capsys, bootstrap.main(["learn"]))
    assert "No space left on device" in line


def test_missing_compiler_does_not_stop_the_first_chapters(
    bootstrap, monkeypatch, capsys
):
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _: None)
    bootstrap.check_machine()
    assert "apt-get install g++" in capsys.readouterr().out


def test_no_network(bootstrap, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "make_venv", lambda: None)
    monkeypatch.setattr(bootstrap.subprocess, "call", lambda *_, **__: 1)
    status = bootstrap.main(["learn"])
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert status == 1
    assert last.startswith("The download of torch failed: check the network")


def test_no_chromium_and_no_right_to_install_it(bootstrap, monkeypatch):
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _: None)
    with pytest.raises(bootstrap.Refused, match=r"install chromium .*apt-get install"):
        bootstrap.install_system(["chromium"])


def test_a_step_that_is_done_is_skipped_until_its_lock_changes(bootstrap):
    runs = []
    for text in ("a", "a", "b", "b"):
        bootstrap.once("step", text, lambda: runs.append(1))
    assert len(runs) == 2


def test_a_step_that_fails_leaves_no_stamp(bootstrap):
    def fail():
        raise bootstrap.Refused("no")

    with pytest.raises(bootstrap.Refused):
        bootstrap.once("step", "a", fail)
    runs = []
    bootstrap.once("step", "a", lambda: runs.append(1))
    assert runs == [1]


def test_interrupting_says_how_to_go_on(bootstrap, monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "make_venv", interrupt)
    line = one_sentence(capsys, bootstrap.main(["learn"]), code=130)
    assert "same command" in line


def test_usage_names_the_goals():
    run = subprocess.run(
        [sys.executable, SCRIPT, "nonsense"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "learn|book|tests|llama|all" in run.stdout
