"""How sure a mean over tokens is: 95 % intervals over blocks of text.

Tokens that stand near each other are not independent: a hard passage is hard for many
tokens in a row. So the text is cut into blocks of `block` values, and the spread is
taken between blocks. With block sums S_i of m_i values, N values in n blocks:

    mean           = sum(S_i) / N
    standard error = sqrt(n / (n - 1) * sum((S_i - mean * m_i)^2)) / N
    interval       = mean -+ t * standard error

t is the 97.5 % quantile of Student's distribution with n - 1 degrees of freedom.

The paired interval is that of the difference a - b, value by value. Both models read
the same text, so what makes a passage hard cancels, and the interval is far
narrower than those of the two means. If a holds the log-likelihoods of the baseline
and b those of another model, exp of the difference is the ratio of perplexities:

    exp(mean(a - b)) = perplexity(b) / perplexity(a)

Left out: intervals for other texts. These hold for text like the one measured.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval.

    Attributes:
        mean: Over all values.
        low: Lower end.
        high: Upper end.
        n: Blocks that the interval rests on.
    """

    mean: float
    low: float
    high: float
    n: int

    def holds(self, value: float) -> bool:
        """Return True if `value` lies in the interval, its ends included."""
        return self.low <= value <= self.high

    def exp(self) -> "Interval":
        """Return the interval of exp: of a ratio, where this is of a log ratio.

        Above the log of the largest float, 709.78, exp is infinity.
        """
        return Interval(_exp(self.mean), _exp(self.low), _exp(self.high), self.n)


def _exp(x: float) -> float:
    """Return exp(x), and infinity where no float is large enough."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _student_within(t: float, df: int) -> float:
    """Return the probability that Student's variable lies between -t and t.

    The finite sums for a whole number of degrees of freedom: with angle = atan(t /
    sqrt(df)), powers of its cosine, every second one, each term from the one before.
    """
    angle = math.atan(t / math.sqrt(df))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = df % 2
    term = cosine if odd else 1.0
    total = 0.0
    for power in range(odd, df - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _first_above(target: float, rising: Callable[[float], float]) -> float:
    """Return where `rising` reaches `target` above 0, to the last bit."""
    low, high = 0.0, 1.0
    while rising(high) < target:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return high


@cache
def student_t(df: int, *, confidence: float = CONFIDENCE) -> float:
    """Return t such that Student's variable lies within -t .. t with `confidence`.

    Raises: ValueError if df is not positive or confidence not between 0 and 1.
    """
    if df < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"Give at least 1 degree of freedom and a confidence between 0 and 1; "
            f"got {df} and {confidence}."
        )
    return _first_above(confidence, lambda t: _student_within(t, df))


def interval(a: Tensor, *, block: int) -> Interval:
    """Return mean and 95 % interval of `a`, its blocks taken as independent.

    A shorter block at the end counts with its own length, so that the mean is that of
    all values.

    Shapes: a (n,), in the order of the text.
    Units: those of a.
    Raises: ValueError if a is not a row of finite values that fills two blocks.
    """
    if a.dim() != 1 or not torch.isfinite(a).all():
        raise ValueError(
            f"Give one row of finite values; got shape {tuple(a.shape)} with "
            f"{int((~torch.isfinite(a)).sum())} that are NaN or infinite."
        )
    if block < 1 or len(a) <= block:
        raise ValueError(
            f"{len(a)} values do not fill two blocks of {block}; choose a block of 1 "
            f"to {max(1, len(a) - 1)}, or measure more text."
        )
    which = torch.arange(len(a), device=a.device) // block  # block of each value
    sizes = which.bincount()
    sums = torch.zeros_like(sizes, dtype=torch.float64)
    sums.index_add_(0, which, a.detach().double())
    n, mean = len(sizes), (sums.sum() / len(a)).item()
    squares = (sums - mean * sizes).square().sum().item()
    half = student_t(n - 1) * math.sqrt(n / (n - 1) * squares) / len(a)
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n)


def paired_interval(a: Tensor, b: Tensor, *, block: int) -> Interval:
    """Return mean and 95 % interval of a - b, value by value.

    For log-likelihoods of the same tokens, `paired_interval(baseline, other,
    block=64).exp()` is the ratio of perplexities, other over baseline.

    Shapes: a, b (n,), in the order of the text.
    Units: those of a and b.
    Raises: ValueError on different shapes, and as `interval` does.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"a has shape {tuple(a.shape)} and b {tuple(b.shape)}; a pair needs the "
            "same tokens."
        )
    return interval(a.double() - b.to(a.device).double(), block=block)
