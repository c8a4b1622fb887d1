"""Answers that changed: what equal accuracy hides, and whether a change is chance.

Two models answer the same questions. Each question falls into one of four cells:
right both times, wrong both times, lost (right before, wrong after) or won (wrong
before, right after). Accuracy moves by (won - lost) / n; the share of answers that
changed is (won + lost) / n and can be large where accuracy does not move at all.

McNemar's test asks whether lost and won differ by more than chance. Only questions
that flipped can tell. If a flip were as likely either way, `lost` of m = lost + won
flips would follow the binomial distribution with p = 1/2:

    p_value = min(1, 2 * sum over k = 0 .. min(lost, won) of C(m, k) / 2^m)

This is the exact two-sided test. Its chi-square approximation needs dozens of flips,
and a small question set has a handful.

Left out: changes from one wrong option to another, which right and wrong cannot show.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Flips:
    """How the answers to the same questions moved between two models.

    Attributes:
        n: Questions.
        kept_right: Right both times.
        kept_wrong: Wrong both times.
        lost: Right before, wrong after.
        won: Wrong before, right after.
        p_value: Of McNemar's exact two-sided test; 1.0 where nothing flipped.
    """

    n: int
    kept_right: int
    kept_wrong: int
    lost: int
    won: int
    p_value: float

    @property
    def changed(self) -> int:
        """Questions whose answer flipped, either way."""
        return self.lost + self.won

    @property
    def accuracy_before(self) -> float:
        """Share of right answers of the first model."""
        return (self.kept_right + self.lost) / self.n

    @property
    def accuracy_after(self) -> float:
        """Share of right answers of the second model."""
        return (self.kept_right + self.won) / self.n


def mcnemar(lost: int, won: int) -> float:
    """Return the p-value of McNemar's exact two-sided test.

    Units: a probability.
    Errors: one rounding; the sum is in whole numbers.
    Raises: ValueError if a count is negative.
    """
    if min(lost, won) < 0:
        raise ValueError(f"Counts must not be negative: lost {lost}, won {won}.")
    m = lost + won
    tail = sum(math.comb(m, k) for k in range(min(lost, won) + 1))
    # With lost equal to won the two tails share the middle and pass 1.
    return min(1.0, 2 * tail / 2**m)


def flips(before: Tensor, after: Tensor) -> Flips:
    """Compare right and wrong answers of two models, question by question.

    Shapes: before, after (n,), bool: True where the answer is right.
    Raises: ValueError if they are not two rows of booleans of one length.
    """
    for name, answers in (("before", before), ("after", after)):
        if answers.dtype != torch.bool or answers.dim() != 1:
            raise ValueError(
                f"{name} must be one row of booleans, got {answers.dtype} of shape "
                f"{tuple(answers.shape)}; compare answers with the right ones first."
            )
    if len(before) != len(after) or len(before) == 0:
        raise ValueError(
            f"before has {len(before)} answers and after {len(after)}; give both "
            "models the same questions, at least one."
        )
    after = after.to(before.device)
    lost = int((before & ~after).sum())
    won = int((~before & after).sum())
    return Flips(
        n=len(before),
        kept_right=int((before & after).sum()),
        kept_wrong=int((~before & ~after).sum()),
        lost=lost,
        won=won,
        p_value=mcnemar(lost, won),
    )
