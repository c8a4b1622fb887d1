import ast

import pytest

from course_utils import paths
from course_utils.authoring.errors import AuthoringError
from course_utils.authoring.include import global_names, included_source

CODE = paths.ROOT


def run(source):
    namespace = {}
    exec(compile(source, "<cell>", "exec"), namespace)
    return namespace


def test_the_source_is_verbatim_and_runs_alone(project):
    source = included_source("course_utils.tiny.halve", project.code)
    assert "    return math.fsum([x / 4, x / 4])" in source
    assert run(source)["halve"](3.0) == 1.5


def test_only_the_imports_that_are_needed(project):
    source = included_source("course_utils.tiny.halve", project.code)
    imports = [
        n for n in ast.parse(source).body if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    assert [ast.unparse(n) for n in imports] == ["import math"]


def test_names_of_the_module_come_from_it(project):
    source = included_source("course_utils.tiny.scaled", project.code)
    assert "from pathlib import Path as P" in source
    assert "from course_utils.tiny import SCALE, halve" in source
    assert "import math" not in source, "a local name is no import"


def test_an_edited_neighbour_is_not_imported_over(project):
    have = frozenset({"course_utils.tiny.halve"})
    source = included_source("course_utils.tiny.scaled", project.code, have)
    assert "from course_utils.tiny import SCALE\n" in source
    assert "import halve" not in source


def test_a_decorated_class_of_the_library_runs_alone():
    source = included_source("course_utils.formats.affine.QuantSpec", CODE)
    assert "from dataclasses import dataclass" in source
    assert run(source)["QuantSpec"](bits=4).qmax == 15


def test_global_names_leave_locals_and_builtins_out():
    source = "def f(a: T = D) -> R:\n    b = [c for c in a]\n    return len(b) + G\n"
    assert global_names(source) == {"T", "D", "R", "G"}


@pytest.mark.parametrize(
    "dotted", ["course_utils.tiny.nothing", "course_utils.no.halve"]
)
def test_an_unknown_name_is_refused(project, dotted):
    with pytest.raises(AuthoringError, match="check"):
        included_source(dotted, project.code)
