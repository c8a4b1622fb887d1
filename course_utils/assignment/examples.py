"""Make visible checks for a version of a question: small calls and their answers.

The calls are those of the published checks whose arguments fit on a line or two; the
answers are the version's reference's. Calls on which the published solution gives the
same answer come last, since they tell the two apart least.
"""

import dataclasses
from typing import Any

import numpy as np
import torch

from course_utils.assignment import cases
from course_utils.assignment.compare import same
from course_utils.grading.gate import Trial
from course_utils.grading.questions import MasterError, Question

EXAMPLES = 3
LONGEST = 240
IMPORTS = (
    "import numpy as np\nimport torch\n\n"
    "from course_utils.grading.check import expect_close, expect_equal, run_checks\n"
)
HINT = "This is an example of your version: read the statement again, then work it out."


def checks(
    question: Question, names: dict[str, Any], base: Trial, calls: list[cases.Call]
) -> str:
    """Return the source of a check cell with up to three examples.

    Args:
        question: The version, without checks.
        names: What its reference needs.
        base: The published question.
        calls: Those that its checks make.

    Raises: MasterError if no call is short enough and tells the two apart.
    """
    scope = dict(names)
    exec(compile(question.reference, "answer", "exec"), scope)
    right = scope[question.function]
    published = cases.function_of(base.question.reference, base)
    found: list[tuple[bool, str, Any]] = []
    for call in calls:
        try:
            text, want = _call(call), call.on(right)
            literal(want)
        except Exception:
            continue  # Nothing to show: it raises, or is too long.
        if len(text) <= LONGEST:
            found.append((same(call.on(published), want), text, want))
    found.sort(key=lambda one: (one[0], len(one[1])))
    if not found or found[0][0]:
        raise MasterError("no published call tells the two apart; write a check cell.")
    return _cell(question.function, _distinct(found))


def _distinct(found: list[tuple[bool, str, Any]]) -> list[tuple[str, Any]]:
    """Return the first few examples whose answers are not all the same."""
    chosen: list[tuple[str, Any]] = []
    for _, text, want in found:
        if not any(same(want, other) for _, other in chosen):
            chosen.append((text, want))
        if len(chosen) == EXAMPLES:
            break
    return chosen


def _cell(function: str, chosen: list[tuple[str, Any]]) -> str:
    """Return the check cell."""
    parts, checks = [IMPORTS], [f"check_example_{i + 1}" for i in range(len(chosen))]
    for check, (text, want) in zip(checks, chosen, strict=True):
        parts.append(
            f'def {check}({function}):\n    """An example of your version."""\n'
            f"    found = {function}({text})\n" + "\n".join(_expect("found", want))
        )
    parts.append(f"run_checks({function}, {', '.join(checks)})")
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _expect(name: str, want: Any) -> list[str]:
    """Return lines that compare `name` with an answer."""
    if isinstance(want, bytes):
        return _equal(f"list({name})", repr(list(want)))
    if isinstance(want, bool) or want is None or isinstance(want, str):
        shown = f"{name} is {want!r}" if want is None else name
        return _equal(shown, "True" if want is None else repr(want))
    if isinstance(want, (list, tuple)) and any(
        not isinstance(v, (bool, int, float)) for v in want
    ):
        lines = _equal(f"len({name})", str(len(want)))
        return lines + [
            line for i, v in enumerate(want) for line in _expect(f"{name}[{i}]", v)
        ]
    if isinstance(want, dict):
        raise MasterError("an answer that is a dict needs a check cell.")
    return [f"    expect_close({name}, {literal(want)}, {HINT!r}, rtol=1e-4)"]


def _equal(name: str, want: str) -> list[str]:
    return [f"    expect_equal({name}, {want}, {HINT!r})"]


def _call(call: cases.Call) -> str:
    """Return the arguments of a call as Python."""
    args, kwargs = call.values()
    named = [f"{name}={literal(value)}" for name, value in kwargs.items()]
    return ", ".join([*(literal(value) for value in args), *named])


def literal(value: Any) -> str:
    """Return a value as Python that makes it.

    Raises: MasterError for one that cannot be written, or is too long.
    """
    text = _literal(value)
    if len(text) > LONGEST:
        raise MasterError("too long for an example.")
    return text


def _literal(value: Any) -> str:
    if value is None or isinstance(value, (bool, int, str, bytes)):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if np.isfinite(value) else f'float("{value}")'
    if isinstance(value, torch.Tensor):
        dtype = "" if value.dtype == torch.float32 else f", dtype={value.dtype}"
        wide = value.detach().float() if value.dtype == torch.bfloat16 else value
        return f"torch.tensor({_nested(wide.numpy())}{dtype})"
    if isinstance(value, (np.ndarray, np.generic)):
        return f"np.array({_nested(np.asarray(value))}, dtype=np.{value.dtype})"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(_literal(v) for v in value)
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{comma})"
    if dataclasses.is_dataclass(value):
        fields = ", ".join(
            f"{f.name}={_literal(getattr(value, f.name))}"
            for f in dataclasses.fields(value)
            if f.init
        )
        return f"{type(value).__name__}({fields})"
    raise MasterError(f"a {type(value).__name__} cannot be written.")


def _nested(x: np.ndarray) -> str:
    """Return an array as nested lists, each number as short as its dtype allows."""
    if x.ndim:
        return f"[{', '.join(_nested(part) for part in x)}]"
    if x.dtype.kind != "f":
        return repr(x.item())
    return str(x[()]) if np.isfinite(x) else f'float("{x}")'
