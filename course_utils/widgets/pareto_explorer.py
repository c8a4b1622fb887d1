"""Pareto explorer: every stored method on two axes that the reader chooses.

The points are those of the record `methods`; they travel in the widget's state, so it
needs no kernel. Which points nobody beats, and the words of the status line, are
computed in JavaScript and here, and a test compares both inside a browser.
"""

from pathlib import Path

import anywidget
import traitlets

from course_utils.measure.methods_list import METHODS
from course_utils.measure.pareto import Row, front, stored_rows

HERE = Path(__file__).parent

# Axis -> what it is called in a sentence, and its unit.
COSTS = {
    "bits": "bits per weight",
    "megabytes": "megabytes of the whole model",
    "seconds": "seconds to quantize",
}
LOSSES = {
    "kl": "KL divergence in nats",
    "ratio": "perplexity over that of float32",
    "disagreement": "share of other top words",
}
KINDS = {
    "all": "all methods",
    "weights": "weights only",
    "weights and inputs": "weights and inputs",
    "file": "files of llama.cpp",
}


def points_of(rows: dict[str, Row]) -> list[dict]:
    """Return the points of a record, each with label, kind and numbers.

    float32 is left out: it loses nothing, and logarithmic axes have no 0.
    """
    points = []
    for method in METHODS:
        if method.key not in rows or method.key == METHODS[0].key:
            continue
        v = rows[method.key].value
        numbers = {
            "bits": v["bits"],
            "megabytes": v["bytes"] / 1e6,
            "seconds": v["seconds"],
            "kl": v["kl"],
            "ratio": v["ratio"],
            "disagreement": 1 - v["top1"],
        }
        kept = {name: float(f"{x:.4g}") for name, x in numbers.items()}
        points.append({"label": method.label, "kind": method.kind, **kept})
    return points


def shown(points: list[dict], x: str, kind: str) -> list[dict]:
    """Return the points of a kind in the order of the cost, then of the label."""
    chosen = [p for p in points if kind in ("all", p["kind"])]
    return sorted(chosen, key=lambda p: (p[x], p["label"]))


def sentence(points: list[dict], x: str, y: str, kind: str, index: int) -> str:
    """Return what the explorer shows, in the words of its status line."""
    chosen = shown(points, x, kind)
    if not chosen:
        return "Nothing is measured yet."
    good = front([(p[x], p[y]) for p in chosen])
    i = min(index, len(chosen) - 1)
    point = chosen[i]
    head = (
        f"{point['label']}: {point[x]:g} {COSTS[x]}, {LOSSES[y]} {point[y]:g}. "
        f"{sum(good)} of {len(chosen)} are beaten by none."
    )
    if good[i]:
        return f"{head} This is one of them."
    better = next(
        p["label"]
        for p in chosen
        if p[x] <= point[x]
        and p[y] <= point[y]
        and (p[x] < point[x] or p[y] < point[y])
    )
    return f"{head} This one is beaten by {better}."


class ParetoExplorer(anywidget.AnyWidget):
    """All measured methods on two axes, the front among them, and one in words.

    Args:
        x: One of `COSTS`.
        y: One of `LOSSES`.
        kind: One of `KINDS`.
        index: Place of the method that is shown in words, in the order of the cost.
        points: What to show; None is the stored record.

    Raises:
        ValueError: If an axis or kind does not exist.
    """

    _esm = HERE / "pareto_explorer.js"
    _css = HERE / "widgets.css"

    points = traitlets.List().tag(sync=True)
    costs = traitlets.Dict().tag(sync=True)
    losses = traitlets.Dict().tag(sync=True)
    kinds = traitlets.Dict().tag(sync=True)
    x = traitlets.Unicode("bits").tag(sync=True)
    y = traitlets.Unicode("kl").tag(sync=True)
    kind = traitlets.Unicode("all").tag(sync=True)
    index = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        x: str = "bits",
        y: str = "kl",
        *,
        kind: str = "all",
        index: int = 0,
        points: list[dict] | None = None,
    ) -> None:
        for word, known in ((x, COSTS), (y, LOSSES), (kind, KINDS)):
            if word not in known:
                raise ValueError(f"No {word!r} here; choose one of {', '.join(known)}.")
        if index < 0:
            raise ValueError(f"index counts from 0, got {index}.")
        super().__init__(
            points=points_of(stored_rows()) if points is None else points,
            costs=dict(COSTS),
            losses=dict(LOSSES),
            kinds=dict(KINDS),
            x=x,
            y=y,
            kind=kind,
            index=index,
        )

    def __repr__(self) -> str:
        """Return the state in words: what a viewer without widgets shows."""
        words = sentence(self.points, self.x, self.y, self.kind, self.index)
        return f"Methods compared. {words}"
