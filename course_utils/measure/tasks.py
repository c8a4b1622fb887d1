"""The table of measurements: NAME -> the module that holds its task.

To add one: a module here with a class `Measurement` (see `task.Task`), a row below,
and `python -m course_utils measure NAME`. Modules are imported when asked for, since
they import torch.
"""

from importlib import import_module
from pathlib import Path

from course_utils import paths
from course_utils.measure import records, task

TASKS = {
    "additive": "course_utils.measure.additive_codebooks",
    "awq": "course_utils.measure.awq_quality",
    "awq-library": "course_utils.measure.awq_draws",
    "awq-speed": "course_utils.measure.awq_speed",
    "embedded-model": "course_utils.measure.embedded_model",
    "gguf-quality": "course_utils.measure.gguf_quality",
    "gguf-speed": "course_utils.measure.gguf_speed",
    "gptq": "course_utils.measure.gptq_quality",
    "hqq": "course_utils.measure.hqq_quality",
    "llama-8b-shape": "course_utils.measure.llama_8b_shape",
    "methods": "course_utils.measure.methods_compared",
    "methods-speed": "course_utils.measure.methods_speed",
    "outliers": "course_utils.measure.outliers",
    "parity": "course_utils.measure.parity",
    "parity-gguf": "course_utils.measure.parity_gguf",
    "qlora": "course_utils.measure.qlora",
    "qat": "course_utils.measure.qat_blocks",
    "quantizing-speed": "course_utils.measure.quantizing_speed",
    "rotations": "course_utils.measure.rotations",
    "scales": "course_utils.measure.scales",
    "smoothquant": "course_utils.measure.smoothquant_sweep",
}


def load(name: str) -> task.Task:
    """Return the task called `name`.

    Raises: ValueError naming the tasks there are.
    """
    if name not in TASKS:
        raise ValueError(
            f"There is no measurement {name!r}; choose from: {', '.join(TASKS)}."
        )
    return import_module(TASKS[name]).Measurement()


def measure(name: str, *, say: task.Say = print, fresh: bool = False) -> Path:
    """Measure `name` and return the path of its record.

    Raises: ValueError for an unknown name or outside a checkout.
    """
    chosen = load(name)
    if records.measured_dir().parent != paths.ROOT / "book":
        raise ValueError(
            "Records belong to a checkout of the book; clone it and measure there."
        )
    # A measurement of another model than the book's has a record of its own.
    record = getattr(chosen, "record", name)
    return task.run(record, chosen, say=say, fresh=fresh)


def check_slice(name: str) -> list[str]:
    """Measure the slice of `name` again; return a sentence per value that moved.

    Raises: ValueError for an unknown name, RecordError without a usable record.
    """
    chosen = load(name)
    stored = records.read(name)["slice"]
    if stored is None:
        raise records.RecordError(f"The record {name} has no slice to repeat.")
    measured = chosen.slice()
    return records.differences(stored, measured["values"])
