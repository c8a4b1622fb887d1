"""The root conftest: one session that runs tests and notebooks."""

import re
import shutil
import subprocess
import sys

import pytest

from course_utils import paths
from course_utils.authoring import notebook

CHECK = ("nbval-check-output",)
RAISES = ("raises-exception",)


def cell(source, tags, printed):
    node = notebook.new_cell("code", source, tags)
    if printed is not None:
        node["outputs"] = [{"output_type": "stream", "name": "stdout", "text": printed}]
        node["execution_count"] = 1
    return node


CELLS = {
    "a number within the tolerance": (
        cell("print(20.001)", CHECK, "20.000\n"),
        "passed",
    ),
    "a number outside it": (cell("print(20.1)", CHECK, "20.000\n"), "failed"),
    "another word": (cell("print('worse')", CHECK, "better\n"), "failed"),
    "an output that is not compared": (cell("print(2)", (), "1\n"), "passed"),
    "a check that refuses": (cell("assert False", RAISES, None), "passed"),
    "a check that lets pass": (cell("assert True", RAISES, None), "failed"),
    "the environment": (
        cell(
            "import os\n"
            "print(os.environ['PYTHONHASHSEED'], os.environ['COURSE_PROFILE'])",
            CHECK,
            "0 ci\n",
        ),
        "passed",
    ),
}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Outcome of each cell in a session that was started without arguments."""
    root = tmp_path_factory.mktemp("session")
    shutil.copy(paths.ROOT / "conftest.py", root)
    (root / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n", "utf-8")
    (root / "tests").mkdir()
    (root / "tests/test_one.py").write_text("def test_one():\n    assert True\n")
    nb = notebook.new_notebook("t")
    nb["cells"] = [node for node, _ in CELLS.values()]
    notebook.name_cells(nb["cells"])
    for kind in ("notebooks", "exercises"):
        notebook.write_atomic(root / kind / "01_t.ipynb", notebook.text_of(nb))
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_every_folder_is_collected(session):
    found = set(re.findall(r"^(\w+)/\S+::", session, re.M))
    assert found == {"tests", "notebooks", "exercises"}


@pytest.mark.parametrize("number", range(len(CELLS)), ids=CELLS)
def test_each_cell_comes_out_as_it_should(session, number):
    expected = list(CELLS.values())[number][1]
    outcome = re.search(rf"^notebooks/01_t\S*::Cell {number} (\w+)", session, re.M)
    assert outcome[1].lower() == expected


def test_the_report_says_what_changed(session):
    assert "20.000 became 20.1" in session
    assert "did not raise" in session
