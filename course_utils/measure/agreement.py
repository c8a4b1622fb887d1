"""How far two models' predictions differ on the same tokens.

    KL(p || q) = sum over words v of p(v) (log p(v) - log q(v))

with p the reference model's distribution over the next word and q the other's. KL is
0 where the two agree exactly and never negative. Top-1 agreement is the share of
positions at which both put the same word first. Both see changes that perplexity
averages away, because perplexity looks at one word of each distribution only.

Left out: weighting of positions; every position of a window counts the same,
its first and last included, since no target token is needed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_utils.measure.inference import logit_blocks, windows
from course_utils.models.evaluating import evaluating

# Float64 copies of so few rows stay in the processor's cache: 3 MB at 49,152 words.
BLOCK = 8
Logits = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Agreement:
    """Mean KL divergence in nats, share of equal top words, number of positions."""

    kl: float
    top1: float
    n: int


def kl_divergence(reference: Tensor, other: Tensor) -> Tensor:
    """Return KL(reference || other) of each row of logits.

    Shapes: reference, other (n, vocab) -> (n,), float64.
    Units: nats.
    Raises: ValueError on different shapes.
    """
    if reference.shape != other.shape:
        raise ValueError(
            f"The logits have shapes {tuple(reference.shape)} and "
            f"{tuple(other.shape)}; compare models with one vocabulary."
        )
    # float64: near-equal distributions differ in the digits that float32 drops.
    log_p = reference.double().log_softmax(dim=-1)
    log_q = other.double().log_softmax(dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def logits_of(model: nn.Module) -> Logits:
    """Return the function window (n,) -> logits (n, vocab) of `model`."""

    def logits(window: Tensor) -> Tensor:
        with evaluating(model):
            return torch.cat([block for _, block in logit_blocks(model, window)])

    return logits


def agreement(
    reference: nn.Module | Logits,
    other: nn.Module | Logits,
    tokens: Tensor,
    *,
    context: int = 512,
) -> Agreement:
    """Compare two models on `tokens`, cut into windows that do not overlap.

    Either may be a function window -> logits, so that one model whose weights are
    swapped between two calls can stand on both sides.

    Shapes: tokens (n,).
    Raises: ValueError if context is not 2 to 512, or as `windows` does.
    """
    if context > 512:
        raise ValueError(f"context is {context}; at most 512 rows of logits are held.")
    first = logits_of(reference) if isinstance(reference, nn.Module) else reference
    second = logits_of(other) if isinstance(other, nn.Module) else other
    kl, same, n = 0.0, 0, 0
    for window in windows(tokens, context=context):
        p, q = first(window), second(window)
        for p_rows, q_rows in zip(p.split(BLOCK), q.split(BLOCK), strict=True):
            kl += kl_divergence(p_rows, q_rows).sum().item()
            same += int((p_rows.argmax(dim=1) == q_rows.argmax(dim=1)).sum())
            n += len(p_rows)
    return Agreement(kl=kl / n, top1=same / n, n=n)
