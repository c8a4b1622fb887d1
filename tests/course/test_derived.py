"""Derived files and outputs are today's."""

import nbformat
import pytest

from course_utils.authoring import sync
from course_utils.authoring.derive import derived_text
from course_utils.authoring.lint import lint
from course_utils.authoring.project import Project

PROJECT = Project()
TARGETS = [pytest.param(*t, id="/".join(t)) for t in PROJECT.targets()]
each_notebook = pytest.mark.parametrize(("kind", "slug"), TARGETS)


def test_no_derived_file_differs_from_its_master():
    assert sync.drift(PROJECT) == []


def test_no_output_is_stale():
    assert sync.stale(PROJECT) == []


def test_the_masters_pass_the_lint():
    assert [str(finding) for finding in lint(PROJECT) if finding.error] == []


@each_notebook
def test_two_derivations_are_the_same_bytes(kind, slug):
    assert derived_text(PROJECT, kind, slug) == derived_text(PROJECT, kind, slug)


@each_notebook
def test_a_committed_notebook_is_valid(kind, slug):
    nb = nbformat.read(PROJECT.notebook(kind, slug), as_version=4)
    nbformat.validate(nb)
    assert len({cell.id for cell in nb.cells}) == len(nb.cells)
