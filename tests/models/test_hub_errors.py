"""Every failure of a download is one sentence that says what to do."""

import errno

import httpx
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from course_utils.models import hub_download, hub_errors
from course_utils.models.card import CARDS


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "is full; make room"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied; set"),
        (ConnectionResetError(), "was cut; run the same command again"),
        (httpx.ReadTimeout("slow"), "was cut; run the same command again"),
        (ValueError("first\nsecond"), "cannot be downloaded: first"),
    ],
)
def test_what_is_said(error, part):
    said = str(hub_errors.explained(error, "owner/model", None))
    assert part in said
    assert "\n" not in said


def test_the_cause_behind_a_missing_file_is_said():
    error = LocalEntryNotFoundError("not in the cache")
    error.__cause__ = httpx.ConnectError("refused")
    assert "was cut" in str(hub_errors.explained(error, "owner/model", None))


@pytest.mark.parametrize("name", [n for n, card in CARDS.items() if card.gated])
def test_every_gated_card_names_an_ungated_one(name):
    said = hub_errors.gated(name)
    assert f"{constants.ENDPOINT}/{name}" in said
    other = CARDS[said.removesuffix(".").rpartition(" ")[2]]
    assert not other.gated


def test_progress_is_a_line_for_every_ten_percent():
    said = []
    lines = hub_download.Lines("Start", total=1000, done=0, progress=said.append)
    for _ in range(1000):
        lines(1)
    assert said[:2] == ["Start", "10 %: 100 B of 1.0 kB"]
    assert said[-1] == "100 %: 1.0 kB of 1.0 kB"
    assert len(said) == 11


def test_bytes_taken_back_are_not_told_twice():
    said = []
    lines = hub_download.Lines("Start", total=100, done=0, progress=said.append)
    for n_bytes in (50, -50, 50, 50):
        lines(n_bytes)
    assert [line.partition(" ")[0] for line in said] == ["Start", "50", "100"]


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2e6, "2.0 MB"), (3.25e9, "3.2 GB")],
)
def test_sizes_are_decimal(n_bytes, text):
    assert hub_download.size(n_bytes) == text
