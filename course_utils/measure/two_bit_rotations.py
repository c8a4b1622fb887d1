"""Two-bit weights in their own basis and in two rotated ones.

    W' = U^T W V,   H' = V^T H V,   W_hat = U round(W') V^T

U mixes the outputs and V the inputs; the layer's output error is that of W_hat on the
old inputs. The numbers of W' are said to be incoherent when the largest of them is
small beside their root mean square: then an evenly spaced grid has a small step.

Left out: a fast product with U and V when the model runs. Chapter 14 folds V into the
layers before, where it costs nothing.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from course_utils.formats.affine import QuantSpec
from course_utils.methods import gptq, rtn
from course_utils.methods.rotation import (
    peak,
    random_orthogonal,
    randomized_hadamard,
)
from course_utils.methods.statistics import LayerStats

SPEC = QuantSpec(2, group_size=64)
SEEDS = {"outputs": 0, "inputs": 1}


def bases(rows: int, cols: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return U and V of each basis.

    Shapes: U (rows, rows), V (cols, cols).
    """
    found = {"own": (torch.eye(rows), torch.eye(cols))}
    for kind, make in (
        ("orthogonal", random_orthogonal),
        ("hadamard", randomized_hadamard),
    ):
        found[kind] = (
            make(rows, seed=SEEDS["outputs"]),
            make(cols, seed=SEEDS["inputs"]),
        )
    return found


def rounded(w: Tensor, stats: LayerStats) -> Iterator[tuple[str, str, Tensor, float]]:
    """Yield basis, method, the weights rounded there and turned back, and the peak.

    The peak is max |w'| over the root mean square of all weights in that basis.

    Shapes: w (rows, cols); the weights as w.
    """
    for kind, (U, V) in bases(*w.shape).items():
        turned = U.T @ w @ V
        H = V.T @ stats.second_moment @ V
        turned_stats = replace(stats, second_moment=(H + H.T) / 2)
        for method, quantize in (("rtn", rtn.quantize), ("gptq", gptq.quantize)):
            t = quantize(turned, turned_stats, spec=SPEC)
            w_hat = U @ t.dequantize() @ V.T
            yield kind, method, w_hat, float(peak(turned.flatten()))
