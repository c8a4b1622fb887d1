"""Are two answers the same, up to the order of sums?

Numbers may differ by a share of the largest of their array. The share is far above
what another order of float32 sums gives (about 1e-6 for a few hundred terms), and far
below what a different method gives.
"""

from typing import Any

import numpy as np

SHARE = 1e-4
SCALARS = (bool, int, float, np.generic)


def same(got: Any, want: Any) -> bool:
    """Return whether two answers are equal in kind, shape and value."""
    if want is None or isinstance(want, (str, bytes)):
        return type(got) is type(want) and got == want
    if isinstance(want, dict):
        return (
            isinstance(got, dict)
            and got.keys() == want.keys()
            and all(same(got[k], v) for k, v in want.items())
        )
    if isinstance(want, (list, tuple)) and not _flat(want):
        return (
            isinstance(got, (list, tuple))
            and len(got) == len(want)
            and all(same(g, w) for g, w in zip(got, want, strict=True))
        )
    return _close(got, want)


def _flat(value: list | tuple) -> bool:
    """Return whether a list holds plain numbers only."""
    return bool(value) and all(isinstance(v, SCALARS) for v in value)


def _close(got: Any, want: Any) -> bool:
    """Compare numbers, arrays, tensors and lists of numbers."""
    try:
        have, need = _numbers(got), _numbers(want)
    except (TypeError, ValueError):
        return False
    if have.shape != need.shape:
        return False
    finite = np.isfinite(need)
    if not np.array_equal(have[~finite], need[~finite], equal_nan=True):
        return False
    largest = np.abs(need[finite]).max(initial=0.0)
    return bool((np.abs(have[finite] - need[finite]) <= SHARE * largest).all())


def _numbers(value: Any) -> np.ndarray:
    """Return numbers as float64. Raises: TypeError for anything else."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.double().numpy() if value.is_floating_point() else value.numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"no numbers: {type(value).__name__}.")
    return array.astype(np.float64)
