"""The AWQ checkpoint layout: what AutoAWQ wrote for a layer ("gemm", 4 bits).

A layer with `cols` inputs and `rows` outputs becomes three tensors:

    qweight  (cols, rows / 8)      int32    eight outputs of one input in a word
    qzeros   (n_groups, rows / 8)  int32    zero points, in the same order
    scales   (n_groups, rows)      float16

    w_hat[r, c] = scales[g, r] * (code[c, r] - zero[g, r]),    g = c // group_size

Within a word the outputs are not in sequence. From the lowest four bits up, a word
holds outputs 0, 2, 4, 6, 1, 3, 5, 7 of its eight, an order that suits one way of
turning four-bit codes into pairs of float16 on a GPU. Read in sequence, six of eight
outputs get a neighbour's weights, and no shape betrays it.

Zero points are stored as they are, and groups are in order: no `g_idx`, no version 1.

Source: AutoAWQ 0.2.9, by its files. Left out: the "gemv" and "marlin" orders.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.formats.affine import QuantSpec
from course_utils.formats.gptq_layout import check_scales, unsigned
from course_utils.formats.qtensor import QTensor
from course_utils.formats.words import pack_words, unpack_words

BITS = 4
PER_WORD = 8
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # position in the word, lowest bits first -> output


@dataclass(frozen=True)
class AwqTensors:
    """The three tensors of a layer; the module's docstring has their shapes."""

    qweight: Tensor
    qzeros: Tensor
    scales: Tensor


def pack(quantized: QTensor) -> AwqTensors:
    """Return a quantized matrix in the AWQ layout.

    Errors: codes and zero points exactly; scales are rounded to float16.
    Raises: ValueError if bits, order of columns or number of rows have no place in it.
    """
    spec, rows = quantized.spec, len(quantized.q)
    if spec.bits != BITS:
        raise ValueError(f"The AWQ layout has 4 bits, got {spec.bits}.")
    if rows % PER_WORD:
        raise ValueError(f"The AWQ layout packs 8 rows in a word; got {rows} rows.")
    if quantized.group_of is not None:
        raise ValueError(
            "The AWQ layout has no g_idx, so its groups are in order; quantize without "
            "act_order or write the GPTQ layout."
        )
    q, zero, scales = unsigned(quantized)
    return AwqTensors(_interleaved(q), _interleaved(zero), scales)


def unpack(tensors: AwqTensors) -> QTensor:
    """Return the quantized matrix that three tensors hold.

    Raises: ValueError if the tensors do not fit each other, or are damaged.
    """
    _check_shapes(tensors)
    check_scales(tensors.scales)
    group_size = len(tensors.qweight) // len(tensors.qzeros)
    return QTensor(
        q=_in_sequence(tensors.qweight),
        scale=tensors.scales.T.float()[..., None].contiguous(),
        zero_point=_in_sequence(tensors.qzeros)[..., None].to(torch.int32),
        spec=QuantSpec(bits=BITS, group_size=group_size),
    )


def _interleaved(codes: Tensor) -> Tensor:
    """Pack codes (rows, n) into words (n, rows / 8)."""
    ordered = codes.reshape(-1, PER_WORD, codes.shape[1])[:, list(ORDER)]
    return pack_words(ordered.reshape(codes.shape), BITS).T.contiguous()


def _in_sequence(words: Tensor) -> Tensor:
    """Unpack words (n, rows / 8) into codes (rows, n)."""
    n, columns = words.shape
    codes = unpack_words(words.T, BITS, columns * PER_WORD)
    place = torch.tensor(ORDER).argsort()  # output -> position in the word
    return codes.reshape(-1, PER_WORD, n)[:, place].reshape(-1, n)


def _check_shapes(tensors: AwqTensors) -> None:
    """Raise ValueError unless three tensors have the shapes of one layer."""
    qweight, qzeros, scales = tensors.qweight, tensors.qzeros, tensors.scales
    fits = qweight.ndim == qzeros.ndim == scales.ndim == 2 and scales.numel() > 0
    fits = fits and (
        qweight.shape[1] == qzeros.shape[1] == scales.shape[1] / PER_WORD
        and len(qzeros) == len(scales)
        and len(qweight) > 0
        and len(qweight) % len(qzeros) == 0
    )
    if not fits:
        raise ValueError(
            f"qweight {tuple(qweight.shape)}, qzeros {tuple(qzeros.shape)} and scales "
            f"{tuple(scales.shape)} do not belong to one layer in the AWQ layout."
        )
