"""Widget models in a notebook: drop those that no view reaches, renumber the rest.

A model's id is random. It appears as a key of the state, in the view that shows the
model and, as `IPY_MODEL_<id>`, in the state of other models. The new id of a model is
its place in the order in which the views reach it.
"""

import json
import re

from course_utils.authoring.notebook import Node

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
_POINTER = re.compile(r"IPY_MODEL_([0-9a-f]+)")


def renumber(nb: Node) -> None:
    """Renumber the models of a notebook in place."""
    stored = nb["metadata"].get("widgets", {}).get(STATE)
    if not stored:
        nb["metadata"].pop("widgets", None)
        return
    views = [view for view in _views(nb) if view["model_id"] in stored["state"]]
    order = _reached([view["model_id"] for view in views], stored["state"])
    new = {old: f"{number:032x}" for number, old in enumerate(order, start=1)}
    if not new:
        del nb["metadata"]["widgets"]
        return
    for view in views:
        view["model_id"] = new[view["model_id"]]
    state = {new[old]: _repointed(stored["state"][old], new) for old in order}
    nb["metadata"]["widgets"] = {STATE: stored | {"state": state}}


def _views(nb: Node) -> list[Node]:
    """Return every view that an output holds, in order."""
    outputs = [out for cell in nb["cells"] for out in cell.get("outputs", [])]
    return [out["data"][VIEW] for out in outputs if VIEW in out.get("data", {})]


def _reached(roots: list[str], state: dict[str, Node]) -> list[str]:
    """Return the ids of the models reached from `roots`, in order of first reach."""
    order: list[str] = []
    waiting = list(reversed(roots))
    while waiting:
        model = waiting.pop()
        if model in order or model not in state:
            continue
        order.append(model)
        text = json.dumps(state[model], sort_keys=True)
        waiting += reversed(_POINTER.findall(text))
    return order


def _repointed(model: Node, new: dict[str, str]) -> Node:
    """Return a model whose pointers carry the new ids."""
    text = json.dumps(model)
    text = _POINTER.sub(lambda m: f"IPY_MODEL_{new.get(m[1], m[1])}", text)
    return json.loads(text)
