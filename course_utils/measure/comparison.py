"""Everything two models' predictions tell about their difference, in one pass.

Perplexity, KL divergence and top-1 agreement all come from the same logits. A lesson
that compares six models computes them once for each:

    baseline = read(model, tokens)            its predictions are kept
    result = compare(baseline, other)         log-likelihoods, KL and top-1 at once

The protocol is that of `perplexity`: windows that do not overlap, the first token of a
window not predicted. KL and top-1 count every position, as in `agreement`.

Left out: texts whose logits do not fit in memory; `agreement` runs both models.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_utils.measure.agreement import Logits, kl_divergence, logits_of
from course_utils.measure.inference import MAX_ROWS, windows
from course_utils.measure.perplexity import perplexity_of

MAX_KEPT = 4096  # rows of logits: 805 MB for the embedded model
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

    Raises: ValueError if the logits would not fit, or as `windows` does.
    """
    if context > MAX_ROWS or len(tokens) > MAX_KEPT:
        raise ValueError(
            f"{len(tokens)} tokens in windows of {context}: at most {MAX_KEPT} rows of "
            f"logits are kept and {MAX_ROWS} computed at once; take fewer."
        )
    cut = windows(tokens, context=context)
    function = _function(model)
    return Baseline(cut, tuple(function(window) for window in cut))


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
