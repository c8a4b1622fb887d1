"""The measurement `gguf-speed`: our block encoders against gguf's and ggml's.

Types that gguf encodes are compared with gguf, on every matrix of the decoder whose
rows the block size divides (MXFP4: 256). The types that search for scales are compared
with ggml's compiled code, on a few matrices.

What is counted is processor time, not the time that passes, and torch gets one thread,
since gguf has one: threads that wait for each other would count as work. Ours and
theirs take turns within one run, and the ratio is taken turn by turn. How many bytes
differ is counted as well.

Left out: decoding, and types that only one side encodes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from safetensors import safe_open
from torch import Tensor

from course_utils.formats import gguf_blocks
from course_utils.measure import hardware, records
from course_utils.measure.task import Json, Results, Step
from course_utils.models import cache, embedded, ggml_blocks
from course_utils.models.card import CARDS, EMBEDDED

TURNS = 3
GGUF_TYPES = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4")
GGML_TYPES = ("IQ4_NL", "Q4_K", "Q6_K")
GGML_MATRICES = 2
PACKAGES = ("gguf", "llama_cpp_python")

Encode = Callable[[Tensor, str], Tensor]


def by_gguf(w: Tensor, name: str) -> Tensor:
    """Return the bytes that gguf makes of a matrix."""
    # It divides by 0 in blocks of zeros and replaces the result.
    with np.errstate(divide="ignore", invalid="ignore"):
        return torch.from_numpy(quantize(w.numpy(), GGMLQuantizationType[name]))


class Measurement:
    """The task of this module; `task.Task` says what its parts are for."""

    title = "GGUF block encoders on the embedded model: ours, gguf's and ggml's"
    device = "cpu"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the record must know, with the libraries' versions."""
        found = hardware.versions(PACKAGES)
        return (
            "Compared with " + ", ".join(f"{k} {v}" for k, v in found.items()) + ".",
            "Processor time in seconds, one thread each. "
            f"{', '.join(GGUF_TYPES)}: every matrix of the decoder whose rows the "
            "block size divides (MXFP4: 256), against gguf. "
            f"{', '.join(GGML_TYPES)}: "
            f"{GGML_MATRICES} matrices, against the C code of ggml.",
            f"{TURNS} turns after one that does not count; ours and theirs alternate. "
            "A ratio is ours over theirs within one turn, and below 1 where ours takes "
            "less.",
            "Bytes that differ: gguf's are compared byte for byte. The encoders that "
            "search compare sums, which the two sides round differently.",
        )

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The matrices of the decoder by name, float32, straight from their file."""
        with safe_open(embedded.prepare() / embedded.WEIGHTS, "pt") as file:
            names = [n for n in file.keys() if "proj" in n]  # noqa: SIM118 -- no dict
            return {name: file.get_tensor(name) for name in names}

    def model(self) -> records.ModelRef:
        """Return which model is quantized, by the hash of its weights file."""
        files = cache.read_card(embedded.prepare())["files"]
        return records.ModelRef(
            id=CARDS[EMBEDDED].id,
            revision=CARDS[EMBEDDED].revision,
            sha256=files[embedded.WEIGHTS],
        )

    def inputs(self) -> dict[str, str | int]:
        """Return what the result depends on."""
        found = hardware.versions(PACKAGES)
        return {"weights": self.model()["sha256"], "turns": TURNS, **found}

    def matrices(self, name: str) -> list[Tensor]:
        """Return the matrices on which a type is compared."""
        fitting = [w for w in self.weights.values() if w.shape[1] % _divisor(name) == 0]
        return fitting if name in GGUF_TYPES else fitting[:GGML_MATRICES]

    def steps(self) -> Iterator[Step]:
        """Yield one step per type: the turns, then the comparison of the bytes."""
        for name in GGUF_TYPES:
            yield Step(name, lambda name=name: self._compare(name, by_gguf))
        for name in GGML_TYPES:
            yield Step(name, lambda name=name: self._compare(name, ggml_blocks.encode))

    def _compare(self, name: str, other: Encode) -> Json:
        weights = self.matrices(name)
        ours, theirs = [], []
        with _one_thread():
            for turn in range(TURNS + 1):
                times = [
                    seconds(encode, weights, name)
                    for encode in (gguf_blocks.encode, other)
                ]
                if turn:  # the first one maps memory
                    ours.append(times[0])
                    theirs.append(times[1])
        n, different = differing(name, other, weights)
        return {
            "ours": ours,
            "theirs": theirs,
            "weights": sum(w.numel() for w in weights),
            "n": n,
            "different": different,
        }

    def values(self, results: Results) -> dict[str, records.Value]:
        """Turn the results of the steps into values with unit, n and spread."""
        values = {}
        for name in (*GGUF_TYPES, *GGML_TYPES):
            found, key = results[name], name.lower()
            library = "gguf" if name in GGUF_TYPES else "ggml"
            turns = zip(found["ours"], found["theirs"], strict=True)
            ratios = [ours / theirs for ours, theirs in turns]
            values |= {
                f"{key}_ours": records.repeated(found["ours"], "s"),
                f"{key}_{library}": records.repeated(found["theirs"], "s"),
                f"{key}_ratio": records.repeated(ratios, ""),
                f"{key}_weights": records.exact(found["weights"], ""),
                f"{key}_different": records.exact(found["different"], "", n=found["n"]),
            }
        worst = max(values[f"{name.lower()}_ratio"]["value"] for name in GGUF_TYPES)
        return {**values, "gguf_worst_ratio": records.exact(worst, "")}

    def slice(self) -> records.Slice:
        """Count the bytes of the first matrix that differ; times are no test."""
        values = {}
        for name in GGUF_TYPES:
            n, different = differing(name, by_gguf, self.matrices(name)[:1])
            key = name.lower()
            values |= {f"{key}_bytes": n, f"{key}_different": different}
        return records.Slice(
            description=(
                "The first matrix of each type: bytes compared with gguf's, and how "
                "many of them differ"
            ),
            values=values,
            tolerance=0.0,
        )


def _divisor(name: str) -> int:
    """Return what must divide the rows of the matrices on which a type is compared."""
    # gguf takes ten times as long for MXFP4 as for the others, so a quarter must do.
    return 256 if name == "MXFP4" else gguf_blocks.TYPES[name].block_size


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch work in one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seconds(encode: Encode, weights: list[Tensor], name: str) -> float:
    """Return the processor time to encode every matrix once, in seconds."""
    start = time.process_time()
    for w in weights:
        encode(w, name)
    return time.process_time() - start


def differing(name: str, other: Encode, weights: list[Tensor]) -> tuple[int, int]:
    """Return how many bytes are compared and how many differ."""
    n = different = 0
    for w in weights:
        ours, theirs = gguf_blocks.encode(w, name), other(w, name)
        n += ours.numel()
        different += int((ours != theirs).sum())
    return n, different
