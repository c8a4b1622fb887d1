"""The doctor's report: complete, silent about names, and never broken itself."""

import os
import re
import shutil
import socket
import subprocess
import sys
import types
from collections import namedtuple
from pathlib import Path

import pytest

from course_utils import doctor, needs, paths
from course_utils.measure import hardware
from course_utils.models import cache, embedded, profile


@pytest.fixture(scope="module")
def report():
    return doctor.examine()


def test_the_report_has_what_a_bug_report_needs(report):
    text = doctor.render(report)
    for label in doctor.EXAMINATIONS:
        assert re.search(rf"^{label} +\S", text, re.MULTILINE)
    assert "torch " in report.findings["Packages"].text
    assert report.findings["Network"].text == "not contacted"
    assert not any("not found out" in f.text for f in report.findings.values())


def test_a_process_of_its_own_comes_to_an_end():
    code = "from course_utils import doctor; doctor.examine()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=paths.ROOT, check=False, timeout=120
    )
    assert done.returncode == 0


def test_it_names_no_user_host_or_folder(report, monkeypatch):
    text = doctor.render(report)
    for name in (paths.ROOT, paths.cache_dir(), Path.home(), sys.executable):
        assert str(name) not in text


def test_a_folder_in_an_error_is_taken_out(monkeypatch):
    def failing():
        raise OSError(f"no such file: {paths.ROOT}/book/{Path.home()}/x")

    monkeypatch.setitem(doctor.EXAMINATIONS, "Disk", failing)
    text = doctor.examine().findings["Disk"].text
    assert "no such file: .../book/..." in text
    assert str(Path.home()) not in text


