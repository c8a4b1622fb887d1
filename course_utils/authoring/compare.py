"""Are two printed outputs the same, up to what another CPU may change?

The text between the numbers must be equal. A pair of numbers may differ by one unit
in the last printed place plus a thousandth of the value.

Why that much: matrix products in float32 are summed in an order that depends on the
processor. Over sums of some thousand terms the relative error is around 1e-4, and the
logits of a small model, a few units wide, differ by about as much; a perplexity is
the exponential of a mean of such differences, so a thousandth covers it with a factor
of ten. Rounding for print can add one unit in the last place. A wrong method moves a
number by per cents, not by thousandths.
"""

import re

RELATIVE = 1e-3
TEXTUAL = ("text/markdown", "text/html", "text/latex", "text/plain")
_NUMBER = re.compile(r"(?<![\w.])[-+\u2212]?\d+(?:,\d{3})*(?:\.\d+)?(?:[eE][+-]?\d+)?")


def difference(got: str, expected: str) -> str | None:
    """Return in words where two texts differ, or None if they agree."""
    if _NUMBER.sub("#", got) != _NUMBER.sub("#", expected):
        return (
            f"the text differs:\n  stored: {expected.strip()}\n  now:    {got.strip()}"
        )
    pairs = zip(_NUMBER.findall(got), _NUMBER.findall(expected), strict=True)
    for now, stored in pairs:
        if not close(now, stored):
            return f"{stored} became {now} in:\n  {got.strip()}"
    return None


def close(got: str, expected: str) -> bool:
    """Return True if two printed numbers agree, as the module describes."""
    a, b = _value(got), _value(expected)
    allowed = _last_place(expected) + RELATIVE * abs(b)
    # The sum of two decimals is not exact in binary; the last bit is no difference.
    return abs(a - b) <= allowed * (1 + 1e-9)


def outputs_difference(got: list[dict], expected: list[dict]) -> str | None:
    """Compare the texts of two lists of outputs; pictures and widgets are left out."""
    now, stored = _texts(got), _texts(expected)
    if [kind for kind, _ in now] != [kind for kind, _ in stored]:
        kinds = [[kind for kind, _ in texts] for texts in (stored, now)]
        return f"the outputs differ in kind: {kinds[0]} became {kinds[1]}"
    for (_, new), (_, old) in zip(now, stored, strict=True):
        if found := difference(new, old):
            return found
    return None


def _texts(outputs: list[dict]) -> list[tuple[str, str]]:
    """Return (kind, text) of each output, the richest text of each bundle."""
    texts = []
    for out in outputs:
        if out["output_type"] == "stream":
            texts.append((out["name"], out["text"]))
        elif out["output_type"] == "error":
            texts.append(("error", out["ename"]))
        elif kind := next((m for m in TEXTUAL if m in out["data"]), None):
            picture = any(mime.startswith("image/") for mime in out["data"])
            texts += [] if picture or _is_view(out) else [(kind, out["data"][kind])]
    return texts


def _is_view(out: dict) -> bool:
    return any("widget-view" in mime for mime in out["data"])


def _value(number: str) -> float:
    return float(number.replace(",", "").replace("\u2212", "-"))


def _last_place(number: str) -> float:
    """Return one unit in the last printed place."""
    digits, _, exponent = number.lower().partition("e")
    decimals = len(digits.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals)
