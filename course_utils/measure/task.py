"""A measurement in steps, which can be interrupted and goes on where it stopped.

After each step its result is written to `_build/measure/NAME.partial.json`, together
with a key: the hash of the inputs, the commit, the hash of the code, the versions and
the device. A note on a busy machine is kept with them. A later run with the same key
skips the steps it finds there; with another key it starts again. Once the record is
written the partial file is removed.

A step returns JSON (numbers, strings, lists, dicts of them), so that a kept result
and a fresh one cannot be told apart.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from course_utils import paths
from course_utils.measure import hardware, provenance, records

BUSY = 0.1  # of the processor; more than an idle desktop uses
Json = dict | list | str | int | float | None
Results = dict[str, Json]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One piece of a measurement: its name and what computes its result."""

    name: str
    run: Callable[[], Json]


class Task(Protocol):
    """What `run` needs to know of a measurement."""

    title: str
    notes: tuple[str, ...]
    device: str  # "cpu" or "cuda": what is measured, whatever else the machine has

    def model(self) -> records.ModelRef | None:
        """Return which model is measured."""

    def inputs(self) -> Mapping[str, str | int | float]:
        """Return the hashes and parameters that the result depends on."""

    def steps(self) -> Iterator[Step]:
        """Yield the steps in order; a step's work happens in `Step.run`."""

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of all steps into the record's values."""

    def slice(self) -> records.Slice | None:
        """Measure the slice: what the tests repeat in at most 10 s."""


def partial_file(name: str) -> Path:
    """Return where the finished steps of an interrupted measurement are kept."""
    return paths.ROOT / "_build" / "measure" / f"{name}.partial.json"


def _kept(path: Path, key: Results) -> tuple[Results, list[str]]:
    """Return the results and notes of finished steps, if they have the same key."""
    try:
        partial = json.loads(path.read_text(encoding="utf-8"))
        if partial["key"] == key:
            return dict(partial["results"]), list(partial["notes"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none, damaged or of another form: measure again
    return {}, []


def _finish(
    steps: list[Step], path: Path, key: Results, others: list[str], say: Say
) -> tuple[Results, list[str]]:
    """Run every step that has no kept result, keeping each as it comes.

    `others` are the notes on this run's machine. They are returned after those of
    earlier runs, whose results are part of the record.
    """
    results, before = _kept(path, key)
    notes = list(dict.fromkeys([*before, *others]))
    for number, step in enumerate(steps, start=1):
        head = f"[{number}/{len(steps)}] {step.name}"
        if step.name in results:
            say(f"{head}: kept from an earlier run")
            continue
        say(f"{head} ...")
        start = time.perf_counter()
        # Through JSON and back, so that fresh and kept results have the same types.
        results[step.name] = json.loads(json.dumps(step.run()))
        records.write_json(path, {"key": key, "notes": notes, "results": results})
        say(f"{head}: done in {time.perf_counter() - start:.1f} s")
    return results, notes


def _others(say: Say) -> list[str]:
    """Return a note where other programs keep the machine busy, and say it."""
    share = hardware.busy_share()
    if share is None or share < BUSY:
        return []
    note = (
        f"Other programs used {share:.0%} of the processor when this was measured, so "
        "times are too long and rates too low."
    )
    say(note)
    return [note]


def run(name: str, task: Task, *, say: Say, fresh: bool = False) -> Path:
    """Carry out a measurement, write its record, and return the record's path.

    `fresh` forgets the steps of an interrupted run.

    Raises: RecordError if the outcome is not a valid record.
    """
    path, others = partial_file(name), _others(say)
    if fresh:
        path.unlink(missing_ok=True)
    described = hardware.describe(task.device)
    inputs = provenance.inputs_sha256(task.inputs())
    commit = provenance.commit()
    key = {
        "inputs_sha256": inputs,
        "commit": commit,
        "code_sha256": provenance.code_sha256(),
        **described,
    }
    steps = [*task.steps(), Step("slice for the tests", task.slice)]
    results, notes = _finish(steps, path, key, others, say)
    record = records.Record(
        name=name,
        title=task.title,
        command=f"python -m course_utils measure {name}",
        date=datetime.now(UTC).date().isoformat(),
        commit=commit,
        device=described["device"],
        versions=described["versions"],
        model=task.model(),
        inputs_sha256=inputs,
        values=task.values(results),
        slice=results["slice for the tests"],
        notes=[*task.notes, *notes],
    )
    written = records.write(name, record)
    path.unlink(missing_ok=True)
    return written