def test_no_network_is_contacted(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError(f"the doctor contacted {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("COURSE_PROFILE", "laptop")
    profile.hub_reachable.cache_clear()
    text = doctor.examine().findings["Profile"].text
    assert "contacted" not in text
    assert "not tried" in text
    assert "HF_HUB_OFFLINE" not in os.environ
    # What was not tried is not remembered as not reachable either.
    assert profile.hub_reachable.cache_info().currsize == 0


@pytest.mark.parametrize("label", list(doctor.EXAMINATIONS))
def test_a_failing_examination_is_one_line_and_the_others_go_on(label, monkeypatch):
    def failing():
        raise RuntimeError("broken\nsecond line")

    quick = {name: lambda: needs.Finding("fine") for name in doctor.EXAMINATIONS}
    monkeypatch.setattr(doctor, "EXAMINATIONS", quick | {label: failing})
    report = doctor.examine()
    assert report.findings[label].text == "not found out (RuntimeError: broken)"
    assert sum(f.text == "fine" for f in report.findings.values()) == len(quick) - 1


def sentence(problem):
    """Return `problem` if it is one sentence in one line."""
    assert "\n" not in problem
    assert problem.endswith(".")
    return problem


def test_problems_are_listed_below_the_lines(monkeypatch):
    one = {"Disk": lambda: needs.Finding("full", "Make room.")}
    monkeypatch.setattr(doctor, "EXAMINATIONS", one)
    assert doctor.render(doctor.examine()) == "Disk  full\n\nProblems:\n- Make room."


@pytest.mark.parametrize(
    ("examination", "words"),
    [
        (needs.compiler, "apt install g++"),
        (needs.chromium, "playwright install chromium"),
        (needs.bubblewrap, "apt install bubblewrap"),
    ],
)
def test_missing_programs(examination, words, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("PLAYWRIGHT_BROWSERS_PATH", raising=False)
    monkeypatch.setattr(needs.platform, "system", lambda: "Linux")
    found = examination()
    assert found.text == "none found"
    assert words in sentence(found.problem)


def program(folder, name, script):
    """Write an executable script."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_programs_that_are_there(monkeypatch, tmp_path):
    program(tmp_path, "my-c++", "echo my compiler 3")
    program(tmp_path, "google-chrome", "echo Chrome 150")
    program(tmp_path, "bwrap", "echo bubblewrap 9")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(needs, "BROWSERS", ("google-chrome",))
    monkeypatch.setenv("CXX", "my-c++ -O2")
    assert needs.compiler() == needs.Finding("my compiler 3")
    assert needs.chromium() == needs.Finding("Chrome 150")
    assert needs.bubblewrap() == needs.Finding("bubblewrap 9")


def test_a_sandbox_that_may_not_be_made(monkeypatch, tmp_path):
    program(tmp_path, "bwrap", '[ "$1" = --version ] && echo bubblewrap 9 || exit 1')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = needs.bubblewrap()
    assert found.text == "bubblewrap 9, no sandbox"
    assert "user namespaces" in sentence(found.problem)


def test_playwrights_own_browser_counts(monkeypatch, tmp_path):
    (tmp_path / "chromium-1234").mkdir()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    assert needs.chromium() == needs.Finding("playwright's chromium-1234")


@pytest.mark.parametrize(
    ("version", "fine"),
    [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)],
)
def test_python_outside_the_range(version, fine, monkeypatch):
    monkeypatch.setattr(needs.sys, "version_info", (*version, 0, "final", 0))
    problem = needs.python().problem
    assert (problem == "") is fine
    if not fine:
        assert f"{version[0]}.{version[1]} is outside 3.11 to 3.13" in sentence(problem)


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("free", "cached", "fine"),
    [(4.9e9, False, False), (5.1e9, False, True), (4.9e9, True, True), (9e8, True, 0)],
)
def test_little_disk(free, cached, fine, monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    if cached:
        folder.mkdir()
    monkeypatch.setenv("COURSE_CACHE", str(folder))

    def usage(path):
        return Usage(1e12, 0, free if Path(path).is_relative_to(tmp_path) else 1e12)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    found = needs.disk()
    assert (found.problem == "") == bool(fine)
    if not fine:
        assert "COURSE_CACHE" in sentence(found.problem)


def test_little_memory(monkeypatch):
    monkeypatch.setattr(hardware, "memory_bytes", lambda: 2_000_000_000)
    assert "Only 2.0 GB of memory" in sentence(needs.memory().problem)
    monkeypatch.setattr(hardware, "memory_bytes", lambda: None)
    assert needs.memory() == needs.Finding("unknown")


def test_missing_packages(monkeypatch):
    monkeypatch.setattr(needs, "REQUIRED", ("torch", "no-such-package"))
    assert "Missing: no-such-package;" in sentence(needs.packages().problem)


def test_a_torch_that_does_not_start(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # import raises ImportError
    found = needs.device()
    assert "torch does not start" in sentence(found.problem)
    assert found.text.startswith("torch failed")


def test_the_cache_missing_whole_and_damaged(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    assert "not prepared yet" in doctor._cache().text
    assert doctor._cache().problem == ""

    def build(folder):
        (folder / "model.safetensors").write_bytes(b"weights")
        return {"id": "small"}

    cache.ensure(embedded.folder(), build, needs=1)
    assert doctor._cache().text.endswith("checked")
    (embedded.folder() / "model.safetensors").write_bytes(b"other!!")
    os.utime(embedded.folder() / "model.safetensors", (1, 1))
    found = doctor._cache()
    assert found.text == "damaged"
    assert "python -m course_utils model" in sentence(found.problem)


def test_a_variable_that_asks_for_what_does_not_exist(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "phone")
    assert "'phone'" in sentence(doctor._profile().problem)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"COURSE_PROFILE": "ci"}, "model: embedded ("),
        ({"COURSE_PROFILE": "ci", "COURSE_ARCH": "sm75"}, "rules of sm75"),
        ({"COURSE_MODEL": "a/model"}, "model: a/model (COURSE_MODEL says so)"),
        ({"COURSE_PROFILE": "laptop", "HF_HUB_OFFLINE": "1"}, "model: embedded ("),
        ({"COURSE_PROFILE": "laptop"}, "(not tried), else embedded"),
    ],
)
def test_the_profile_and_the_model_and_why(variables, words, monkeypatch):
    for name in ("COURSE_PROFILE", "COURSE_MODEL", "COURSE_ARCH", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert words in doctor._profile().text
    assert os.environ.get("HF_HUB_OFFLINE") == variables.get("HF_HUB_OFFLINE")


def test_windows_is_told_where_to_go(monkeypatch):
    fake = types.SimpleNamespace(system=lambda: "Windows")
    monkeypatch.setattr(needs, "platform", fake)
    assert "WSL or Colab" in sentence(needs.system().problem)
