"""Colab's first cell, in a stand-in: a venv with Colab's marks and a wheelhouse.

The stand-in has its own torch. The wheelhouse has a newer one, and an anywidget that
asks for it. Installing that anywidget in the usual way replaces torch; the first cell
must not.
"""

import os
import shutil
import subprocess
import sys
import venv
import zipfile

import pytest

from course_utils import paths
from course_utils.authoring.colab import PACKAGES, first_cell
from course_utils.authoring.project import Project

PREINSTALLED = {"torch": "2.9.0+cu126", "numpy": "2.0.2", "transformers": "4.57.1"}
NEWER = {"torch": "2.13.0", "numpy": "2.2.6", "transformers": "5.17.0"}
GREEDY = [f"{name}>={version}" for name, version in NEWER.items()]
VERSIONS = (
    "from importlib.metadata import version; "
    f"print(*(version(n) for n in {list(PREINSTALLED)}))"
)


def wheel(folder, name, version, requires=()):
    """Write a wheel that holds one empty module."""
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {r}\n" for r in requires)
    meta = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(f"{info}/METADATA", meta)
        archive.writestr(f"{info}/WHEEL", tag)
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The wheel of course_utils, built from a copy: a build leaves files behind."""
    tree = tmp_path_factory.mktemp("tree")
    skip = shutil.ignore_patterns("__pycache__", "*.ipynb", "_ext", "assets")
    for name in ("course_utils", "book"):
        shutil.copytree(paths.ROOT / name, tree / name, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(paths.ROOT / name, tree)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index"]
    command = [*pip, "--no-build-isolation", "-w", str(tree / "dist"), str(tree)]
    subprocess.run(command, check=True)
    return next((tree / "dist").glob("course_utils-*.whl"))


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheelhouse")
    for name, version in (PREINSTALLED | {"google": "1.0"}).items():
        wheel(folder, name, version)
    for name, version in NEWER.items():
        wheel(folder, name, version)
    for name in PACKAGES:
        wheel(folder, name, "1.0", GREEDY)
    return folder


class StandIn:
    """A Python with Colab's packages, which can reach the wheelhouse only."""

    def __init__(self, folder, wheelhouse, library):
        venv.create(folder, with_pip=True)
        self.python = folder / "bin" / "python"
        keep = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
        self.env = keep | {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheelhouse),
            "COURSE_UTILS_FROM": str(library),
        }
        pinned = [f"{name}=={version}" for name, version in PREINSTALLED.items()]
        self.run("-m", "pip", "install", "-q", "--no-deps", *pinned)
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / "google" / "colab").mkdir(parents=True)
        (site / "google" / "colab" / "__init__.py").touch()

    def run(self, *arguments):
        """Run Python outside the checkout and return what it prints."""
        command = [str(self.python), *arguments]
        done = subprocess.run(
            command,
            env=self.env,
            cwd=self.python.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def versions(self):
        return dict(zip(PREINSTALLED, self.run("-c", VERSIONS).split(), strict=True))


@pytest.fixture
def colab(tmp_path, wheelhouse, library):
    return StandIn(tmp_path / "colab", wheelhouse, library)


CELL = first_cell(Project())


def test_the_first_cell_brings_the_library_and_leaves_torch(colab):
    found = "import importlib.util as u; print(u.find_spec('course_utils'))"
    assert colab.run("-c", f"{CELL}\n{found}") == "None", (
        "outside Colab it does nothing"
    )

    # A second run finds the library and installs nothing.
    use = "import course_utils, anywidget, gguf; print(course_utils.__file__)"
    where = colab.run("-c", f"import google.colab\n{CELL}\n{CELL}\n{use}")
    assert where.startswith(str(colab.python.parents[1]))
    assert colab.versions() == PREINSTALLED
    texts = "from course_utils.paths import book_dir; print(*book_dir().rglob('*'))"
    assert "evaluation.md" in colab.run("-c", texts)


def test_the_usual_way_replaces_torch(colab):
    colab.run("-m", "pip", "install", "-q", "anywidget")
    assert colab.versions() == NEWER
