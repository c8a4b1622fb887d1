"""Make two executions of one notebook byte-identical.

What differs between executions and tells a reader nothing is taken out: timings, the
addresses of objects, the folder of the checkout, warnings of the debugger, progress
bars, the way in which printed text was cut into chunks, and the random ids of widget
models. Execution counts stay: they show that a cell was run, and in which order.
"""

import re
from collections.abc import Callable
from pathlib import Path

from course_utils.authoring import widget_state
from course_utils.authoring.notebook import Node

_ADDRESS = re.compile(r"(?<= at )0x[0-9a-f]{6,16}\b")
_CELL_FILE = re.compile(r"\S*/ipykernel_\d+/\d+\.py")
_NOISE = re.compile(
    r"Debugger warning|frozen_modules|frozen modules|make the debugger miss"
    r"|PYDEVD_DISABLE_FILE_VALIDATION|Debugging will proceed"
    r"|\d+%\|.*\||\b(?:it/s|s/it)\]"
)


def normalise(nb: Node, root: Path) -> Node:
    """Return the notebook with all that varies taken out, changed in place.

    Args:
        nb: A notebook with outputs.
        root: The checkout, whose place on the disk is cut from texts.
    """
    clean = _cleaner(root)
    for cell in nb["cells"]:
        cell["metadata"].pop("execution", None)
        cell["metadata"].pop("ExecuteTime", None)
        if cell["cell_type"] == "code":
            outputs = _merge(cell["outputs"])
            cell["outputs"] = [kept for out in outputs if (kept := _output(out, clean))]
    widget_state.renumber(nb)
    return nb


def _cleaner(root: Path) -> Callable[[str], str]:
    """Return the function that cleans one text."""
    places = [(f"{root}/", ""), (f"{Path.home()}/", "~/")]

    def clean(text: str) -> str:
        for place, short in places:
            text = text.replace(place, short) if len(place) > 2 else text
        return _CELL_FILE.sub("<cell>", _ADDRESS.sub("0x0", text))

    return clean


def _merge(outputs: list[Node]) -> list[Node]:
    """Join neighbouring chunks of one stream."""
    merged: list[Node] = []
    for out in outputs:
        last = merged[-1] if merged else {}
        if out["output_type"] == "stream" and last.get("name") == out["name"]:
            last["text"] += out["text"]
        else:
            merged.append(out)
    return merged


def _output(out: Node, clean: Callable[[str], str]) -> Node | None:
    """Return a clean output, or None if nothing is left of it."""
    if out["output_type"] == "stream":
        out["text"] = clean(_overwritten(out["text"]))
        if out["name"] == "stderr":
            lines = out["text"].splitlines(keepends=True)
            out["text"] = "".join(line for line in lines if not _NOISE.search(line))
        return out if out["text"].strip() else None
    if out["output_type"] == "error":
        out["traceback"] = [clean(line) for line in out["traceback"]]
        out["evalue"] = clean(out["evalue"])
        return out
    for mime, value in out["data"].items():
        if isinstance(value, str) and mime.startswith("text/"):
            out["data"][mime] = clean(value)
    return out


def _overwritten(text: str) -> str:
    """Return text as a terminal shows it: a carriage return starts the line again."""
    return re.sub(r"^.*\r(?=[^\r\n])", "", text.replace("\r\n", "\n"), flags=re.M)
