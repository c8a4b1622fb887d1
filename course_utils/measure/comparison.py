"""Everything two models' predictions tell about their difference, in one pass.

Perplexity, KL divergence and top-1 agreement all come from the same logits. A lesson
that compares six models computes them once for each:

    baseline = read(model, tokens)            its predictions are kept
    result = compare(baseline, other)         log-likelihoods, KL and top-1 at once

The protocol is that of `perplexity`: windows that do not overlap, the first token of a
window not predicted. KL and top-1 count every position, as in `agreement`.

A window has at most 512 tokens, so no more than 512 rows of logits are computed at
once. All rows of the baseline are kept, which may take up to 1 GB.

Left out: texts whose logits take more than that; `agreement` runs both models.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_utils.measure.agreement import Logits, kl_divergence, logits_of
from course_utils.measure.inference import MAX_ROWS, windows
from course_utils.measure.perplexity import perplexity_of

MAX_BYTES = 10**9  # of logits kept: 5,086 rows of the embedded model
BLOCK = 8  # rows whose float64 copies stay in a processor's cache


@dataclass(frozen=True)
class Baseline:
    """A model's predictions on a text.

    Attributes:
        windows: The text, cut.
        logits: Of every window, (length, vocab), float32.
    """

    windows: tuple[Tensor, ...]
    logits: tuple[Tensor, ...]


@dataclass(frozen=True)
class Comparison:
    """What one model made of the text, and how far that is from the baseline.

    Attributes:
        log_likelihoods: log p of every predicted token, in nats.
        kl: Mean KL(baseline || model) in nats.
        top1: Share of positions with the same likeliest word.
        n: Positions.
    """

    log_likelihoods: Tensor
    kl: float
    top1: float
    n: int

    @property
    def perplexity(self) -> float:
        """Perplexity by the protocol of `measure.perplexity`."""
        return perplexity_of(self.log_likelihoods)


def read(model: nn.Module | Logits, tokens: Tensor, *, context: int = 512) -> Baseline:
    """Return the predictions of `model` on `tokens`, to compare others with.

    Args:
        model: A module, or a function window -> logits.
        tokens: The text, shape (n,).
        context: Tokens of a window, at most 512.

    Raises: ValueError if the logits of the text take more than 1 GB or those of a
        window more than 512 rows, or as `windows` does.
    """
    if context > MAX_ROWS:
        raise ValueError(
            f"context is {context}; at most {MAX_ROWS} rows of logits are computed at "
            "once."
        )
    cut = windows(tokens, context=context)
    function = _function(model)
    first = function(cut[0])  # shows the vocabulary, before more is kept
    _check_size(len(tokens), vocab=first.shape[1])
    return Baseline(cut, (first, *(function(window) for window in cut[1:])))


def _check_size(rows: int, *, vocab: int) -> None:
    """Refuse more rows of float32 logits than `MAX_BYTES` hold."""
    most = MAX_BYTES // (4 * vocab)
    if rows > most:
        raise ValueError(
            f"The logits of {rows} tokens take {rows * vocab * 4 / 1e9:.1f} GB in this "
            f"vocabulary of {vocab}; at most {MAX_BYTES / 1e9:g} GB is kept. "
            f"Take {most} tokens or fewer."
        )


def compare(baseline: Baseline, model: nn.Module | Logits) -> Comparison:
    """Compare a model with the baseline on the same tokens.

    Args:
        baseline: From `read`.
        model: A module, or a function window -> logits.

    Raises: ValueError if the vocabularies differ.
    """
    function = _function(model)
    return _joined(baseline, (function(window) for window in baseline.windows))


def itself(baseline: Baseline) -> Comparison:
    """Return the baseline's own numbers: KL 0 and top-1 agreement 1."""
    return _joined(baseline, baseline.logits)


def _function(model: nn.Module | Logits) -> Logits:
    """Return the function window -> logits, on the CPU."""
    function = logits_of(model) if isinstance(model, nn.Module) else model
    return lambda window: function(window).float().cpu()


def _joined(baseline: Baseline, logits: Iterable[Tensor]) -> Comparison:
    """Join the numbers of all windows; one window's logits are held at a time."""
    picked, kl, same, n = [], 0.0, 0, 0
    for window, before, after in zip(
        baseline.windows, baseline.logits, logits, strict=True
    ):
        for p, q in zip(before.split(BLOCK), after.split(BLOCK), strict=True):
            kl += kl_divergence(p, q).sum().item()
        picked.append(_log_likelihoods(window, after))
        same += int((before.argmax(dim=1) == after.argmax(dim=1)).sum())
        n += len(window)
    return Comparison(torch.cat(picked), kl / n, same / n, n)


def _log_likelihoods(window: Tensor, logits: Tensor) -> Tensor:
    """Return log p of tokens 1 .. n-1.

    Shapes: window (n,), logits (n, vocab) -> (n - 1,).
    """
    rows, targets = logits[:-1], window[1:, None].to(logits.device)
    return rows.gather(1, targets).squeeze(1) - rows.logsumexp(dim=1)
