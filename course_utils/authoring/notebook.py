"""Notebooks as plain dictionaries: build cells, name them, read and write files.

The file is byte for byte what nbformat writes (a test holds the two together).
nbformat itself takes two seconds to import, because it can validate URLs.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import TypeAlias

Node: TypeAlias = dict

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
LANGUAGE = {
    "name": "python",
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "pygments_lexer": "ipython3",
}


def new_notebook(title: str) -> Node:
    """Return a notebook without cells."""
    meta = {"kernelspec": dict(KERNEL), "language_info": dict(LANGUAGE), "title": title}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": meta, "cells": []}


def new_cell(kind: str, source: str, tags: tuple[str, ...] = ()) -> Node:
    """Return a cell without an id."""
    metadata = {"tags": list(tags)} if tags else {}
    cell: Node = {"cell_type": kind, "metadata": metadata, "source": source}
    if kind == "code":
        cell |= {"outputs": [], "execution_count": None}
    return cell


def name_cells(cells: list[Node]) -> None:
    """Give each cell an id made from its type and source, numbered on repeats."""
    seen: dict[str, int] = {}
    for cell in cells:
        text = f"{cell['cell_type']}\n{cell['source']}"
        key = hashlib.sha256(text.encode()).hexdigest()[:8]
        seen[key] = seen.get(key, 0) + 1
        cell["id"] = key if seen[key] == 1 else f"{key}-{seen[key]}"


def code_cells(nb: Node) -> list[Node]:
    """Return the code cells, the one for Colab left out: it does nothing elsewhere."""
    return [
        cell
        for cell in nb["cells"]
        if cell["cell_type"] == "code" and "colab" not in tags_of(cell)
    ]


def tags_of(cell: Node) -> list[str]:
    """Return the tags of a cell."""
    return cell["metadata"].get("tags", [])


def read(path: Path) -> Node | None:
    """Return the notebook in a file, with text as strings; None if there is none."""
    if not path.exists():
        return None
    return joined(json.loads(path.read_text("utf-8")))


def joined(nb: Node) -> Node:
    """Return the notebook with every multi-line text as one string."""
    for cell in nb["cells"]:
        cell["source"] = _join(cell["source"])
        for out in cell.get("outputs", []):
            if "text" in out:
                out["text"] = _join(out["text"])
            for mime, value in out.get("data", {}).items():
                if not _is_json(mime):
                    out["data"][mime] = _join(value)
    return nb


def text_of(nb: Node) -> str:
    """Return the notebook as it stands in a file."""
    copy = json.loads(json.dumps(nb))
    for cell in copy["cells"]:
        cell["source"] = cell["source"].splitlines(True)
        for out in cell.get("outputs", []):
            if "text" in out:
                out["text"] = out["text"].splitlines(True)
            for mime, value in out.get("data", {}).items():
                if isinstance(value, str) and not _is_json(mime) and _is_text(mime):
                    out["data"][mime] = value.splitlines(True)
    return json.dumps(copy, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def write_atomic(path: Path, text: str) -> None:
    """Write a file so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, "utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _join(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _is_json(mime: str) -> bool:
    return mime == "application/json" or mime.endswith("+json")


def _is_text(mime: str) -> bool:
    return mime.startswith("text/") or mime in (
        "application/javascript",
        "image/svg+xml",
    )
