"""Find measured numbers that were typed into prose.

A number with a unit is a measurement, and a measurement needs a source: a cell that
computes it, a record, or a citation on the same line. The units are those that `say`
refuses too (`report.units`).

What is not a measurement passes:

    code, maths, link targets   `4 GB`, $2^{30}$ bytes: notation
    8 bits, 4-bit, 2 bytes      an integer from 1 to 32 names a setting or a width;
                                4.5 bits is an average and needs a source
    16 × 16                     a product or a shape, not a ratio
    20 minutes                  a plan for the reader, not a result
    a line with [@key]          the number is the cited one

Left out: numbers in words ("four times"), and numbers without a unit.
"""

import re

from course_utils.authoring.cite import CITATION
from course_utils.authoring.prose import mask
from course_utils.report.units import LETTERS, UNITS, is_width

PLANS = {"minutes"}
MORE_UNITS = ("percent", "KiB/s", "MB/s", "GiB/s", "MiB/s", "s/it", "it/s")

_UNITS = sorted((set(UNITS) | set(MORE_UNITS)) - PLANS, key=len, reverse=True)
_GAP = "[ \u00a0\u2009\u202f-]"
_MEASURED = re.compile(
    r"(?<![\w.])(?P<number>\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)"
    rf"(?:{_GAP}?(?P<unit>{'|'.join(map(re.escape, _UNITS))})"
    rf"|{_GAP}(?:{'|'.join(LETTERS)})|x)(?!\w)"
)
_PRODUCT = re.compile(r"\s*\d")


def typed_numbers(text: str) -> list[tuple[int, str]]:
    """Return (line from 0, number with unit) for each measurement without a source."""
    prose, lines = mask(text), text.splitlines()
    found = []
    for match in _MEASURED.finditer(prose):
        line = prose.count("\n", 0, match.start())
        cited = CITATION.search(lines[line])
        if not cited and not _is_setting(match, prose):
            found.append((line, match.group()))
    return found


def _is_setting(match: re.Match, prose: str) -> bool:
    """Return True for a width and for a product: neither is measured."""
    number, unit = match["number"], match["unit"]
    if unit == "\u00d7" and _PRODUCT.match(prose, match.end()):
        return True
    return is_width(number, unit)
