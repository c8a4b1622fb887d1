"""Code of spot-the-bug questions, tried out as printed and as each choice repairs it.

A question prints a few lines with one fault. Its `passes` is an expression over the
functions of those lines: false for the code as printed, true once the fault is gone. A
choice that proposes a repair gives it as two texts, `old` and `new`; it is right
exactly where the repaired code passes. So nothing in a question says which line is at
fault: running it does.

The code comes from the book's own files and runs without a sandbox.
"""

import math

import torch

from course_utils.exam.expressions import ItemError, evaluate

# What an excerpt may use without importing it.
GIVEN = {"math": math, "torch": torch}


def defined(code: str) -> dict[str, object]:
    """Return the names that the code defines.

    Raises: ItemError that says why it does not run.
    """
    names: dict[str, object] = dict(GIVEN)
    try:
        exec(compile(code, "excerpt", "exec"), names)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise ItemError(f"the code does not run: {said}.") from error
    return {k: v for k, v in names.items() if k not in GIVEN and k != "__builtins__"}


def repaired(code: str, change: dict[str, str]) -> str:
    """Return the code with one piece replaced.

    Raises: ItemError unless `change` has an old text that the code holds once, and a
        new one that differs.
    """
    if set(change) != {"old", "new"}:
        raise ItemError(f"the change {change} needs old and new, and nothing else.")
    old, new = str(change["old"]), str(change["new"])
    if code.count(old) != 1 or old == new:
        raise ItemError(
            f"{old!r} must stand in the code exactly once and differ from {new!r}."
        )
    return code.replace(old, new)


def succeeds(code: str, passes: str, names: dict[str, object]) -> bool:
    """Return whether code passes; code that fails with an error does not."""
    try:
        return bool(evaluate(passes, {**names, **defined(code)}))
    except ItemError:
        return False


def outcomes(
    code: str, passes: str, choices: list[dict], names: dict[str, object]
) -> list[bool | None]:
    """Return for each choice whether its repair passes; None for one without.

    `names` are those of the question, for use in `passes`.

    Raises: ItemError if the code as printed does not run or already passes.
    """
    defined(code)
    if succeeds(code, passes, names):
        raise ItemError(f"the code as printed passes {passes!r}, so it has no fault.")
    return [
        succeeds(repaired(code, choice["change"]), passes, names)
        if "change" in choice
        else None
        for choice in choices
    ]
