"""Turn `#| include: course_utils.module.name` into an ordinary cell.

The cell holds the source of the function or class and the imports it needs. They
are computed from the module's syntax tree: every global name that the source uses is
looked up among the module's imports and definitions. Nothing is imported to find
this out, so it needs no torch.

A name that the lesson has included in an earlier cell is not imported again, because
that would undo the reader's edit of it.
"""

import ast
import builtins
import symtable
import sys
from dataclasses import dataclass
from pathlib import Path

from course_utils.authoring.errors import AuthoringError

WIDTH = 88
HEAD = "# From course_utils."


@dataclass(frozen=True)
class Origin:
    """Where a global name of a module comes from: `from module import name as alias`.

    `name` is None for `import module as alias`.
    """

    module: str
    name: str | None
    alias: str


def included_source(dotted: str, code: Path, have: frozenset[str] = frozenset()) -> str:
    """Return the cell that shows `dotted`.

    Args:
        dotted: "course_utils.module.name".
        code: The folder that holds `course_utils`.
        have: Dotted names that earlier cells of the same notebook include.

    Raises: AuthoringError if there is no such module, function or class.
    """
    module, _, name = dotted.rpartition(".")
    text = module_file(module, code).read_text("utf-8")
    tree = ast.parse(text)
    source = definition(text, tree, name)
    if source is None:
        raise AuthoringError(f"{module} defines no function or class {name}; check it.")
    known = _origins(tree, module)
    needed = {known[used] for used in global_names(source) if used in known}
    needed = {o for o in needed if f"{o.module}.{o.name}" not in have | {dotted}}
    tail = module.removeprefix("course_utils.")
    head = f"{HEAD}{tail}. Edit it: the cells below use what stands here."
    imports = _import_lines(needed)
    return "\n".join([head, *imports, *(["", ""] if imports else []), source])


def module_file(module: str, code: Path) -> Path:
    """Return the file of a course_utils module.

    Raises: AuthoringError if there is none.
    """
    base = code.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path
    raise AuthoringError(f"there is no module {module}; check the dotted name.")


def definition(text: str, tree: ast.Module, name: str) -> str | None:
    """Return the source of the top-level function or class `name`, with decorators."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            first = min(n.lineno for n in (node, *node.decorator_list))
            return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    return None


def global_names(source: str) -> set[str]:
    """Return the names that `source` takes from its module, builtins left out."""
    table = symtable.symtable(source, "<include>", "exec")
    own = {s.get_name() for s in table.get_symbols() if s.is_assigned()}
    own |= {s.get_name() for s in table.get_symbols() if s.is_imported()}
    used = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    queue = list(table.get_children())
    while queue:
        inner = queue.pop()
        used |= {s.get_name() for s in inner.get_symbols() if s.is_global()}
        queue += inner.get_children()
    return {name for name in used - own if not hasattr(builtins, name)}


def _origins(tree: ast.Module, module: str) -> dict[str, Origin]:
    """Return where each global name of a module comes from."""
    found: dict[str, Origin] = {}
    for node in _top_level(tree.body):
        if isinstance(node, ast.Import):
            for item in node.names:
                alias = item.asname or item.name.split(".")[0]
                found[alias] = Origin(item.name, None, item.asname or item.name)
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            for item in node.names:
                alias = item.asname or item.name
                found[alias] = Origin(node.module or "", item.name, alias)
        else:
            for name in _defined(node):
                found[name] = Origin(module, name, name)
    return found


def _top_level(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements of a module, those inside `if` and `try` too."""
    out: list[ast.stmt] = []
    for node in body:
        out.append(node)
        if isinstance(node, ast.If | ast.Try):
            out += _top_level(node.body) + _top_level(node.orelse)
    return out


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a top-level statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    walked = (n for target in targets for n in ast.walk(target))
    return [n.id for n in walked if isinstance(n, ast.Name)]


def _import_lines(origins: set[Origin]) -> list[str]:
    """Return import statements: standard library, others, course_utils."""
    blocks: list[list[str]] = [[], [], []]
    plain = sorted((o for o in origins if o.name is None), key=lambda o: o.module)
    for o in plain:
        suffix = f" as {o.alias}" if o.alias != o.module else ""
        blocks[_rank(o.module)].append(f"import {o.module}{suffix}")
    for module in sorted({o.module for o in origins if o.name is not None}):
        members = sorted(
            o.name if o.alias == o.name else f"{o.name} as {o.alias}"
            for o in origins
            if o.module == module and o.name is not None
        )
        blocks[_rank(module)] += _from_import(module, members)
    filled = [block for block in blocks if block]
    return [
        line for i, block in enumerate(filled) for line in ([""] if i else []) + block
    ]


def _rank(module: str) -> int:
    """Return 0 for the standard library, 1 for others, 2 for course_utils."""
    top = module.partition(".")[0]
    return 2 if top == "course_utils" else int(top not in sys.stdlib_module_names)


def _from_import(module: str, members: list[str]) -> list[str]:
    """Return one import, on several lines if it is long."""
    line = f"from {module} import {', '.join(members)}"
    if len(line) <= WIDTH:
        return [line]
    return [f"from {module} import (", *(f"    {m}," for m in members), ")"]
