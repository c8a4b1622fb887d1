"""Is an executed notebook still today's?

Three hashes are stored with the outputs, in the notebook's metadata `fewer_bits`:

    cells    the code of the notebook
    modules  the course_utils modules it imports, whatever those import in turn, the
             JavaScript and CSS beside a widget, and the data files they read
    lock     the versions of everything else, locks/learn.txt

The imports are read from the syntax trees; nothing is imported. Files count byte for
byte, so an edited comment also asks for a new execution: that costs a minute, and a
rule that guesses which edits matter would one day guess wrong.
"""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

from course_utils.authoring import notebook
from course_utils.authoring.notebook import Node
from course_utils.authoring.project import Project

PARTS = {
    "cells": "its code cells",
    "modules": "the course_utils modules or data files it uses",
    "lock": "locks/learn.txt",
}
TEXTS_READER = "course_utils.models.texts"
_MODULE_NAME = re.compile(r"course_utils(?:\.\w+)+")


def today(project: Project, nb: Node) -> dict[str, str]:
    """Return the three hashes of a notebook as they are now."""
    sources = [cell["source"] for cell in notebook.code_cells(nb)]
    files = used_files(project, "\n".join(_python(source) for source in sources))
    lock = project.root / "locks" / "learn.txt"
    return {
        "cells": _sha("\0".join(sources).encode()),
        "modules": _sha_files(files, project),
        "lock": _sha(lock.read_bytes() if lock.exists() else b""),
    }


def stored(nb: Node | None) -> dict[str, str]:
    """Return the hashes kept with the outputs; empty if there are none."""
    return (nb or {"metadata": {}})["metadata"].get("fewer_bits", {}).get("hashes", {})


def changed(project: Project, nb: Node) -> list[str]:
    """Return what changed since the notebook was executed, in words."""
    before, now = stored(nb), today(project, nb)
    return [words for part, words in PARTS.items() if before.get(part) != now[part]]


def used_files(project: Project, source: str) -> list[Path]:
    """Return the project's files that code depends on."""
    modules = closure(source, project.code)
    files = set(modules.values())
    scripts = {js for path in files if (js := path.with_suffix(".js")).exists()}
    files |= scripts | {css for js in scripts for css in js.parent.glob("*.css")}
    if TEXTS_READER in modules:
        files |= {path for path in (project.book / "texts").glob("*") if path.is_file()}
    for call, argument in _literal_calls(source):
        if call == "facts":
            files.add(project.book / "measured" / f"{argument.split('/')[0]}.json")
        if call == "widget_items":
            files.add(project.book / "items" / f"{argument}.yaml")
    return sorted(files)


def closure(source: str, code: Path) -> dict[str, Path]:
    """Return the file of every course_utils module that code imports in the end."""
    found: dict[str, Path] = {}
    waiting = list(_imported(ast.parse(source)))
    while waiting:
        name = waiting.pop()
        path = _file(name, code)
        if name in found or path is None:
            continue
        found[name] = path
        waiting += _imports_of(path)
        waiting.append(name.rpartition(".")[0])  # a package runs before its modules
    return found


@cache
def _imports_of(path: Path) -> tuple[str, ...]:
    return tuple(_imported(ast.parse(path.read_bytes())))


def _imported(tree: ast.AST) -> set[str]:
    """Return the course_utils names that a tree imports; some may not be modules."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {item.name for item in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{i.name}" for i in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # A module that is imported late is named in a string.
            names |= {node.value} if _MODULE_NAME.fullmatch(node.value) else set()
    return {name for name in names if name.split(".")[0] == "course_utils"}


def _file(module: str, code: Path) -> Path | None:
    """Return the file of a module, or None if the name is no module."""
    if not module:
        return None
    base = code.joinpath(*module.split("."))
    choices = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in choices if path.exists()), None)


def _literal_calls(source: str) -> list[tuple[str, str]]:
    """Return (function name, first argument) of calls with a literal string."""
    calls = [
        n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and n.args
    ]
    return [
        (
            call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id,
            arg.value,
        )
        for call in calls
        if isinstance(call.func, ast.Attribute | ast.Name)
        and isinstance(arg := call.args[0], ast.Constant)
        and isinstance(arg.value, str)
    ]


def _python(source: str) -> str:
    """Return a cell without IPython's magics, which are no Python."""
    lines = source.splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha_files(files: list[Path], project: Project) -> str:
    """Hash names and contents; a file that is missing counts as empty."""
    digest = hashlib.sha256()
    for path in files:
        data = path.read_bytes() if path.exists() else b""
        digest.update(f"{_name(path, project)}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def _name(path: Path, project: Project) -> str:
    base = project.code if path.is_relative_to(project.code) else project.root
    return path.relative_to(base).as_posix()
