"""The GPTQ checkpoint layout: what AutoGPTQ wrote and GPT-QModel writes for a layer.

A layer with `cols` inputs and `rows` outputs becomes four tensors:

    qweight  (cols * bits / 32, rows)      int32  codes, packed down the inputs
    qzeros   (n_groups, rows * bits / 32)  int32  zero points, packed along the outputs
    scales   (n_groups, rows)              float16
    g_idx    (cols,)                       int32  the group of each input

    w_hat[r, c] = scales[g, r] * (qweight[c, r] - zero[g, r]),    g = g_idx[c]

Two versions differ in one place. Version 1 stores zero point - 1 in `qzeros`, version 2
the zero point itself. Nothing inside the tensors says which; the configuration does
(`checkpoint_format` is "gptq" or "gptq_v2", and files without it are version 1). Read
with the wrong version, every weight is off by one step.

Version 1 has no place for zero point 0: -1 has no code. Some readers take the stored
maximum for 0, others for 2**bits, and adding 1 to a whole word carries into the
neighbour. So this module reads it as 0 and refuses to write it.

Codes are unsigned in the file. A symmetric grid with codes -7 to 7 is stored as 1 to
15 with zero point 8, and is read back in that form.

Source: AutoGPTQ 0.7.1 and GPT-QModel 7.6.0, by their files. Left out: planar packing
of 5 to 7 bits, other word sizes, biases (they stay as they are).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor
from course_utils.formats.words import n_words, pack_words, unpack_words

BITS = (2, 3, 4, 8)
VERSIONS = (1, 2)


@dataclass(frozen=True)
class GptqTensors:
    """The four tensors of a layer; the module's docstring has their shapes."""

    qweight: Tensor
    qzeros: Tensor
    scales: Tensor
    g_idx: Tensor


def pack(quantized: QTensor, *, version: int = 1) -> GptqTensors:
    """Return a quantized matrix in the GPTQ layout.

    Errors: codes and zero points exactly; scales are rounded to float16.
    Raises: ValueError if bits, version or grouping have no place in the layout, for
        version 1 also if a zero point is 0.
    """
    spec = quantized.spec
    _check(spec.bits, version)
    q, zero, scales = unsigned(quantized)
    if version == 1:
        if (zero == 0).any():
            raise ValueError(
                "Version 1 stores zero point - 1, so zero point 0 has no code; "
                "write version 2."
            )
        zero = zero - 1
    return GptqTensors(
        qweight=pack_words(q.T, spec.bits),
        qzeros=pack_words(zero, spec.bits).T.contiguous(),
        scales=scales,
        g_idx=groups_of(quantized).to(torch.int32),
    )


def unpack(tensors: GptqTensors, *, bits: int, version: int = 1) -> QTensor:
    """Return the quantized matrix that four tensors hold.

    Raises: ValueError if the tensors do not fit each other, or are damaged.
    """
    _check(bits, version)
    scales, g_idx = tensors.scales, tensors.g_idx.to(torch.int64)
    _check_shapes(tensors, bits)
    rows, cols = scales.shape[1], len(g_idx)
    check_scales(scales)
    if not (g_idx.min() >= 0 and g_idx.max() < len(scales)):
        raise ValueError(
            f"g_idx names groups {g_idx.min()} to {g_idx.max()} and there are "
            f"{len(scales)}; the file is damaged."
        )
    zero = unpack_words(tensors.qzeros.T, bits, rows).to(torch.int32)  # (rows, groups)
    if version == 1:
        zero = (zero + 1) & (2**bits - 1)
    if cols % len(scales):
        raise ValueError(
            f"{cols} inputs do not divide into {len(scales)} groups of one size; files "
            "with a shorter last group are not read here."
        )
    size = cols // len(scales)
    in_order = torch.equal(g_idx, torch.arange(cols) // size)
    return QTensor(
        q=unpack_words(tensors.qweight, bits, cols).T.contiguous(),
        scale=scales.T.float()[..., None].contiguous(),
        zero_point=zero[..., None].contiguous(),
        spec=QuantSpec(bits=bits, group_size=size),
        group_of=None if in_order else g_idx,
    )


def unsigned(quantized: QTensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return codes and zero points from 0 on, and the scales in float16.

    Shapes: q (rows, cols); zero point (rows, n_groups); scales (n_groups, rows).
    Raises: ValueError on a zero point that is no integer code, one scale for the whole
        matrix, or a scale that float16 does not hold.
    """
    spec, zero = quantized.spec, quantized.zero_point
    if spec.group_size == 0:
        raise ValueError(
            "A scale for the whole matrix has no place in this layout; use group_size "
            "None, a scale per row."
        )
    if zero.is_floating_point():
        raise ValueError(
            "This layout stores zero points as integer codes, got "
            f"{zero.dtype}; round them first."
        )
    shift = 2 ** (spec.bits - 1) if spec.symmetric else 0
    scales = quantized.scale[..., 0].T.to(torch.float16).contiguous()
    if not torch.isfinite(scales).all():
        raise ValueError(
            "A scale is NaN or too large for float16 (65,504); divide the weights."
        )
    q = quantized.q.to(torch.int64) + shift
    return q, zero[..., 0].to(torch.int64) + shift, scales


def groups_of(quantized: QTensor) -> Tensor:
    """Return the group of each column.

    Shapes: (cols,), int64.
    """
    if quantized.group_of is not None:
        return quantized.group_of.to(torch.int64)
    cols = quantized.q.shape[1]
    return torch.arange(cols) // (quantized.spec.group_size or cols)


def check_scales(scales: Tensor) -> None:
    """Raise ValueError if a stored scale is NaN or infinite."""
    if not torch.isfinite(scales).all():
        raise ValueError("A stored scale is NaN or infinite; the file is damaged.")


def _check(bits: int, version: int) -> None:
    if bits not in BITS:
        raise ValueError(f"The GPTQ layout here has bits {BITS}, got {bits}.")
    if version not in VERSIONS:
        raise ValueError(f"The GPTQ layout has versions {VERSIONS}, got {version}.")


def _check_shapes(tensors: GptqTensors, bits: int) -> None:
    """Raise ValueError unless four tensors have the shapes of one layer."""
    scales, g_idx = tensors.scales, tensors.g_idx
    if scales.ndim != 2 or g_idx.ndim != 1 or not (scales.numel() and g_idx.numel()):
        raise ValueError(
            f"scales {tuple(scales.shape)} and g_idx {tuple(g_idx.shape)} must be a "
            "matrix and a vector with values."
        )
    n_groups, rows = scales.shape
    expected = {
        "qweight": (n_words(len(g_idx), bits), rows),
        "qzeros": (n_groups, n_words(rows, bits)),
    }
    for name, shape in expected.items():
        found = getattr(tensors, name)
        if tuple(found.shape) != shape or found.dtype != torch.int32:
            raise ValueError(
                f"{name} is {found.dtype} of shape {tuple(found.shape)}; with scales "
                f"{tuple(scales.shape)}, {len(g_idx)} inputs and {bits} bits it must "
                f"be int32 of shape {shape}."
            )
