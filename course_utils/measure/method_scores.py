"""What is said of one quantized model, and of two.

    read      log-likelihoods, KL, which top words agree, which are right
    values    of one method: size, time, and quality with intervals
    pairs     which methods the text cannot tell apart

Top words are compared position by position, so agreement has an interval too, and
right answers that were lost or won can be counted: the model's top word is right if it
is the text's next word.
"""

from itertools import combinations, pairwise

import torch
from torch import Tensor

from course_utils.measure import comparison, records
from course_utils.measure.agreement import Logits, logits_of
from course_utils.measure.comparison import Baseline
from course_utils.measure.flips import flips
from course_utils.measure.intervals import Interval, interval, paired_interval
from course_utils.measure.method_runs import Made
from course_utils.measure.perplexity import perplexity_of
from course_utils.measure.task import Json, Results
from course_utils.measure.whole_model import BLOCK, ratio


def read(baseline: Baseline, made: Made) -> Json:
    """Return what a model makes of the text, position by position.

    Top words are packed as text, one digit a position, since JSON has no booleans
    that are short: `same` is 1 where the baseline's top word is kept, `right` is 1
    where the top word is the text's next word.
    """
    if isinstance(made.logits, torch.nn.Module):
        function = logits_of(made.logits)
    else:
        function = made.logits
    tops: list[Tensor] = []

    def watched(window: Tensor) -> Tensor:
        logits = function(window)
        tops.append(logits.argmax(dim=1).cpu())
        return logits

    found = comparison.compare(baseline, watched)
    before = [logits.argmax(dim=1) for logits in baseline.logits]
    nexts = [window[1:].cpu() for window in baseline.windows]
    same = torch.cat([a == b for a, b in zip(tops, before, strict=True)])
    right = torch.cat([a[:-1] == b for a, b in zip(tops, nexts, strict=True)])
    return {
        "log_likelihoods": [float(f"{x:.7g}") for x in found.log_likelihoods.tolist()],
        "kl": found.kl,
        "same": _packed(same),
        "right": _packed(right),
        "bits": made.bits,
        "bytes": made.n_bytes,
        "seconds": made.seconds,
    }


def of_itself(baseline: Baseline) -> Logits:
    """Return a function that gives the baseline's own logits again."""
    kept = iter(baseline.logits)
    return lambda _window: next(kept)


def _packed(answers: Tensor) -> str:
    return "".join("01"[int(x)] for x in answers)


def _answers(packed: str) -> Tensor:
    return torch.tensor([x == "1" for x in packed])


def _scores(found: Json) -> Tensor:
    return torch.tensor(found["log_likelihoods"], dtype=torch.float64)


def _rounded(x: float) -> float:
    return float(f"{x:.6g}")


def _value(found: Interval, n: int) -> records.Value:
    low, mean, high = (_rounded(x) for x in (found.low, found.mean, found.high))
    spread = records.Spread(low=low, high=high, kind="95% interval")
    return records.Value(value=mean, unit="", n=n, spread=spread)


def values(key: str, found: Json, base: Json) -> dict[str, records.Value]:
    """Return the values of one method, `KEY_what`."""
    scores, same = _scores(found), _answers(found["same"])
    moved = flips(_answers(base["right"]), _answers(found["right"]))
    n = len(scores)
    values = {
        "bits": records.exact(_rounded(found["bits"]), "bits"),
        "bytes": records.exact(found["bytes"], "B"),
        "seconds": records.exact(_rounded(found["seconds"]), "s"),
        "ppl": records.exact(_rounded(perplexity_of(scores)), "", n=n),
        "ratio": ratio(_scores(base), scores),
        "kl": records.exact(_rounded(found["kl"]), "nats", n=len(same)),
        "top1": _value(interval(same.double(), block=BLOCK), len(same)),
        "accuracy": records.exact(_rounded(moved.accuracy_after), "", n=n),
        "lost": records.exact(moved.lost, "", n=n),
        "won": records.exact(moved.won, "", n=n),
    }
    for rate, runs in (found.get("rates") or {}).items():
        values[rate] = records.repeated(runs, "tok/s")
    return {f"{key}_{what}": value for what, value in values.items()}


def pairs(results: Results, *, short: int) -> dict[str, records.Value]:
    """Return how often two methods cannot be told apart, on all tokens and on few.

    A pair cannot be told apart if the paired interval of their log ratio holds 0.
    `reversed` counts pairs whose order on the first `short` tokens is the other one.
    `KEY_next` is the ratio of the perplexities of the next method in the order of
    perplexity and of this one.
    """
    scores = {key: _scores(found) for key, found in results.items()}
    both = list(combinations(scores.values(), 2))
    apart = sum(_order(a, b) == 0 for a, b in both)
    few = [(a[:short], b[:short]) for a, b in both]
    apart_short = sum(_order(a, b) == 0 for a, b in few)
    turned = sum(
        (a.mean() - b.mean()) * (x.mean() - y.mean()) < 0
        for (a, b), (x, y) in zip(both, few, strict=True)
    )
    n = len(both)
    values = {
        "pairs_all": records.exact(n, ""),
        "pairs_alike": records.exact(apart, "", n=n),
        "pairs_alike_short": records.exact(apart_short, "", n=n),
        "pairs_reversed_short": records.exact(int(turned), "", n=n),
    }
    ordered = sorted(scores, key=lambda key: -scores[key].mean().item())
    for first, second in pairwise(ordered):
        values[f"{first}_next"] = ratio(scores[first], scores[second])
    for key, x in scores.items():
        values[f"{key}_short"] = records.exact(
            _rounded(perplexity_of(x[:short])), "", n=short
        )
    return values


def _order(a: Tensor, b: Tensor) -> int:
    """Return 1 if `a` is likelier, -1 if `b` is, 0 if the text cannot tell."""
    found = paired_interval(a, b, block=BLOCK)
    if found.holds(0.0):
        return 0
    return 1 if found.mean > 0 else -1
