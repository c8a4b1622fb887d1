"""Numbers that are too long to compute in a lesson, read from the measured records.

`facts("record/key")` reads one value of `book/measured/record.json`. A record that
nobody has measured yet, for want of a device, gives a fact that says so.
"""

from dataclasses import dataclass

from course_utils.measure import records

MISSING = "not yet measured"


@dataclass(frozen=True)
class Fact:
    """One measured value and where it came from.

    Formatting it formats the value: `f"{fact:.1f} {fact.unit}"`. With no format it
    shows three significant digits, a count in full, and the unit. A fact that was
    not measured shows "not yet measured" in every format.

    Attributes:
        id: "record/key".
        value: The number, or None if it was not measured.
        unit: Unit of the value and of the spread; empty for a bare number.
        n: Measurements behind the value.
        spread: Lowest and highest and what they bound, or None if every run agrees.
        device: What it was measured on.
        date: Day of the measurement, as YYYY-MM-DD.
    """

    id: str
    value: float | None = None
    unit: str = ""
    n: int | None = None
    spread: records.Spread | None = None
    device: str = ""
    date: str = ""

    @property
    def measured(self) -> bool:
        """True if there is a value."""
        return self.value is not None

    def __format__(self, spec: str) -> str:
        """Return the value in the format `spec`."""
        if self.value is None:
            return MISSING
        return format(self.value, spec) if spec else str(self)

    def __str__(self) -> str:
        """Return the value with its unit."""
        if self.value is None:
            return MISSING
        return f"{_readable(self.value)} {self.unit}".rstrip()

    def __float__(self) -> float:
        """Return the value, for a computation or a plot.

        Raises: ValueError if it was not measured.
        """
        if self.value is None:
            raise ValueError(
                f"The fact {self.id} is {MISSING}; test fact.measured before you "
                "compute with it."
            )
        return float(self.value)


def facts(fact_id: str) -> Fact:
    """Return the measured value `fact_id`, written "record/key".

    Raises: ValueError if the id has another form, if the record is damaged, or if
        the record has no such value. A record that does not exist is no error: the
        fact then prints "not yet measured".
    """
    name, slash, key = fact_id.partition("/")
    if not (name and slash and key):
        raise ValueError(f"{fact_id!r} is no fact; write it as record/key.")
    try:
        record = records.read(name)
    except records.MissingRecordError:
        return Fact(id=fact_id)
    if key not in record["values"]:
        raise ValueError(
            f"The record {name} has no value {key!r}; it has "
            f"{', '.join(record['values'])}."
        )
    entry = record["values"][key]
    return Fact(
        id=fact_id,
        value=entry["value"],
        unit=entry["unit"],
        n=entry["n"],
        spread=entry["spread"],
        device=str(record["device"]["name"]),
        date=record["date"],
    )


def _readable(value: float) -> str:
    """Return a count in full and any other number with three significant digits."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
