"""Small edits of a reference solution, each a mistake that a reader could make.

A mutant is the reference with one edit: `round` becomes `floor`, `2**bits - 1` loses
its `- 1`, a guard disappears. Checks that let a mutant pass would let the same
mistake pass.

An operator is a function that yields replacements for one node of the syntax tree.
Edits of docstrings, annotations and error texts are left out, since no check should
read them. Edits of variable names are left out too: they crash, and prove nothing.
"""

import ast
import copy
import difflib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from course_utils.grading.edits import OPERATORS


@dataclass(frozen=True)
class Mutant:
    """One edit of a reference.

    Attributes:
        line: The edited line, or `dropped: ...`; the key in an `equivalent` cell.
        source: The whole edited code.
    """

    line: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """Return every different edit of `source`, in a fixed order."""
    base = _bare(source)
    plain = ast.unparse(base)
    edits: dict[str, str] = {}
    for index, node in enumerate(_nodes(base)):
        for replacement in _replacements(node):
            tree = _replaced(base, index, replacement)
            text = ast.unparse(tree)
            if text != plain and _compiles(text):
                edits.setdefault(text, _shown(plain, text))
    repeated = Counter(line for line, _ in edits.values())
    return [
        Mutant(new if repeated[new] == 1 else f"{new}  # was: {old}", text)
        for text, (new, old) in edits.items()
    ]


def _bare(source: str) -> ast.Module:
    """Parse, without docstrings and annotations."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            if ast.get_docstring(node):
                node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.arg):
            node.annotation = None
    return tree


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk in reading order, around the text of errors."""
    yield tree
    if isinstance(tree, ast.Raise):
        return
    for child in ast.iter_child_nodes(tree):
        yield from _nodes(child)


def _replaced(base: ast.Module, index: int, replacement: ast.AST | None) -> ast.Module:
    """Return a copy of `base` with node number `index` replaced, or dropped."""
    tree = copy.deepcopy(base)
    target = next(n for i, n in enumerate(_nodes(tree)) if i == index)

    class Swap(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST | None:
            return replacement if node is target else self.generic_visit(node)

    tree = Swap().visit(tree)
    for node in ast.walk(tree):
        # Only a block that lost its one statement is empty; `orelse` may be.
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]
    return ast.fix_missing_locations(tree)


def _compiles(text: str) -> bool:
    """Return whether Python accepts the edit."""
    try:
        compile(text, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _shown(plain: str, text: str) -> tuple[str, str]:
    """Return the first edited line and what stood there."""
    lines = list(difflib.ndiff(plain.splitlines(), text.splitlines()))
    old = next((line[2:].strip() for line in lines if line[0] == "-"), "")
    new = next((line[2:].strip() for line in lines if line[0] == "+"), "")
    return (new or f"dropped: {old}"), old


def _replacements(node: ast.AST) -> Iterator[ast.AST | None]:
    """Yield what every operator makes of one node; None drops a statement."""
    for kind, operator in OPERATORS:
        if isinstance(node, kind):
            yield from operator(node)
