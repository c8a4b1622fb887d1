"""Write an assignment as Otter's files, and have Otter build Gradescope's archive.

    write(task, folder)
        folder/tests/q1.py          one file a question, in Otter's exception style
        folder/solution.ipynb       the references, for a trial run; not to hand out
        folder/otter_config.json    no PDF, which would need LaTeX or a browser
        folder/requirements.txt     what the exercises import, with versions
        folder/course_utils/        the modules of the book that the exercises import
    gradescope(folder, archive)
        archive                     what Gradescope or `otter run` takes

A test file runs the checks of the master as they stand, with the points of our grader:
those of a question are shared equally among its checks. Otter runs it in the student's
process, so a submission can forge the result; `book/teach/graders.md` measures that.

Otter lives in an environment of its own. Nothing here imports it.
"""

import ast
import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from course_utils.grading.gate import Trial
from course_utils.grading.judge import Assignment
from course_utils.paths import PACKAGE, ROOT

PYTHON = ROOT / "_build" / "environments" / "otter" / "bin" / "python"
LIBRARY = PACKAGE.name
CONFIG = {"pdf": False, "show_stdout": False, "show_hidden": False}
CASE = '''
@test_case(name={name!r}, hidden={hidden})
def test_{check}({function}):
    """Run the check of the master."""
    {check}({function})
'''


class OtterError(RuntimeError):
    """Otter is missing or refused; the message says what to do."""


def write(task: Assignment, folder: Path) -> list[Path]:
    """Write the files of an assignment and return the paths of its test files.

    What an earlier call has left in `folder` is replaced.

    Raises: ValueError for a folder that holds the library itself.
    """
    tests = folder / "tests"
    if (folder / LIBRARY).resolve() == PACKAGE.resolve():
        raise ValueError(f"{folder} holds {LIBRARY} itself; choose a new folder.")
    for old in (tests, folder / LIBRARY):
        shutil.rmtree(old, ignore_errors=True)
    tests.mkdir(parents=True)
    paths = []
    for trial in task.trials:
        paths.append(tests / f"q{trial.question.number}.py")
        points = task.points[trial.question.heading]
        paths[-1].write_text(check_file(trial, points), "utf-8")
    (folder / "solution.ipynb").write_text(notebook(task.solution()), "utf-8")
    (folder / "otter_config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    modules, packages = needed(task)
    for module in modules:
        copied = folder / module.relative_to(PACKAGE.parent)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, copied)
    lines = "".join(f"{package}\n" for package in packages)
    (folder / "requirements.txt").write_text(lines)
    return paths


def check_file(trial: Trial, points: float) -> str:
    """Return the source of one test file in Otter's exception style."""
    question = trial.question
    cases = [
        CASE.format(
            name=check.__name__.removeprefix("check_").replace("_", " "),
            hidden=check in trial.further,
            check=check.__name__,
            function=question.function,
        )
        for check in trial.visible + trial.further
    ]
    parts = [
        f"# {question.heading}",
        "OK_FORMAT = False",
        trial.shared,
        without_run(question.checks),
        question.further,
        "from otter.test_files import test_case",
        # Last, so that no name of the exercise stands in their place.
        f'name = "q{question.number}"\npoints = {points}',
        *(case.strip() for case in cases),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def notebook(cells: list[str]) -> str:
    """Return a notebook of code cells as the text of its file."""
    found = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "source": source,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    meta = {"kernelspec": kernel, "language_info": {"name": "python"}}
    body = {"cells": found, "metadata": meta, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(body, indent=1) + "\n"


def gradescope(folder: Path, archive: Path, python: Path = PYTHON) -> Path:
    """Let Otter build the archive from what `write` wrote, and return its path.

    Raises: OtterError where the environment is missing or Otter refuses.
    """
    if not python.exists():
        raise OtterError(
            "Otter's environment is not built; run `make graders` once, or "
            "`python3.11 tools/environment.py otter`."
        )
    archive.parent.mkdir(parents=True, exist_ok=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [
        *(str(python), "-m", "otter", "generate", "--tests-dir", "tests"),
        *("--output-path", str(archive.resolve()), "--config", "otter_config.json"),
        *("--requirements", "requirements.txt", "--no-environment"),
        *("--python-version", version, LIBRARY),
    ]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode or not archive.exists():
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise OtterError(f"Otter built no archive: {said[-1]}")
    return archive


def needed(task: Assignment) -> tuple[list[Path], list[str]]:
    """Return the files of the book that an assignment imports, and the packages.

    Imports are followed from file to file. Of other packages those count which are
    imported when a module is, not those of a function that no exercise may call.
    """
    sources = [
        "\n\n".join((t.shared, t.question.checks, t.question.further))
        for t in task.trials
    ]
    trees = [ast.parse(source) for source in sources]
    names = {n for tree in trees for n in _imports(list(ast.walk(tree)))}
    return _followed({*task.modules, *names})


def _followed(modules: set[str]) -> tuple[list[Path], list[str]]:
    """Follow imports; the packages come with their versions."""
    files: dict[Path, None] = {}
    packages: set[str] = set()
    left = sorted(modules)
    while left:
        name = left.pop()
        if name.partition(".")[0] != LIBRARY:
            packages.add(name.partition(".")[0])
            continue
        if (path := _file(name)) is None or path in files:
            continue
        files[path] = None
        tree = ast.parse(path.read_text("utf-8"))
        ours = {n for n in _imports(list(ast.walk(tree))) if n.startswith(LIBRARY)}
        left += [name.rpartition(".")[0], *sorted(ours | _imports(tree.body))]
    names = sorted(packages - set(sys.stdlib_module_names) - {""})
    return sorted(files), [f"{_distribution(n)}=={_version(n)}" for n in names]


def _imports(nodes: list[ast.AST]) -> set[str]:
    """Return the modules that statements import; a package's names may be modules."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module}
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _file(name: str) -> Path | None:
    """Return the file of a module of the book; None if the name is no module."""
    base = PACKAGE.parent.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _distribution(module: str) -> str:
    """Return the package that brings a module."""
    return metadata.packages_distributions()[module][0]


def _version(module: str) -> str:
    """Return the installed version, without the mark of a local build."""
    return metadata.version(_distribution(module)).partition("+")[0]


def without_run(source: str) -> str:
    """Return a check cell without its last statement, which runs the checks."""
    last = ast.parse(source).body[-1]
    return "\n".join(source.splitlines()[: last.lineno - 1])
