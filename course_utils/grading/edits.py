"""The operators of the mutation gate: what a wrong solution does to one node.

Each function takes a node of the syntax tree and yields its replacements. `OPERATORS`
says which node goes to which function; a new operator is one function and one row.
"""

import ast
import copy
from collections.abc import Iterator

from course_utils.grading.confusions import (
    COMPARED,
    CONFUSED,
    CONFUSED_BUILTIN,
    DROPPABLE,
    MODULES,
    SWAPPED,
)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    """Return a copy of `node` with other fields."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _binary(node: ast.BinOp) -> Iterator[ast.AST]:
    """`a - b` becomes `a + b`, `a`, `b`, `b - a`."""
    if type(node.op) in SWAPPED:
        yield _with(node, op=SWAPPED[type(node.op)]())
    yield node.left
    yield node.right
    if not isinstance(node.op, (ast.Add, ast.Mult)):
        yield _with(node, left=node.right, right=node.left)


def _compare(node: ast.Compare) -> Iterator[ast.AST]:
    """`a > b` becomes `a >= b` and `a < b`."""
    for i, op in enumerate(node.ops):
        for other in COMPARED.get(type(op), ()):
            yield _with(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])


def _boolean(node: ast.BoolOp) -> Iterator[ast.AST]:
    """`a and b` becomes `a or b`."""
    yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())


def _unary(node: ast.UnaryOp) -> Iterator[ast.AST]:
    """`-a` becomes `a`."""
    yield node.operand


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    """`n` becomes `n + 1`, `n - 1`, 0; a truth value flips."""
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, (int, float)):
        for value in (node.value + 1, node.value - 1, type(node.value)(0)):
            if value != node.value:
                yield ast.Constant(value)


def _call(node: ast.Call) -> Iterator[ast.AST]:
    """Another function, one operand alone, one keyword fewer."""
    name, operands = _callee(node)
    for other in _confused(node.func, name):
        yield _with(node, func=other)
    if name in DROPPABLE or (name in {"max", "min"} and len(node.args) > 1):
        yield from operands[: 2 if name in {"maximum", "minimum", "max", "min"} else 1]
    if name == "where" and len(operands) == 3:
        yield from operands[1:]
        yield _with(node, args=[node.args[0], node.args[2], node.args[1]])
    if name == "range":
        yield _with(node, args=[*node.args[:-1], _less_one(node.args[-1])])
        if len(node.args) == 1:
            yield _with(node, args=[ast.Constant(1), *node.args])
    for i in range(len(node.keywords)):
        yield _with(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])


def _callee(node: ast.Call) -> tuple[str, list[ast.AST]]:
    """Return the name of the called function and its operands, `x` of `x.f()` first."""
    if isinstance(node.func, ast.Name):
        return node.func.id, node.args
    if not isinstance(node.func, ast.Attribute):
        return "", node.args
    owner = node.func.value
    module = isinstance(owner, ast.Name) and owner.id in MODULES
    return node.func.attr, node.args if module else [owner, *node.args]


def _confused(func: ast.AST, name: str) -> Iterator[ast.AST]:
    """Yield the functions that `func` is confused with."""
    if isinstance(func, ast.Name):
        yield from (ast.Name(n, ast.Load()) for n in CONFUSED_BUILTIN.get(name, ()))
    elif isinstance(func, ast.Attribute):
        yield from (_with(func, attr=other) for other in CONFUSED.get(name, ()))


def _less_one(node: ast.AST) -> ast.AST:
    """Return `node - 1`."""
    return ast.BinOp(node, ast.Sub(), ast.Constant(1))


def _attribute(node: ast.Attribute) -> Iterator[ast.AST]:
    """`torch.int8` becomes `torch.int16`; `x.T` becomes `x`."""
    if node.attr == "T":
        yield node.value
    if node.attr.startswith(("int", "float")) and node.attr[-1].isdigit():
        yield from (_with(node, attr=other) for other in CONFUSED.get(node.attr, ()))


def _conditional(node: ast.IfExp) -> Iterator[ast.AST]:
    """`a if c else b` becomes `a` and `b`."""
    yield node.body
    yield node.orelse


def _if(node: ast.If) -> Iterator[ast.AST]:
    """The branch is never taken, or always."""
    yield _with(node, test=ast.Constant(False))
    yield _with(node, test=ast.Constant(True))


def _comprehension(node: ast.comprehension) -> Iterator[ast.AST]:
    """The filter of a comprehension goes."""
    if node.ifs:
        yield _with(node, ifs=[])


def _slice(node: ast.Slice) -> Iterator[ast.AST]:
    """A bound of a slice goes."""
    if node.lower:
        yield _with(node, lower=None)
    if node.upper:
        yield _with(node, upper=None)


def _return(node: ast.Return) -> Iterator[ast.AST]:
    """The returned values change places."""
    if isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
        turned = node.value.elts[1:] + node.value.elts[:1]
        yield ast.Return(_with(node.value, elts=turned))
        yield ast.Return(_with(node.value, elts=node.value.elts[::-1]))


def _statement(node: ast.stmt) -> Iterator[None]:
    """A statement that binds no new name goes."""
    stored = isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name)
    if stored or isinstance(
        node, (ast.AugAssign, ast.Expr, ast.Raise, ast.If, ast.For)
    ):
        yield None


def _augmented(node: ast.AugAssign) -> Iterator[ast.AST]:
    """`a += b` becomes `a -= b` and `a = b`."""
    if type(node.op) in SWAPPED:
        yield _with(node, op=SWAPPED[type(node.op)]())
    yield ast.Assign([node.target], node.value)


def _rebound(node: ast.FunctionDef) -> Iterator[ast.AST]:
    """A line that gives a bound name a new value goes; the argument comes back."""
    bound = {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}
    for i, line in enumerate(node.body):
        if isinstance(line, ast.Assign):
            names = {n.id for n in ast.walk(line.targets[0]) if isinstance(n, ast.Name)}
            if names <= bound and isinstance(line.targets[0], ast.Name):
                yield _with(node, body=node.body[:i] + node.body[i + 1 :])
            bound |= names
    if node.args.args:
        first = ast.Name(node.args.args[0].arg, ast.Load())
        yield _with(node, body=[ast.Return(first)])


OPERATORS = (
    (ast.BinOp, _binary),
    (ast.Compare, _compare),
    (ast.BoolOp, _boolean),
    (ast.UnaryOp, _unary),
    (ast.Constant, _constant),
    (ast.Call, _call),
    (ast.Attribute, _attribute),
    (ast.IfExp, _conditional),
    (ast.If, _if),
    (ast.comprehension, _comprehension),
    (ast.Slice, _slice),
    (ast.Return, _return),
    (ast.stmt, _statement),
    (ast.AugAssign, _augmented),
    (ast.FunctionDef, _rebound),
)
