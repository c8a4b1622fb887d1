"""Measured results, each with where it came from.

A record is one JSON file, `book/measured/NAME.json`. `record.schema.json` beside this
module says what it holds. Both `write` and `read` hold a record to that schema, so a
reader of a record never has to ask whether a field is there.

A record is written to a temporary file, flushed to the disk and renamed: whoever reads
sees the old record or the new one, never half of one.

Left out: history. The old record is in version control.
"""

import json
import math
import os
import re
import statistics
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal, TypedDict

from course_utils import paths

SCHEMA = Path(__file__).with_name("record.schema.json")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class RecordError(ValueError):
    """A record that cannot be used, and what to do about it."""


class MissingRecordError(RecordError):
    """A record that nobody has measured yet."""


class Spread(TypedDict):
    """How far the observations lie apart."""

    low: float
    high: float
    kind: Literal["min-max", "interquartile", "95% interval"]


class Value(TypedDict):
    """One number with its unit, number of observations and spread."""

    value: float
    unit: str
    n: int
    spread: Spread | None


class Slice(TypedDict):
    """The part of a measurement that the tests repeat in seconds."""

    description: str
    values: dict[str, float]
    tolerance: float


class ModelRef(TypedDict):
    """Which model, to the byte."""

    id: str
    revision: str
    sha256: str


class Record(TypedDict):
    """A whole record; `record.schema.json` has the details."""

    name: str
    title: str
    command: str
    date: str
    commit: str
    device: dict[str, str | int | None]
    versions: dict[str, str]
    model: ModelRef | None
    inputs_sha256: str
    values: dict[str, Value]
    slice: Slice | None
    notes: list[str]


def exact(value: float, unit: str, *, n: int = 1) -> Value:
    """Return a value that is the same on every run, such as a number of bytes."""
    return Value(value=value, unit=unit, n=n, spread=None)


def repeated(observations: Sequence[float], unit: str) -> Value:
    """Return the median of repeated runs, their number, and the lowest and highest.

    Rounded to 5 significant digits, more than any timing carries.

    Raises: ValueError if there is no observation.
    """
    if not observations:
        raise ValueError("There is no run to summarise.")
    summary = (min(observations), statistics.median(observations), max(observations))
    low, middle, high = (float(f"{x:.5g}") for x in summary)
    spread = Spread(low=low, high=high, kind="min-max")
    return Value(value=middle, unit=unit, n=len(observations), spread=spread)


def measured_dir() -> Path:
    """Return the folder of the records."""
    return paths.book_dir() / "measured"


def _file(name: str, folder: Path | None) -> Path:
    """Return the path of a record, after checking that the name is one."""
    if not NAME.fullmatch(name):
        raise RecordError(
            f"{name!r} is not a record's name; use small letters, digits and hyphens."
        )
    return (folder or measured_dir()) / f"{name}.json"


@cache
def _validator():
    """Return the validator of the schema; jsonschema is imported on first use."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 -- 0.2 s, seldom needed

    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def problem(name: str, record: object) -> str | None:
    """Return the first thing that is wrong with `record`, or None."""
    from jsonschema.exceptions import best_match  # noqa: PLC0415 -- as above

    if error := best_match(_validator().iter_errors(record)):
        where = ".".join(str(part) for part in error.absolute_path) or "the record"
        return f"{where}: {error.message[:200]}"
    if record["name"] != name:
        return f"it calls itself {record['name']!r}"
    for key, value in record["values"].items():
        spread = value["spread"] or {"low": value["value"], "high": value["value"]}
        if not spread["low"] <= value["value"] <= spread["high"]:
            return f"values.{key}: the value lies outside its spread"
    return None


def write_json(path: Path, data: object) -> None:
    """Write `data` as JSON at once or not at all.

    Raises: ValueError on NaN or infinity, which JSON does not have.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes files that only the owner reads
        Path(temporary).replace(path)
    except BaseException:  # an interrupt too: nothing half may stay behind
        Path(temporary).unlink(missing_ok=True)
        raise


def write(name: str, record: Record, *, folder: Path | None = None) -> Path:
    """Write a record and return its path.

    Raises: RecordError if the record breaks the schema; nothing is written then.
    """
    path = _file(name, folder)
    if found := problem(name, record):
        raise RecordError(f"The record {name} was not written; {found}.")
    write_json(path, record)
    return path


def _refuse_constant(word: str) -> float:
    """Refuse NaN and Infinity, which Python reads although JSON has no such words."""
    raise ValueError(f"{word} is not a number in JSON")


def read(name: str, *, folder: Path | None = None) -> Record:
    """Return a record.

    Raises: MissingRecordError if there is none, RecordError if it is damaged.
    """
    path = _file(name, folder)
    again = f"run `python -m course_utils measure {name}`"
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text, parse_constant=_refuse_constant)
        found = problem(name, record)
    except FileNotFoundError:
        raise MissingRecordError(
            f"{name} has not been measured here yet; {again}."
        ) from None
    except ValueError as error:  # not JSON, or not UTF-8
        found = f"it is not JSON ({error})"
    if found:
        raise RecordError(
            f"The record {name} is damaged: {found}; "
            f"restore it from version control or {again}."
        )
    return record


def differences(stored: Slice, measured: dict[str, float]) -> list[str]:
    """Return one sentence for each value that left the tolerance of the slice.

    Whole numbers (counts, bytes) must be equal; others may differ by the slice's
    relative tolerance.
    """
    sentences = []
    for key in sorted(stored["values"].keys() | measured.keys()):
        if key not in measured or key not in stored["values"]:
            side = "measurement" if key in stored["values"] else "record"
            sentences.append(f"{key} is missing from the {side}.")
            continue
        old, new = stored["values"][key], measured[key]
        whole = isinstance(old, int)
        tolerance = 0.0 if whole else stored["tolerance"]
        if not math.isclose(old, new, rel_tol=tolerance):
            sentences.append(
                f"{key} is {new}, but the record has {old} "
                f"(relative tolerance {tolerance:g})."
            )
    return sentences
