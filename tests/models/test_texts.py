import hashlib
import json

import pytest
import torch

from course_utils.models import texts
from course_utils.paths import book_dir


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the texts that a test may damage."""
    source = book_dir() / "texts"
    target = tmp_path / "texts"
    target.mkdir()
    for path in source.iterdir():
        if path.is_file():
            (target / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(texts, "book_dir", lambda: tmp_path)
    return target


def test_the_manifest_lists_every_text_with_its_hash():
    folder = book_dir() / "texts"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {"evaluation.md", "calibration.json", "calibration.txt"} <= set(manifest)
    for name, digest in manifest.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_calibration_tokens(embedded_tokenizer):
    tokens = texts.calibration_tokens()
    assert tokens.shape == (32, 256)
    assert tokens.dtype == torch.int64
    special = set(embedded_tokenizer.all_special_ids)
    assert not special & set(tokens.flatten().tolist())
    assert tokens.min() >= 0
    assert tokens.max() < len(embedded_tokenizer)


def test_the_readable_text_is_that_of_the_tokens(embedded_tokenizer):
    readable = (book_dir() / "texts" / "calibration.txt").read_text(encoding="utf-8")
    for row in texts.calibration_tokens():
        assert embedded_tokenizer.decode(row) in readable


def test_documents_differ():
    tokens = texts.calibration_tokens()
    assert len(torch.unique(tokens, dim=0)) == 32


def test_no_13_tokens_in_a_row_are_in_both_texts(embedded_tokenizer):
    evaluation = texts.evaluation_tokens(embedded_tokenizer, None)
    known = texts.ngrams(evaluation.tolist(), 13)
    assert len(known) > 7_000
    for row in texts.calibration_tokens():
        found = texts.ngrams(row.tolist(), 13)
        assert found
        assert not known & found


def test_ngrams_by_hand():
    assert texts.ngrams([1, 2, 3, 4], 3) == {(1, 2, 3), (2, 3, 4)}
    assert texts.ngrams([1, 2], 3) == set()


def test_evaluation_tokens(embedded_tokenizer):
    every = texts.evaluation_tokens(embedded_tokenizer, None)
    assert len(every) >= 8_000
    assert embedded_tokenizer.decode(every) == texts.evaluation_text()
    first = texts.evaluation_tokens(embedded_tokenizer)
    assert torch.equal(first, every[:2048])
    for n in (0, len(every) + 1):
        with pytest.raises(ValueError, match="n must be 1 to"):
            texts.evaluation_tokens(embedded_tokenizer, n)


@pytest.mark.parametrize("name", ["evaluation.md", "calibration.json"])
def test_a_changed_text_is_refused(copy, embedded_tokenizer, name):
    (copy / name).write_bytes((copy / name).read_bytes() + b" ")
    with pytest.raises(ValueError, match="not the frozen text"):
        texts.evaluation_text()
        texts.calibration_tokens()


def test_line_ends_of_another_system_are_the_same_text(copy):
    path = copy / "evaluation.md"
    want = texts.evaluation_text()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert texts.evaluation_text() == want
