"""Which of many choices no other choice beats.

Every choice has a cost and a loss, and less is better in both. A choice is beaten if
another costs no more and loses no more, and is better in one of the two. What nobody
beats is the front: whoever wants less loss has to pay more there.

The measurements of chapter 16 are stored in the record `methods`; `stored_rows` reads
them back, one row a method.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from course_utils.measure import records

RECORD = "methods"
NUMBERS = ("bits", "bytes", "seconds", "ppl", "ratio", "kl", "top1", "accuracy")
COUNTS = ("lost", "won", "short")
RATES = ("prefill", "decode")


@dataclass(frozen=True)
class Row:
    """What was measured of one method.

    Attributes:
        key: Its key in `measure.methods_list`.
        value: What was measured -> value; rates only where there is a kernel.
        low: Lower ends of the intervals, where there are any.
        high: Upper ends.
    """

    key: str
    value: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]

    @property
    def changed(self) -> float:
        """Share of right answers that were lost or won."""
        return (self.value["lost"] + self.value["won"]) / self.value["n"]


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return for each (cost, loss) whether no other point beats it.

    Raises: ValueError if a number is NaN, which is neither more nor less.
    """
    if any(math.isnan(x) for point in points for x in point):
        raise ValueError("A cost or a loss is NaN; leave that point out.")

    def beaten(cost: float, loss: float) -> bool:
        return any(
            c <= cost and l <= loss and (c < cost or l < loss) for c, l in points
        )

    return [not beaten(cost, loss) for cost, loss in points]


def stored_rows(name: str = RECORD) -> dict[str, Row]:
    """Return the rows of a record by key; none if it was not measured.

    Raises: RecordError if the record is damaged.
    """
    try:
        values = records.read(name)["values"]
    except records.MissingRecordError:
        return {}
    keys = [key.removesuffix("_kl") for key in values if key.endswith("_kl")]
    return {key: _row(key, values) for key in keys}


def _row(key: str, values: dict[str, records.Value]) -> Row:
    found = {
        what: values[f"{key}_{what}"]
        for what in (*NUMBERS, *COUNTS, *RATES)
        if f"{key}_{what}" in values
    }
    spreads = {what: v["spread"] for what, v in found.items() if v["spread"]}
    return Row(
        key,
        {what: v["value"] for what, v in found.items()} | {"n": found["lost"]["n"]},
        {what: spread["low"] for what, spread in spreads.items()},
        {what: spread["high"] for what, spread in spreads.items()},
    )
