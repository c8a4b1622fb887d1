"""How many tokens a second: reading a prompt, then writing.

Prefill reads all tokens of a prompt in one pass and is limited by arithmetic. Decode
writes one token at a time, reads every weight for each, and is limited by memory. So
they are two numbers. Decode uses the key-value cache and takes the likeliest token;
it does not stop at an end token, so every run does the same work.

The first run of a model is slower (memory is mapped, threads start), so `warm_up`
runs come first and are not counted.

Left out: batches, and sampling.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_utils.measure.inference import device_of
from course_utils.models.evaluating import evaluating


@dataclass(frozen=True)
class Run:
    """One timed generation: tokens read and written, and the seconds of each."""

    n_prompt: int
    n_new: int
    prefill_seconds: float
    decode_seconds: float

    @property
    def prefill_rate(self) -> float:
        """Tokens read per second."""
        return self.n_prompt / self.prefill_seconds

    @property
    def decode_rate(self) -> float:
        """Tokens written per second."""
        return self.n_new / self.decode_seconds


def _now(device: torch.device) -> float:
    """Return the clock once the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _generate(model: nn.Module, prompt: Tensor, n_new: int) -> Run:
    """Read `prompt`, write `n_new` tokens, and time both.

    Shapes: prompt (n,).
    """
    device = device_of(model)
    ids = prompt.to(device)[None]  # (1, n)
    start = _now(device)
    # Only the last position's logits are needed to go on writing.
    out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    token = out.logits[:, -1:].argmax(dim=-1)  # (1, 1)
    middle = _now(device)
    for _ in range(n_new):
        past = out.past_key_values
        out = model(input_ids=token, past_key_values=past, use_cache=True)
        token = out.logits[:, -1:].argmax(dim=-1)
    return Run(len(prompt), n_new, middle - start, _now(device) - middle)


def time_generation(
    model: nn.Module, prompt: Tensor, *, n_new: int, repeats: int, warm_up: int = 1
) -> Iterator[Run]:
    """Yield `repeats` timed runs after `warm_up` runs that are not counted.

    Shapes: prompt (n,).
    Units: seconds.
    Raises: ValueError as `timed` does.
    """

    def once() -> Run:
        with evaluating(model):
            return _generate(model, prompt, n_new)

    return timed(once, prompt, n_new=n_new, repeats=repeats, warm_up=warm_up)


def timed(
    once: Callable[[], Run], prompt: Tensor, *, n_new: int, repeats: int, warm_up: int
) -> Iterator[Run]:
    """Yield `repeats` results of `once` after `warm_up` that are not counted.

    Args:
        once: Reads the prompt, writes n_new tokens and times both.
        prompt: Tokens to read, shape (n,).
        n_new: Tokens to write.
        repeats: Runs that count.
        warm_up: Runs that do not.

    Raises: ValueError if the prompt is empty or n_new or repeats is below 1.
    """
    if prompt.numel() < 1 or n_new < 1 or repeats < 1:
        raise ValueError(
            f"Timing needs a prompt, n_new >= 1 and repeats >= 1; "
            f"got {prompt.numel()} tokens, n_new={n_new}, repeats={repeats}."
        )
    for k in range(warm_up + repeats):
        run = once()
        if k >= warm_up:
            yield run
