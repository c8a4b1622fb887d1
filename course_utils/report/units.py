"""Find a measured-looking number that was typed instead of computed.

A digit followed by a unit is a measurement, and a measurement comes from a value.
Code between backticks and maths between dollar signs are left alone: `4 GB` there
is notation. So is a width, an integer from 1 to 32 before bits or bytes, as in "at 4
bits" or "a 4-bit model": it names a setting. "4.5 bits" is an average and measured.
"""

import re

UNITS = (
    *("\u00d7", "%", "GB", "GiB", "MB", "MiB", "kB", "KB", "KiB", "TB", "TiB"),
    *("bits", "bit", "bytes", "byte", "ns", "µs", "us", "ms", "seconds", "minutes"),
    *("tok/s", "tokens/s", "GB/s", "TB/s", "FLOP/s", "GFLOP/s", "TFLOP/s", "TOPS"),
    *("TFLOPS", "GFLOPS", "ppl", "dB", "GHz", "MHz", "nats"),
)
# One letter is a unit only after a space: "7 B" is a size, "7B" names a model.
LETTERS = ("B", "s", "W")
WIDTHS = {"bit", "bits", "byte", "bytes"}
MAX_WIDTH = 32

_UNIT = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
_NUMBER_WITH_UNIT = re.compile(
    rf"(?P<number>\d[\d.,]*)(?:\s?(?P<unit>{_UNIT})|\s(?:{'|'.join(LETTERS)}))(?![\w/-])"
)
_NOTATION = re.compile(r"`[^`]*`|\$[^$]*\$")


def typed_number(text: str) -> str | None:
    """Return the first measured-looking number that `text` spells out, or None."""
    for found in _NUMBER_WITH_UNIT.finditer(_NOTATION.sub(" ", text)):
        if not is_width(found["number"], found["unit"]):
            return found.group()
    return None


def is_width(number: str, unit: str | None) -> bool:
    """True where number and unit name a setting, such as 8 bits."""
    return unit in WIDTHS and number.isdigit() and 1 <= int(number) <= MAX_WIDTH
