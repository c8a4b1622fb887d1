"""Numbers of a question drawn from a seed.

    draw:
      bits: [2, 3, 4, 8]                       one of a list
      tokens: {from: 512, to: 8192, step: 512}  one of a range, both ends included
    where: bits * tokens < 20000               draw again while this is false

The same question and seed give the same numbers on every machine: the draw is
Python's own generator seeded with a text.
"""

import random
from decimal import Decimal

from course_utils.exam.expressions import ItemError, evaluate

RANGE = {"from", "to", "step"}
FEWEST = 4
ATTEMPTS = 200


def values(spec: object, name: str) -> list:
    """Return what a name can be drawn as, in order.

    Raises: ItemError if that is no list or range of at least FEWEST values.
    """
    if isinstance(spec, dict) and set(spec) == RANGE:
        # In decimals, since 0.1 steps of a float do not end where they should.
        low, high, step = (Decimal(str(spec[key])) for key in ("from", "to", "step"))
        if step <= 0:
            raise ItemError(f"the step of {name} must be above 0, got {step}.")
        kind = int if all(x == int(x) for x in (low, step)) else float
        found = [kind(low + i * step) for i in range(int((high - low) / step) + 1)]
    elif isinstance(spec, list):
        found = spec
    else:
        raise ItemError(f"draw {name} from a list, or from {sorted(RANGE)}.")
    return found


def drawn(raw: dict, seed: int) -> dict[str, object]:
    """Return the values of a question's `draw` for one seed.

    Raises: ItemError if fewer than FEWEST draws exist, or none suits `where`.
    """
    pools = {name: values(spec, name) for name, spec in raw["draw"].items()}
    count = 1
    for pool in pools.values():
        count *= len(pool)
    if count < FEWEST:
        raise ItemError(f"only {count} draws are possible; allow at least {FEWEST}.")
    generator = random.Random(f"{raw['id']}/{seed}")
    for _ in range(ATTEMPTS):
        found = {name: generator.choice(pool) for name, pool in pools.items()}
        if evaluate(raw.get("where", "True"), dict(found)):
            return found
    raise ItemError(f"no draw of {ATTEMPTS} suits {raw['where']!r}.")
