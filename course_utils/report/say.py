"""Sentences whose numbers are computed.

`say` shows a sentence and `claim` shows a statement that a condition decides. Both
take every number as a named value, so no number in the text can outlive the run
that made it.
"""

import re
from collections.abc import Mapping
from string import Formatter

import numpy as np

from course_utils.report.facts import MISSING
from course_utils.report.publish import publish
from course_utils.report.units import typed_number


def say(template: str, /, **values: object) -> None:
    """Show `template` with its placeholders filled in, as Markdown.

    Args:
        template: A sentence with placeholders as in `str.format`. Every placeholder
            of a float names its format: "perplexity {ppl:.2f}".
        **values: One value per placeholder, by name.

    Raises:
        ValueError: If a placeholder has no value, a value has no placeholder, a
            float has no format, or a number with a unit is typed in the text.
    """
    _refuse_unused(values, fields(template))
    _publish_sentence(fill(template, values), None)


def claim(text: str, holds: object, *, otherwise: str, **values: object) -> None:
    """Show `text` if the claim holds and `otherwise` if it does not.

    The truth is kept in the output's metadata, where a test can read it.

    Args:
        text: The claim, a template as in `say`.
        holds: The comparison that decides it, for example `ppl2 > 10 * ppl8`.
        otherwise: What is true instead, a template as in `say`.
        **values: One value per placeholder of either text.

    Raises:
        ValueError: As for `say`, or if `holds` is not a truth value.
    """
    truth = _truth(holds)
    _refuse_unused(values, fields(text) | fields(otherwise))
    # Both are filled, so that a mistake in the branch not taken shows today.
    sentences = {True: fill(text, values), False: fill(otherwise, values)}
    _publish_sentence(sentences[truth], {"fewer_bits": {"claim": truth}})


def fields(template: str) -> set[str]:
    """Return the names that the placeholders of `template` ask for."""
    names: set[str] = set()
    for _, field, spec, _ in Formatter().parse(template):
        if field is None:
            continue
        name = re.split(r"[.\[]", field, maxsplit=1)[0]
        if not name.isidentifier():
            raise ValueError(
                f"A placeholder of {template!r} has no name; write {{name:.2f}} and "
                "pass name=value."
            )
        names |= {name} | fields(spec or "")
    return names


def fill(template: str, values: Mapping[str, object]) -> str:
    """Return `template` with its placeholders replaced by formatted values."""
    # A digit before a placeholder belongs to the text, so the seam must not join.
    typed = typed_number("\0".join(p[0] for p in Formatter().parse(template)))
    if typed:
        raise ValueError(
            f"{typed!r} is typed in {template!r}; pass the number as a value, "
            "{name:.1f}, so that it comes from a computation."
        )
    for name in sorted(fields(template) - set(values)):
        raise ValueError(f"{{{name}}} has no value; pass {name}=value.")
    return _tidy(_Strict().vformat(template, (), values))


class _Strict(Formatter):
    """A formatter that refuses a float without a format."""

    def format_field(self, value: object, format_spec: str) -> str:
        if isinstance(value, (float, np.floating)) and not format_spec:
            raise ValueError(
                f"The value {value} has no format; write how many digits are shown, "
                "for example {name:.2f}."
            )
        return super().format_field(value, format_spec)


def _tidy(sentence: str) -> str:
    """Close the gap that the empty unit of an unmeasured fact leaves."""
    return re.sub(rf"{MISSING} +(?=[.,;:) ]|$)", MISSING, sentence)


def _refuse_unused(values: Mapping[str, object], used: set[str]) -> None:
    """Raise if a value was passed that no placeholder shows."""
    for name in sorted(set(values) - used):
        raise ValueError(
            f"{name} is passed but never shown; add {{{name}}} or drop it."
        )


def _truth(holds: object) -> bool:
    """Return `holds` as a bool; a number or a list is a mistake."""
    dtype = str(getattr(holds, "dtype", type(holds).__name__))
    if dtype not in ("bool", "torch.bool") or getattr(holds, "ndim", 0):
        raise ValueError(
            f"claim takes one truth value, such as ppl2 > ppl8; got {holds!r}."
        )
    return bool(holds)


def _publish_sentence(sentence: str, metadata: dict[str, dict] | None) -> None:
    publish({"text/markdown": sentence, "text/plain": sentence}, metadata)
