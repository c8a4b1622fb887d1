"""QLoRA: LoRA beside a matrix that is stored in NF4 and never changes.

    Y = X doubleDequant(c1, c2, W) + (alpha / r) X A^T B^T              (5)
    doubleDequant = dequant(dequant(c1, c2), W)                         (6)

c1 are the absmax of the blocks of 64 weights in 8 bits, c2 a float32 scale for each 256
of those. The codes have no gradient and need none. What must pass through the layer is
the gradient of its input,

    dL/dX = dL/dY W_hat + (alpha / r) dL/dY B A,

exact for the weights that the codes stand for. W_hat is rebuilt in the forward pass and
once more in the backward pass, and kept in neither: that is what saves the memory.

Source: dettmers2023qlora, section 3. Differs from it in: float32 arithmetic where the
paper has BF16; the factor alpha / r, which its eq. 5 calls s.

Left out: paged optimizer states, which need a GPU that runs out of memory.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.formats import blockwise, double_quant, packing
from course_utils.formats.codebooks import NF4
from course_utils.formats.double_quant import NestedAbsmax


@dataclass(frozen=True, eq=False)
class FrozenNF4:
    """A matrix in NF4, as bitsandbytes stores it.

    Attributes:
        packed: Two codes a byte, uint8 (ceil(n / 2),).
        absmax: Of the blocks, in 8 bits or in float32.
        shape: Of the matrix.
        block_size: Weights that share an absmax.
    """

    packed: Tensor
    absmax: NestedAbsmax | Tensor
    shape: tuple[int, int]
    block_size: int = 64

    @property
    def stored_bytes(self) -> int:
        """Bytes of codes, scales and the offset; the tables of values not counted."""
        parts = [self.packed]
        if isinstance(self.absmax, NestedAbsmax):
            parts += [self.absmax.codes, self.absmax.scale, self.absmax.offset]
        else:
            parts.append(self.absmax)
        return sum(part.numel() * part.element_size() for part in parts)


def freeze(W: Tensor, *, double: bool = True, block_size: int = 64) -> FrozenNF4:
    """Return `W` in NF4, its absmax in 8 bits if `double`.

    Shapes: W (rows, cols).
    Raises: ValueError if W is no matrix, or holds NaN or infinity.
    """
    if W.ndim != 2:
        raise ValueError(
            f"A frozen matrix has rows and columns, got {tuple(W.shape)}; reshape it."
        )
    codes, absmax = blockwise.quantize(W.detach(), NF4, block_size=block_size)
    packed = packing.pack_nibbles(codes, fill=NF4.values.index(0.0))
    kept = double_quant.quantize_absmax(absmax) if double else absmax
    return FrozenNF4(packed, kept, tuple(W.shape), block_size)


def rebuilt(frozen: FrozenNF4) -> Tensor:
    """Return the weights that the codes stand for: doubleDequant of eq. (6).

    Shapes: (rows, cols), float32.
    """
    c = frozen.absmax
    absmax = double_quant.dequantize_absmax(c) if isinstance(c, NestedAbsmax) else c
    return blockwise.dequantize(
        codes(frozen), absmax, NF4, block_size=frozen.block_size
    )


def codes(frozen: FrozenNF4) -> Tensor:
    """Return the code of every weight.

    Shapes: (rows, cols), uint8.
    """
    rows, cols = frozen.shape
    return packing.unpack_nibbles(frozen.packed, rows * cols).reshape(frozen.shape)


def changed_codes(before: FrozenNF4, after: FrozenNF4) -> float:
    """Return the share of weights whose code is another one.

    Raises: ValueError if the matrices have different shapes.
    """
    if before.shape != after.shape:
        raise ValueError(
            f"The matrices are {before.shape} and {after.shape}; compare a matrix "
            "with its own new version."
        )
    return (codes(before) != codes(after)).double().mean().item()


class FrozenProduct(torch.autograd.Function):
    """X W_hat^T for a frozen matrix, with the exact gradient of X."""

    @staticmethod
    def forward(ctx, x: Tensor, frozen: FrozenNF4) -> Tensor:
        """Return X W_hat^T; keep the codes for the way back, not W_hat."""
        ctx.frozen = frozen
        return x @ rebuilt(frozen).T

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        """Return dL/dX = dL/dY W_hat; the codes get none."""
        return grad @ rebuilt(ctx.frozen), None


def forward(X: Tensor, W: FrozenNF4, A: Tensor, B: Tensor, *, alpha: float) -> Tensor:
    """Return the output of a frozen matrix and its adapter; eq. (5).

    Shapes: X (..., cols), A (r, cols), B (rows, r) -> (..., rows).
    """
    return FrozenProduct.apply(X, W) + alpha / len(A) * (X @ A.T @ B.T)
