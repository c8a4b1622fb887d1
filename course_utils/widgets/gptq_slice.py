"""GPTQ on a small slice of a layer, one column at a time, in plain float64.

Every operation stands in the order in which the widget's JavaScript does it, so that
a test can compare both to the last bit. This is the method before it was made fast:
after each column the inverse of the matrix loses one row and one column.
`course_utils.methods.gptq` takes the same numbers from one Cholesky factor.

Left out: groups, blocks and the order of the columns.
"""

from dataclasses import dataclass

import numpy as np

from course_utils.widgets.number_line import grid

Matrix = list[list[float]]


@dataclass(frozen=True)
class State:
    """The slice after some of its columns have their codes.

    Attributes:
        step: Columns that have their codes.
        weights: The weights now: columns before `step` lie on their grid, the others
            are still free and have moved to make up for them.
        codes: Code of each weight of the columns before `step`.
        loss: What the output has lost so far: the sum over rows of e H e', where e is
            the change of a row. Units of the output squared, per token.
    """

    step: int
    weights: Matrix
    codes: list[list[int]]
    loss: float


def inverse(matrix: Matrix) -> Matrix:
    """Return the inverse of a positive definite matrix, by elimination.

    Shapes: (n, n) -> (n, n).
    Raises: ValueError if the matrix has no inverse.
    """
    n = len(matrix)
    rows = [
        [*map(float, row), *(float(i == j) for j in range(n))]
        for i, row in enumerate(matrix)
    ]
    for k in range(n):
        pivot = rows[k][k]
        if not pivot > 0:
            raise ValueError(
                "The matrix of the inputs has no inverse; give a damping above 0."
            )
        rows[k] = [value / pivot for value in rows[k]]
        for i in range(n):
            if i != k:
                factor = rows[i][k]
                rows[i] = [
                    a - factor * b for a, b in zip(rows[i], rows[k], strict=True)
                ]
    return [row[n:] for row in rows]


def damped(hessian: Matrix, damping: float) -> Matrix:
    """Return the matrix with `damping` times its mean diagonal added to the diagonal.

    Shapes: (n, n) -> (n, n).
    """
    n = len(hessian)
    mean = 0.0
    for i in range(n):
        mean += hessian[i][i]
    extra = damping * (mean / n)
    return [
        [value + extra if i == j else value for j, value in enumerate(row)]
        for i, row in enumerate(hessian)
    ]


def lost(weights: Matrix, now: Matrix, hessian: Matrix) -> float:
    """Return the sum over rows of e H e', where e = now - weights.

    Shapes: weights, now (rows, n); hessian (n, n).
    """
    total = 0.0
    for before, after in zip(weights, now, strict=True):
        e = [b - a for a, b in zip(before, after, strict=True)]
        for i, row in enumerate(hessian):
            for j, value in enumerate(row):
                total += e[i] * value * e[j]
    return total


def states(
    weights: Matrix, hessian: Matrix, bits: int, damping: float, compensate: bool
) -> list[State]:
    """Return the slice before the first column and after each one.

    Args:
        weights: (rows, n), a scale for each row.
        hessian: (n, n), the mean over tokens of x x'.
        bits: Width of a code.
        damping: Part of the mean diagonal that is added before inverting.
        compensate: False leaves the free columns where they are: round to nearest.

    Raises:
        ValueError: If the damped matrix has no inverse.
    """
    grids = [grid(bits, min(row), max(row)) for row in weights]
    hinv = inverse(damped(hessian, damping))
    now = [list(map(float, row)) for row in weights]
    codes: list[list[int]] = [[] for _ in weights]
    found = [State(0, [list(r) for r in now], [[] for _ in weights], 0.0)]
    n = len(hessian)
    for c in range(n):
        d = hinv[c][c]
        for r, g in enumerate(grids):
            code = int(np.rint(now[r][c] / g.scale)) + g.zero_point
            code = min(max(code, g.qmin), g.qmax)
            error = (now[r][c] - (code - g.zero_point) * g.scale) / d
            now[r][c] = (code - g.zero_point) * g.scale
            codes[r].append(code)
            if compensate:
                for j in range(c + 1, n):
                    now[r][j] = now[r][j] - error * hinv[c][j]
        hinv = without(hinv, c)
        done = [list(row) for row in now]
        loss = lost(weights, now, hessian)
        found.append(State(c + 1, done, [list(row) for row in codes], loss))
    return found


def without(hinv: Matrix, c: int) -> Matrix:
    """Return the inverse once column c is fixed: one step of elimination.

    Row and column c become 0; what is left is the inverse of the matrix that lacks
    them.
    """
    d = hinv[c][c]
    return [
        [value - row[c] * hinv[c][j] / d for j, value in enumerate(row)] for row in hinv
    ]
