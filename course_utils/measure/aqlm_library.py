"""Our additive codebooks in the layer of the library `aqlm`, run by its kernel.

The kernel of aqlm 1.1.7 for 8-bit codes on a processor lets several threads add to the
same outputs. With one thread it is right; with more it loses sums now and then.

Left out: its kernels for GPUs, and codebooks of other than 256 vectors, which it
decodes by torch.
"""

import torch
from torch import Tensor

from course_utils.measure.quantizer_pairs import library
from course_utils.methods.additive import AdditiveTensor


def output(found: AdditiveTensor, x: Tensor, *, threads: int = 1) -> Tensor:
    """Return what the library's layer with these codes gives for `x`.

    Args:
        found: Codes of 8 bits.
        x: Inputs of the layer.
        threads: Of the kernel; at most those that numba was started with are used.

    Shapes: x (n, cols) -> (n, rows).
    Raises: ValueError if the library is not installed.
    """
    rows, n_groups, n_codebooks = found.codes.shape
    g = found.codebooks.shape[-1]
    layer = library("aqlm").QuantizedLinear(
        in_features=n_groups * g,
        out_features=rows,
        in_group_size=g,
        out_group_size=1,
        num_codebooks=n_codebooks,
        nbits_per_codebook=8,
        bias=False,
    )
    # A copy: the layer turns its codes around, in place, when it is first called.
    layer.codes.data = found.codes.clone().view(torch.int8)
    layer.codebooks.data = found.codebooks[:, :, None, :].contiguous()
    layer.scales.data = found.scale[:, :, None, None].contiguous()
    numba = library("numba")
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    try:
        with torch.no_grad():
            return layer(x)
    finally:
        numba.set_num_threads(before)


def decoded(found: AdditiveTensor) -> Tensor:
    """Return the weights as the kernel sees them: its outputs for single inputs of 1.

    Shapes: (rows, cols).
    """
    cols = found.codes.shape[1] * found.codebooks.shape[-1]
    return output(found, torch.eye(cols)).T


def race(found: AdditiveTensor, calls: int) -> float:
    """Return the largest relative error of the output in so many calls of 2 threads."""
    random = torch.Generator().manual_seed(0)
    cols = found.codes.shape[1] * found.codebooks.shape[-1]
    x = torch.randn(32, cols, generator=random)
    right = x @ found.dequantize().T
    outputs = (output(found, x, threads=2) for _ in range(calls))
    return max(float((y - right).norm() / right.norm()) for y in outputs)
