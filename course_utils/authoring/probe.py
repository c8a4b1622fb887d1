"""Does an edit of an included cell change what the lesson says?

The cell is replaced by one whose function returns zeros, the notebook is executed, and
the sentences it says are compared with the stored ones. Where an output varies from
machine to machine, a claim that no longer holds counts as a change. A lesson that
calls the library's copy instead of the reader's would show none.
"""

import ast
import json
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from course_utils.authoring import compare
from course_utils.authoring.derive import COMPARED
from course_utils.authoring.include import HEAD
from course_utils.authoring.kernel import Manager, environment
from course_utils.authoring.notebook import Node

_ZEROED = """

def _zeros(value):
    if hasattr(value, "new_zeros"):
        return value.new_zeros(value.shape)
    if hasattr(value, "__dataclass_fields__"):
        from dataclasses import replace
        tensors = {{k: v for k, v in vars(value).items() if hasattr(v, "new_zeros")}}
        return replace(value, **{{k: _zeros(v) for k, v in tensors.items()}})
    if isinstance(value, (tuple, list)):
        return type(value)(map(_zeros, value))
    return value * 0


def _returning_zeros(function):
    return lambda *args, **kwargs: _zeros(function(*args, **kwargs))


{name} = _returning_zeros({name})
"""


def included_functions(nb: Node) -> dict[str, int]:
    """Return the index of the cell of each included function, by name."""
    found = {}
    for index, cell in enumerate(nb["cells"]):
        if cell["cell_type"] == "code" and cell["source"].startswith(HEAD):
            last = ast.parse(cell["source"]).body[-1]
            if isinstance(last, ast.FunctionDef):
                found[last.name] = index
    return found


def effect_of_zeros(nb: Node, name: str, folder: Path, profile: str) -> str | None:
    """Return the first sentence that changes when a function returns zeros, or None.

    Args:
        nb: An executed notebook.
        name: One of its included functions.
        folder: Working folder of the kernel.
        profile: Profile in which the notebook was executed.
    """
    at = included_functions(nb)[name]
    live = nbformat.from_dict(json.loads(json.dumps(nb)))
    live.cells[at].source += _ZEROED.format(name=name)
    client = NotebookClient(
        live,
        allow_errors=True,
        kernel_name="python3",
        kernel_manager_class=Manager,
        extra_arguments=["--IPKernelApp.log_level=40"],
    )
    with client.setup_kernel(env=environment(profile), cwd=str(folder)):
        for index, cell in enumerate(live.cells):
            if cell.cell_type != "code":
                continue
            client.execute_cell(cell, index)
            if index > at and (changed := _difference(cell, nb["cells"][index])):
                return changed
    return None


def _difference(cell: Node, stored: Node) -> str | None:
    """Return what a cell says otherwise than its stored outputs, or None."""
    if COMPARED in cell.metadata.get("tags", []):
        return compare.outputs_difference(cell.outputs, stored["outputs"])
    held, holds = (_claims(outputs) for outputs in (stored["outputs"], cell.outputs))
    if all(held) and holds != held:
        return "a claim no longer holds"
    return None


def _claims(outputs: list[Node]) -> list[bool]:
    """Return the truth of every claim among the outputs of a cell."""
    found = (o.get("metadata", {}).get("fewer_bits", {}) for o in outputs)
    return [one["claim"] for one in found if "claim" in one]
