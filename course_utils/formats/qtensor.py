"""A quantized matrix: integer codes, and what turns them back into weights.

    w_hat[r, c] = (q[r, c] - zero_point[r, g]) * scale[r, g],   g = group_of[c]

Every method of the book returns one, so that all are stored, rebuilt and counted by
the same code. `group_of` is for methods that form their groups from columns that do
not stand side by side, such as GPTQ with act-order; files call it `g_idx`.

Left out: packing of codes below 8 bits, which is the business of a file's layout.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec


@dataclass(frozen=True, eq=False)
class QTensor:
    """Codes with their scales and zero points.

    Attributes:
        q: Codes, (rows, cols), integers; one byte each where they fit.
        scale: (rows, n_groups, 1), float32; (1, 1, 1) for one scale a tensor.
        zero_point: As scale; integers, or float where a method fits it.
        spec: What the codes look like and which weights share a scale.
        group_of: Group of each column, (cols,); None for columns in order.
    """

    q: Tensor
    scale: Tensor
    zero_point: Tensor
    spec: QuantSpec
    group_of: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        if self.q.ndim != 2 or self.q.is_floating_point():
            raise ValueError(
                "q must be a matrix of integer codes, got "
                f"{self.q.dtype} of shape {tuple(self.q.shape)}."
            )
        rows, cols = self.q.shape
        n_groups = n_groups_of(cols, self.spec)
        shape = (1, 1, 1) if self.spec.group_size == 0 else (rows, n_groups, 1)
        for name in ("scale", "zero_point"):
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"{name} has shape {tuple(getattr(self, name).shape)}; "
                    f"codes {rows} x {cols} in groups of {self.spec.group_size} need "
                    f"{shape}."
                )
        if self.group_of is not None and self.group_of.shape != (cols,):
            raise ValueError(
                f"group_of has shape {tuple(self.group_of.shape)}; it needs one group "
                f"for each of the {cols} columns."
            )

    def dequantize(self) -> Tensor:
        """Return the weights that the codes stand for.

        Shapes: (rows, cols), float32.
        """
        if self.group_of is None:
            return affine.dequantize(
                self.q, self.scale, self.zero_point, spec=self.spec
            )
        group = self.group_of.to(torch.int64)
        steps = self.q.to(torch.float32) - self.zero_point[:, group, 0]
        return steps * self.scale[:, group, 0]

    def bits_per_weight(
        self, *, scale_bits: int = 16, zero_bits: int | None = None
    ) -> float:
        """Return the stored bits of the matrix, divided by its weights.

        Args:
            scale_bits: Of each scale.
            zero_bits: Of each zero point; None is a code's width, or 0 if the grid is
                symmetric and none is stored.

        Errors: `group_of` counts 32 bits a column, as files store it.
        """
        if zero_bits is None:
            zero_bits = 0 if self.spec.symmetric else self.spec.bits
        overhead = self.scale.numel() * (scale_bits + zero_bits)
        if self.group_of is not None:
            overhead += 32 * self.q.shape[1]
        return self.spec.bits + overhead / self.q.numel()


def n_groups_of(cols: int, spec: QuantSpec) -> int:
    """Return how many groups a row of `cols` weights has."""
    return cols // spec.group_size if spec.group_size else 1


def code_dtype(spec: QuantSpec) -> torch.dtype:
    """Return the smallest integer type that holds the codes of `spec`."""
    if spec.bits > 8:
        return torch.int32
    return torch.int8 if spec.symmetric else torch.uint8
