"""What a chapter may take: its notebooks together, as the committed outputs were made.

The seconds are those of the machine that executed them, stored with the outputs, so
this test says the same on every machine. The limit that the book states is 60 s.
"""

import pytest

from course_utils import paths
from course_utils.authoring import status
from course_utils.authoring.project import EXECUTED, Project

PROJECT = Project()
SECONDS = 60
BYTES = 4e9
SLUGS = sorted({slug for _, slug in PROJECT.targets()})


@pytest.fixture(scope="module")
def entries():
    return status.read(paths.ROOT / "book" / "measured" / "status.json")


def of_chapter(entries, slug):
    return [entries[f"{kind}/{slug}"] for kind in EXECUTED]


@pytest.mark.parametrize("slug", SLUGS)
def test_a_chapter_takes_no_more_than_a_minute(entries, slug):
    assert sum(entry["seconds"] for entry in of_chapter(entries, slug)) <= SECONDS


@pytest.mark.parametrize("slug", SLUGS)
def test_no_notebook_takes_more_than_4_gb(entries, slug):
    peaks = [entry["peak_mib"] * 2**20 for entry in of_chapter(entries, slug)]
    assert min(peaks) > 0
    assert max(peaks) <= BYTES


def test_only_notebooks_that_exist_are_on_record(entries):
    known = {f"{kind}/{slug}" for kind, slug in PROJECT.targets()}
    assert entries.keys() <= known
