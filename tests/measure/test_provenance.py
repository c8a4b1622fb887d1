"""Hashes of inputs and code, and the commit."""

import hashlib
import subprocess

import pytest

from course_utils.measure import provenance

AUTHOR = ("-c", "user.name=A", "-c", "user.email=a@b.c")


def git(root, *arguments):
    subprocess.run(
        ["git", "-C", str(root), *AUTHOR, *arguments],
        check=True,
        capture_output=True,
    )


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "course_utils" / "formats").mkdir(parents=True)
    (tmp_path / "course_utils" / "formats" / "affine.py").write_text("x = 1\n")
    (tmp_path / "README.md").write_text("Read.\n")
    git(tmp_path, "init", "-q")
    return tmp_path


def test_commit_says_whether_the_code_is_that_of_the_commit(checkout):
    assert provenance.commit(checkout) == "none"
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "First")
    clean = provenance.commit(checkout)
    assert len(clean) == 40
    (checkout / "README.md").write_text("Other.\n")  # no number depends on it
    assert provenance.commit(checkout) == clean
    (checkout / "course_utils" / "formats" / "affine.py").write_text("x = 2\n")
    assert provenance.commit(checkout) == f"{clean}-changed"


def test_a_new_file_is_a_change(checkout):
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "First")
    (checkout / "course_utils" / "new.py").write_text("")
    assert provenance.commit(checkout).endswith("-changed")


def test_no_git_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.commit(checkout) == "none"


def test_inputs_are_hashed_by_name_and_value_not_by_order():
    first = provenance.inputs_sha256({"text": "ab", "context": 512})
    assert first == provenance.inputs_sha256({"context": 512, "text": "ab"})
    assert first != provenance.inputs_sha256({"context": 512, "text": "ac"})
    assert first != provenance.inputs_sha256({"context": 256, "text": "ab"})
    assert first != provenance.inputs_sha256({"ab": "text", "context": 512})


def test_code_is_hashed_layer_by_layer(tmp_path):
    for layer in (*provenance.LAYERS, "report"):
        (tmp_path / layer).mkdir()
    module = tmp_path / "formats" / "affine.py"
    module.write_text("x = 1\n")
    first = provenance.code_sha256(tmp_path)
    (tmp_path / "report" / "say.py").write_text("x = 1\n")  # shows numbers, makes none
    assert provenance.code_sha256(tmp_path) == first
    module.rename(tmp_path / "methods" / "affine.py")
    moved = provenance.code_sha256(tmp_path)
    assert moved != first
    (tmp_path / "methods" / "affine.py").write_text("x = 2\n")
    assert provenance.code_sha256(tmp_path) not in {first, moved}


def test_a_file_is_hashed_whole(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(data)
    assert provenance.file_sha256(tmp_path / "file") == hashlib.sha256(data).hexdigest()
