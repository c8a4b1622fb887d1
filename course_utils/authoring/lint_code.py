"""What is checked in the code cells of a master."""

import ast
import re
from collections.abc import Callable, Iterator

from course_utils.authoring.errors import AuthoringError
from course_utils.authoring.include import included_source
from course_utils.authoring.masters import Cell, Master
from course_utils.authoring.project import Project
from course_utils.report.units import typed_number

CELL_LINES = 25
FUNCTION_LINES = 50  # in an exercise, whose cells may hold several functions
SAYING = {"say", "claim"}
SHOWING = SAYING | {"show", "show_image"}

_PLACEHOLDER = re.compile(r"\{[^{}]*\}")

Raw = tuple[int, str, bool]
Prose = Callable[[str, int], Iterator[Raw]]


def code_findings(
    cell: Cell, master: Master, project: Project, prose: Prose
) -> Iterator[Raw]:
    """Yield (line, sentence, is an error) for one code cell.

    Args:
        cell: The cell.
        master: Its master.
        project: The checkout.
        prose: The check of text that a reader sees.
    """
    if cell.include:
        try:
            included_source(cell.include, project.code)
        except AuthoringError as error:
            yield cell.line, str(error), True
        return
    try:
        tree = ast.parse(cell.source)
    except SyntaxError as error:
        yield (
            cell.line + (error.lineno or 1) - 1,
            f"Python cannot parse it: {error.msg}.",
            True,
        )
        return
    yield from _length(cell, tree, exercise=master.exercise)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in SHOWING:
            yield from _shown_texts(node, cell.line, prose)


def _length(cell: Cell, tree: ast.Module, *, exercise: bool) -> Iterator[Raw]:
    """A lesson's cell, or a function of an exercise, that is too long to read."""
    lines = len(cell.source.splitlines())
    if not exercise and lines > CELL_LINES:
        how = f"the cell has {lines} lines and may have {CELL_LINES}; split it."
        yield cell.line, how, True
    for node in tree.body if exercise else []:
        size = (node.end_lineno or node.lineno) - node.lineno + 1
        if size > FUNCTION_LINES:
            how = f"this statement has {size} lines and may have {FUNCTION_LINES}."
            yield cell.line + node.lineno - 1, how, True


def _shown_texts(call: ast.Call, first: int, prose: Prose) -> Iterator[Raw]:
    """The literal texts of a call that shows them."""
    name = _name(call.func)
    templates = [*call.args, *(k.value for k in call.keywords if k.arg == "otherwise")]
    for value in [*call.args, *(k.value for k in call.keywords)]:
        line = first + value.lineno - 1
        text = _literal(value)
        if name in SAYING and value in templates:
            if isinstance(value, ast.JoinedStr):
                how = "pass a template and named values, not an f-string."
                yield line, f"{name}: {how}", True
            elif typed := typed_number(text):
                yield line, f"{name} refuses {typed!r}; pass it as a named value.", True
                continue
        for _, sentence, is_error in prose(text, 0):
            yield line, sentence, is_error


def _literal(value: ast.expr) -> str:
    """Return the text that stands in a literal, its placeholders as letters."""
    if isinstance(value, ast.JoinedStr):
        parts = value.values
        return "v".join(str(p.value) for p in parts if isinstance(p, ast.Constant))
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return _PLACEHOLDER.sub("v", value.value)
    return ""


def include_findings(master: Master) -> Iterator[Raw]:
    """Yield where an included function is unused below, or imported again."""
    for i, cell in enumerate(master.cells):
        if not cell.include:
            continue
        module, _, name = cell.include.rpartition(".")
        below = [c for c in master.cells[i + 1 :] if c.kind == "code"]
        for other in below:
            if _imports(other, module, name):
                how = f"this import undoes a reader's edit of {name}; leave it out."
                yield other.line, how, True
        if not any(c.include or _uses(c, name) for c in below):
            yield (
                cell.line,
                f"no cell below uses {name}, so an edit shows nothing.",
                True,
            )


def _imports(cell: Cell, module: str, name: str) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == module
        and name in (item.name for item in node.names)
        for node in _walk(cell)
    )


def _uses(cell: Cell, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in _walk(cell))


def _walk(cell: Cell) -> Iterator[ast.AST]:
    try:
        return ast.walk(ast.parse(cell.source))
    except SyntaxError:
        return iter(())


def _name(func: ast.expr) -> str:
    return func.id if isinstance(func, ast.Name) else getattr(func, "attr", "")
