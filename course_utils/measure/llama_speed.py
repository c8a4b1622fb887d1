"""How many tokens a second llama.cpp reads and writes.

The same work as `speed.time_generation` gives a torch model: read the prompt in one
pass, keep the last position's logits, then write the likeliest token one by one. The
numbers are of the same kind, `speed.Run`, so they stand in one table.

Left out: batches, sampling, GPUs.
"""

import time
from collections.abc import Iterator

from torch import Tensor

from course_utils.measure.speed import Run, timed
from course_utils.models.llama_cpp import LlamaFile


def time_llama(
    file: LlamaFile, prompt: Tensor, *, n_new: int, repeats: int, warm_up: int = 1
) -> Iterator[Run]:
    """Yield `repeats` timed runs after `warm_up` runs that are not counted.

    Args:
        file: Opened with every_row=False: otherwise it computes logits that writing
            does not need.
        prompt: Tokens to read, shape (n,).
        n_new: Tokens to write.
        repeats: Runs that count.
        warm_up: Runs that do not.

    Units: seconds.
    Raises: ValueError if the prompt is empty or n_new or repeats is below 1.
    """
    work = {"n_new": n_new, "repeats": repeats, "warm_up": warm_up}
    return timed(lambda: _run(file, prompt, n_new), prompt, **work)


def _run(file: LlamaFile, prompt: Tensor, n_new: int) -> Run:
    """Read `prompt`, write `n_new` tokens, and time both."""
    file.reset()
    start = time.perf_counter()
    token = file.read(prompt).argmax(dim=0, keepdim=True)
    middle = time.perf_counter()
    for _ in range(n_new):
        token = file.read(token).argmax(dim=0, keepdim=True)
    return Run(len(prompt), n_new, middle - start, time.perf_counter() - middle)
