"""From the steps of `awq` and `awq-library` to the values of their records."""

from collections.abc import Sequence

import torch
from torch import Tensor

from course_utils.measure import records
from course_utils.measure.intervals import Interval, paired_interval
from course_utils.measure.perplexity import perplexity_of
from course_utils.measure.task import Json, Results

BLOCK = 64  # tokens
N_GRID = 20  # exponents
Numbers = dict[str, Json]  # "scores": log-likelihoods; "kl"; "top1"


def quality(
    results: Results, *, bits: Sequence[int], kept: Sequence[str]
) -> dict[str, records.Value]:
    """Return the values of the record `awq`.

    Keys: `rtn4_ppl`, `awq4_ppl`, `awq4_over_rtn4` (ratio of perplexities), `awq4_kl`,
    `awq4_top1`, the same for 3 bits; `kept_inputs_ppl` and its ratio to plain rounding.
    """
    base = results["itself"]
    found = {"base_ppl": perplexity_value(base)}
    for b in bits:
        plain, scaled = results[f"rtn{b}"], results[f"awq{b}"]
        found |= _quality(f"rtn{b}", plain, base) | _quality(f"awq{b}", scaled, base)
        found[f"awq{b}_over_rtn{b}"] = _ratio(scaled, plain)
        found[f"awq{b}_alpha"] = records.repeated(scaled["alphas"], "")
    for by in kept:
        found[f"kept_{by}_ppl"] = perplexity_value(results[f"keep {by}"])
        found[f"kept_{by}_over_rtn3"] = _ratio(results[f"keep {by}"], results["rtn3"])
    return found


def scores(numbers: Numbers) -> Tensor:
    """Return the log-likelihoods of a step."""
    return torch.tensor(numbers["scores"], dtype=torch.float64)


def perplexity_value(numbers: Numbers) -> records.Value:
    """Return the perplexity of a step."""
    found = scores(numbers)
    return records.exact(perplexity_of(found), "", n=len(found))


def _quality(key: str, numbers: Numbers, base: Numbers) -> dict[str, records.Value]:
    n = len(numbers["scores"])
    return {
        f"{key}_ppl": perplexity_value(numbers),
        f"{key}_over_base": _ratio(numbers, base),
        f"{key}_kl": records.exact(numbers["kl"], "nats", n=n),
        f"{key}_top1": records.exact(numbers["top1"], "", n=n),
    }


def _ratio(numbers: Numbers, base: Numbers) -> records.Value:
    """Return the ratio of perplexities, `numbers` over `base`, with its interval."""
    pair = paired_interval(scores(base), scores(numbers), block=BLOCK)
    return spread_value(pair.exp(), "")


def spread_value(found: Interval, unit: str) -> records.Value:
    """Return an interval as a value."""
    spread = records.Spread(low=found.low, high=found.high, kind="95% interval")
    return records.Value(value=found.mean, unit=unit, n=found.n, spread=spread)


def exponents(results: Results, start: str, who: str) -> list[int]:
    """Return the exponents that "ours" or "theirs" found, as numbers of the grid.

    `start` is how the names of the steps begin, before the layers.
    """
    parts = [v for k, v in results.items() if k.startswith(f"{start} layers ")]
    return [place for part in parts for place in part[who].values()]


def against_library(results: Results, *, draws: int) -> dict[str, records.Value]:
    """Return the values of the record `awq-library`.

    `draw0_difference` is the mean of log p by the library minus log p by us: the log
    of our perplexity over theirs.
    """
    found, same, down = {}, [], []
    for draw in range(draws):
        ours, theirs = (results[f"draw {draw} {who}"] for who in ("ours", "theirs"))
        pair = paired_interval(scores(theirs), scores(ours), block=BLOCK)
        found[f"draw{draw}_difference"] = spread_value(pair, "nats")
        found[f"draw{draw}_ours_ppl"] = perplexity_value(ours)
        found[f"draw{draw}_library_ppl"] = perplexity_value(theirs)
    parts = [v for k, v in results.items() if " layers " in k]
    for part in parts:
        for name, place in part["ours"].items():
            same.append(place == part["theirs"][name])
            if name.endswith("up_proj"):
                down.append(same[-1])
    ratios = [part["seconds"] / part["library_seconds"] for part in parts]
    return found | {
        "same_alpha": records.exact(sum(same), "", n=len(same)),
        "same_alpha_down": records.exact(sum(down), "", n=len(down)),
        "largest_factor_difference": records.exact(
            max(p["largest"] for p in parts), ""
        ),
        "library_codes_different": records.exact(
            sum(p["different"] for p in parts), "", n=sum(p["codes"] for p in parts)
        ),
        "ours_seconds": records.repeated([p["seconds"] for p in parts], "s"),
        "library_seconds": records.repeated([p["library_seconds"] for p in parts], "s"),
        "speed_ratio": records.repeated(ratios, ""),
    }
