"""Expressions and texts of exam items: Python over the formats of the book."""

import math

import numpy as np
import torch

from course_utils.exam import toolbox


class ItemError(ValueError):
    """An item that cannot be read; the message names the item and says what to do."""


def evaluate(expression: str, names: dict[str, object]) -> object:
    """Return the value of an expression over the formats and the item's names.

    Raises: ItemError that shows the expression.
    """
    known = {"math": math, "np": np, "torch": torch, **vars(toolbox), **names}
    try:
        return eval(str(expression), known)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise ItemError(f"the expression {expression!r} fails with {said}.") from error


def fill(text: str, names: dict[str, object]) -> str:
    """Put values into a text and return it.

    Raises: ItemError that shows the text.
    """
    try:
        return text.format_map(names).strip()
    except Exception as error:
        raise ItemError(
            f"cannot fill {text!r} ({type(error).__name__} {error})."
        ) from error
