"""Blockwise quantization with a codebook: the codes of NF4 and FP4 weights.

Consecutive weights of the flattened tensor form blocks. Each block is divided by its
largest magnitude, `absmax`, and every weight becomes the code of the nearest value:

    code  = argmin_c |w / absmax - values[c]|
    w_hat = values[code] * absmax

A block may go over the end of a row; rows are not looked at. Codes and absmax are
those of bitsandbytes 0.50 on a processor, bit for bit, which takes two details:
w is multiplied by 1 / absmax, and a last block that is not full divides instead and
holds absmax above 0.

Source: dettmers2023qlora, section 3; dettmers2022optimizers, section 2.1.
Left out: packing (`packing`), and quantizing absmax itself (`double_quant`).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.formats import codebooks
from course_utils.formats.codebooks import Codebook
from course_utils.formats.codes import check_codes

PIECE = 2**16  # weights worked on at a time, which stay in the processor's cache
TINY = 1e-38  # what bitsandbytes divides by instead of 0


def _pieces(flat: Tensor, block_size: int) -> Iterator[Tensor]:
    """Yield (n, block_size) pieces of whole blocks; last, what is left as (1, n)."""
    full = flat.numel() // block_size * block_size
    blocks = flat[:full].reshape(-1, block_size)
    yield from blocks.split(max(1, PIECE // block_size))
    if full < flat.numel():
        yield flat[full:].reshape(1, -1)


def _check(block_size: int) -> None:
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}.")


def quantize(
    w: Tensor, codebook: Codebook, *, block_size: int = 64
) -> tuple[Tensor, Tensor]:
    """Return the codes of `w` and the largest magnitude of each block.

    Shapes: w (...) -> codes (...), uint8; absmax (ceil(n / block_size),), float32.
    Units: absmax in units of w.
    Errors: |w - w_hat| is at most half the widest gap of the codebook times absmax, up
        to float32 rounding, in blocks whose absmax is 0 or at least 1e-38.
    Raises: ValueError on NaN or infinity, or on a block size below 1.
    Source: dettmers2023qlora, eq. 1. Differs from it in: a codebook, not integers.
    """
    _check(block_size)
    codes = torch.empty(w.numel(), dtype=torch.uint8, device=w.device)
    absmax, start = [], 0
    for piece in _pieces(w.reshape(-1), block_size):
        blocks = piece.float()
        largest = blocks.abs().amax(dim=-1, keepdim=True)
        if blocks.shape[1] == block_size:
            scaled = blocks * (1 / largest.clamp(min=TINY))
        else:
            largest = largest.clamp(min=TINY)
            scaled = blocks / largest
        stop = start + blocks.numel()
        codes[start:stop] = codebooks.nearest(scaled, codebook).reshape(-1)
        absmax.append(largest.reshape(-1))
        start = stop
    absmax = torch.cat(absmax)
    # The largest magnitude of a block with NaN is NaN, so this sees every weight.
    if not torch.isfinite(absmax).all():
        raise ValueError("The weights hold NaN or infinity; no scale covers them.")
    return codes.reshape(w.shape), absmax


def dequantize(
    codes: Tensor, absmax: Tensor, codebook: Codebook, *, block_size: int = 64
) -> Tensor:
    """Return the weights that the codes stand for.

    Shapes: codes (...), absmax (ceil(n / block_size),) -> w_hat (...), float32.
    Raises: ValueError if the number of blocks and of absmax values differ, on a code
        beyond the codebook, or on a block size below 1.
    """
    _check(block_size)
    # Bytes need only their largest looked at; a copy in int64 would be 8 times as big.
    top = 2**codebook.bits - 1
    if codes.dtype != torch.uint8 or (codes.numel() and codes.max() > top):
        codes = check_codes(codes, codebook.bits, codebook.name)
    n_blocks = -(-codes.numel() // block_size)
    if absmax.numel() != n_blocks:
        raise ValueError(
            f"{codes.numel()} codes are {n_blocks} blocks of {block_size}, but there "
            f"are {absmax.numel()} absmax values; use the block_size of quantize."
        )
    values = torch.tensor(codebook.values, device=codes.device)
    w_hat = torch.empty(codes.numel(), device=codes.device)
    scales = absmax.float().reshape(-1, 1)
    start = block = 0
    for piece in _pieces(codes.reshape(-1), block_size):
        stop, end = start + piece.numel(), block + len(piece)
        rebuilt = values[piece.to(torch.int32)] * scales[block:end]
        w_hat[start:stop] = rebuilt.reshape(-1)
        start, block = stop, end
    return w_hat.reshape(codes.shape)
