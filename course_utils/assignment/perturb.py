"""Move the arguments of a call a little: other numbers, of the same kind.

float            times 1 + 0.2 u, with u uniform in [-1, 1]
array, tensor    of floats: each element so; a symmetric matrix stays symmetric
codes            arrays, tensors and lists of integers: in another order
bytes            others, as many
everything else  as it is: an integer argument is often a width or a size
"""

from typing import Any

import numpy as np
import torch

BY = 0.2


def perturbed(value: Any, rng: np.random.Generator, by: float = BY) -> Any:
    """Return an argument moved by a share `by`; codes are put in another order.

    With a tiny `by` the codes stay: this is how the stability of a case is tested.
    """
    shuffles = by >= BY
    if isinstance(value, float):
        value = value * (1 + by * rng.uniform(-1, 1))
    elif isinstance(value, bytes):
        value = rng.bytes(len(value)) if shuffles else value
    elif isinstance(value, dict):
        value = {key: perturbed(v, rng, by) for key, v in value.items()}
    elif isinstance(value, (list, tuple)):
        codes = isinstance(value, list) and all(type(v) is int for v in value)
        order = rng.permutation(len(value)) if codes and shuffles else range(len(value))
        value = type(value)(perturbed(value[i], rng, by) for i in order)
    elif isinstance(value, torch.Tensor):
        wide = value.detach().to(torch.float64) if value.is_floating_point() else value
        moved = torch.from_numpy(_array(wide.numpy(), rng, by, shuffles=shuffles))
        value = moved.to(value.dtype)
    elif isinstance(value, np.ndarray):
        value = _array(value, rng, by, shuffles=shuffles)
    return value


def _array(
    x: np.ndarray, rng: np.random.Generator, by: float, *, shuffles: bool
) -> np.ndarray:
    """Return an array moved, with its dtype."""
    if x.dtype.kind != "f":
        order = rng.permutation(x.size) if shuffles else np.arange(x.size)
        return x.reshape(-1)[order].reshape(x.shape)
    square = x.ndim == 2 and x.shape[0] == x.shape[1] and x.shape[0] > 1
    if square and np.array_equal(x, x.T):
        # D x D stays positive definite if x is.
        d = 1 + by / 2 * rng.uniform(-1, 1, x.shape[0])
        return (x * np.outer(d, d)).astype(x.dtype)
    return (x * (1 + by * rng.uniform(-1, 1, x.shape))).astype(x.dtype)
