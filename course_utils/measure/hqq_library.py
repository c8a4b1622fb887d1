"""Our HQQ beside the library `hqq`: the objective on the same weights, and the time.

Left out: storing its scales and zero points in 8 bits, which the library can.
"""

import time

import torch
from torch import Tensor

from course_utils.formats.affine import QuantSpec
from course_utils.measure.quantizer_pairs import library
from course_utils.methods import hqq


def objectives(w: Tensor, w_hat: Tensor) -> tuple[float, float]:
    """Return the sums of |w - w_hat| and of |w - w_hat|^0.7."""
    error = (w - w_hat).abs()
    return error.double().sum().item(), error.pow(0.7).double().sum().item()


def library_rebuilt(w: Tensor, *, bits: int, group_size: int) -> Tensor:
    """Return what the library `hqq` makes of `w`: groups along a row.

    Shapes: w (rows, cols) -> (rows, cols).
    """
    quantizer = library("hqq.core.quantize").Quantizer
    q, meta = quantizer.quantize(
        w, nbits=bits, group_size=group_size, axis=1, device="cpu", bitpack=False
    )
    return ((q - meta["zero"]) * meta["scale"]).reshape(w.shape)


def compared(weights: list[Tensor], *, bits: int, group_size: int) -> dict[str, float]:
    """Return our objectives over the library's, and the seconds of both."""
    spec = QuantSpec(bits, group_size=group_size)
    sums, seconds = torch.zeros(2, 2, dtype=torch.float64), [0.0, 0.0]
    quantize = (
        lambda w: hqq.quantize(w, spec=spec).dequantize(),
        lambda w: library_rebuilt(w, bits=bits, group_size=group_size),
    )
    for w in weights:
        for who, function in enumerate(quantize):
            start = time.perf_counter()
            w_hat = function(w)
            seconds[who] += time.perf_counter() - start
            sums[who] += torch.tensor(objectives(w, w_hat), dtype=torch.float64)
    l1, lp = (sums[0] / sums[1]).tolist()
    n = sum(w.numel() for w in weights)
    return {"n": n, "l1": l1, "lp": lp, "ours": seconds[0], "library": seconds[1]}
