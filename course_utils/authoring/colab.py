"""The first code cell of every notebook: fetch the library where Colab lacks it.

Colab brings torch, numpy and transformers of its own, built for its GPU. The cell
installs by name, with `--no-deps`: pip then touches the packages named and nothing
else. A package that is already there stays at its version. Outside Colab the cell
does nothing.
"""

from course_utils.authoring.project import Project

TAGS = ("colab", "remove-cell")

# Pure Python, missing on Colab: widgets, their events, and the reader of model files.
PACKAGES = ("anywidget", "psygnal", "gguf")

_CELL = """\
# On Colab this fetches the course's library. Elsewhere it does nothing.
import importlib.util
import os
import subprocess
import sys

if "google.colab" in sys.modules and not importlib.util.find_spec("course_utils"):
    library = "course-utils @ git+{url}@{branch}"
    library = os.environ.get("COURSE_UTILS_FROM", library)
    # --no-deps: the torch, numpy and transformers of Colab stay as they are.
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*pip, library, {packages}], check=True)
    importlib.invalidate_caches()"""


def first_cell(project: Project) -> str:
    """Return the source of the cell for this project's repository."""
    url, branch = project.repository
    packages = ", ".join(f'"{name}"' for name in PACKAGES)
    return _CELL.format(url=url, branch=branch, packages=packages)
