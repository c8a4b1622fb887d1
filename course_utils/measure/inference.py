"""Running a model without changing it: logits of one window, in blocks of rows.

A row of logits has one float for each word of the vocabulary: 49,152 floats, 197 kB,
for the embedded model. A window of 2,048 tokens would hold 403 MB of them at once,
so `logit_blocks` asks the model for at most `MAX_ROWS` positions at a time and carries
what came before in the model's own key-value cache.

Left out: batches of windows. One window at a time keeps the numbers of a window
independent of its neighbours, to the last bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

MAX_ROWS = 512


def device_of(model: nn.Module) -> torch.device:
    """Return the device that holds the model's first parameter."""
    return next(model.parameters()).device


def windows(tokens: Tensor, *, context: int) -> tuple[Tensor, ...]:
    """Cut `tokens` into windows that do not overlap; a last single token is left out.

    Shapes: tokens (n,) -> windows of (context,), the last one of (2 .. context,).
    Raises: ValueError if tokens is not a row of at least 2, or context is below 2.
    """
    if tokens.dim() != 1:
        raise ValueError(
            f"tokens must be one row of ids, got shape {tuple(tokens.shape)}; "
            "pass tokens[0] of a batch of one."
        )
    if context < 2:
        raise ValueError(f"context must be at least 2 tokens, got {context}.")
    if len(tokens) < 2:
        raise ValueError(
            f"Got {len(tokens)} token(s); the first of a window is not predicted, "
            "so at least 2 are needed."
        )
    return tuple(w for w in tokens.split(context) if len(w) > 1)


def logit_blocks(
    model: nn.Module, window: Tensor, *, max_rows: int = MAX_ROWS
) -> Iterator[tuple[int, Tensor]]:
    """Yield (first position, logits of up to `max_rows` positions) of one window.

    Call it inside `evaluating(model)`.

    Shapes: window (n,) -> logits (<= max_rows, vocab), float32.
    """
    ids = window.to(device_of(model))[None]  # (1, n)
    past = None
    for start in range(0, ids.shape[1], max_rows):
        block = ids[:, start : start + max_rows]
        more = start + max_rows < ids.shape[1]
        out = model(input_ids=block, past_key_values=past, use_cache=more)
        past = out.past_key_values if more else None
        yield start, out.logits[0].float()


@contextmanager
def truncated(model: nn.Module, n_layers: int) -> Iterator[None]:
    """Run `model` with its first `n_layers` decoder layers only; restore them after.

    Raises: ValueError if the model has fewer layers.
    """
    layers = model.model.layers
    if not 1 <= n_layers <= len(layers):
        raise ValueError(
            f"n_layers must be 1 to {len(layers)}, the layers of the model; "
            f"got {n_layers}."
        )
    model.model.layers = layers[:n_layers]
    try:
        yield
    finally:
        model.model.layers = layers
