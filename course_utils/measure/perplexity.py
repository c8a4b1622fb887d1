"""Perplexity: how surprised a model is by a text.

    perplexity = exp(-mean(log p(token | tokens before it in its window)))

A model that guesses evenly among k words has perplexity k. The number depends on the
protocol as much as on the model, so the protocol has a name here and is printed
with every result: windows of `context` tokens that do not overlap, no start token,
and the first token of a window is not predicted (nothing stands before it). Two
perplexities compare only at the same protocol, text and number of tokens.

The model may be a module or a function window -> logits, so that a model which torch
does not run is measured by the same code.

Left out: sliding windows, which give each token more context and a lower number.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from course_utils.measure.agreement import Logits
from course_utils.measure.inference import MAX_ROWS, logit_blocks, windows
from course_utils.models.evaluating import evaluating


def protocol(n_tokens: int, *, context: int = 512) -> str:
    """Return the protocol in words, to stand beside a result."""
    return (
        f"{n_tokens:,} tokens in windows of {context} that do not overlap, "
        "no start token, first token of a window not predicted"
    )


def _blocks(model: nn.Module | Logits, window: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield (first position, logits) of one window, as `logit_blocks` does."""
    if isinstance(model, nn.Module):
        yield from logit_blocks(model, window)
        return
    logits = model(window)
    if logits.dim() != 2 or len(logits) != len(window):
        raise ValueError(
            f"The function gave logits of shape {tuple(logits.shape)} for a window of "
            f"{len(window)} tokens; it must give one row for each token."
        )
    yield 0, logits.float()


def _window_log_likelihoods(model: nn.Module | Logits, window: Tensor) -> Tensor:
    """Return log p of tokens 1 .. n-1 of one window.

    Shapes: window (n,) -> (n - 1,), float32.
    """
    parts = []
    for start, logits in _blocks(model, window):
        targets = window[start + 1 : start + 1 + len(logits)].to(logits.device)
        rows = logits[: len(targets)]  # the last position of a window has no target
        picked = rows.gather(1, targets[:, None]).squeeze(1)
        parts.append(picked - rows.logsumexp(dim=1))
    return torch.cat(parts)


def log_likelihoods(
    model: nn.Module | Logits, tokens: Tensor, *, context: int = 512
) -> Tensor:
    """Return log p of every predicted token, window after window.

    A module is left as it was, its training modes included.

    Args:
        model: A model, or a function that gives the logits of a window.
        tokens: The text.
        context: Tokens of a window.

    Shapes: tokens (n,) -> (n - number of windows,), float32, on the tokens' device.
        A single token left over at the end is dropped. A function takes (n,) and
        gives (n, vocab), n <= 512.
    Units: nats.
    Raises: ValueError if tokens is not a row of at least 2 ids, or context < 2, or a
        function is asked for more than 512 rows or gives another number of them.
    """
    is_module = isinstance(model, nn.Module)
    if not is_module and context > MAX_ROWS:
        raise ValueError(
            f"context is {context}; a function gives at most {MAX_ROWS} rows of logits."
        )
    with evaluating(model) if is_module else torch.no_grad():
        parts = [
            _window_log_likelihoods(model, window)
            for window in windows(tokens, context=context)
        ]
    return torch.cat([part.to(tokens.device) for part in parts])


def perplexity_of(log_likelihoods: Tensor) -> float:
    """Return exp of the mean negative log-likelihood; infinity where it overflows.

    Shapes: log_likelihoods (n,), nats.
    Raises: ValueError if there is no value.
    """
    if log_likelihoods.numel() == 0:
        raise ValueError("There is no log-likelihood to average.")
    # float64: the mean of thousands of values, and exp magnifies what it loses.
    mean = log_likelihoods.double().mean().item()
    return math.exp(-mean) if -mean < math.log(1e300) else -mean * math.inf


def perplexity(
    model: nn.Module | Logits, tokens: Tensor, *, context: int = 512
) -> float:
    """Return the perplexity of `model` on `tokens` by the protocol of this module.

    Shapes: tokens (n,).
    Units: none; the number of equally likely words that would surprise as much.
    Raises: ValueError as `log_likelihoods` does.
    """
    return perplexity_of(log_likelihoods(model, tokens, context=context))
