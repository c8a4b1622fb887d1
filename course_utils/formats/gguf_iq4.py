"""GGUF blocks with a codebook of 16 uneven values: IQ4_NL and IQ4_XS.

    IQ4_NL   32 weights       w_hat = d * VALUES[q]
    IQ4_XS   8 x 32 weights   w_hat = d * (sc - 32) * VALUES[q],   sc of 6 bits

The values stand closer together around 0, where most weights are, like those of NF4;
they are whole numbers from -127 to 113.

`encode_iq4_nl` searches for the scale: the weight of largest magnitude is placed at
127 and at fifteen points around -127, each time every weight takes its nearest value,
and the scale that then fits best by least squares is kept. A weight counts by its
square, so that large weights are met best.

Source: the block structs and the search of ggml. Blocks (n, 32) or (n, 256) float32 <->
(n, bytes) uint8. Left out: an encoder of IQ4_XS, and an importance matrix.
"""

import torch
from torch import Tensor

from course_utils.formats.gguf_fields import (
    gather,
    half,
    half_bytes,
    inverse,
    searchable_extreme,
    spread,
)

VALUES = torch.tensor(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113.0]
)
# Where the extreme is placed: past the upper end, and around the lower one.
PLACES = (127, *range(-134, -119))
# The nearest code to every half step from -128 to 127.5. Borders between values are
# whole or half numbers, so the half step below x has the same nearest code as x.
NEAREST = torch.bucketize(
    torch.arange(-128, 128, 0.5), (VALUES[1:] + VALUES[:-1]) / 2, right=True
)


def _nearest(x: Tensor) -> Tensor:
    """Return the code of the nearest value; ties go up."""
    half_steps = (x * 2).floor_().clamp_(-256, 255).to(torch.int64)
    return NEAREST.take(half_steps.add_(256))


def encode_iq4_nl(blocks: Tensor) -> Tensor:
    """Return blocks as d, 32 codes of 4 bits."""
    inv_extreme = inverse(searchable_extreme(blocks))
    importance = blocks.square()
    d = torch.zeros_like(inv_extreme)
    best = torch.zeros_like(inv_extreme)
    for place in PLACES:
        values = VALUES.take(_nearest(blocks * (place * inv_extreme)))
        weighted = importance * values
        xv = (weighted * blocks).sum(dim=1, keepdim=True)
        vv = (weighted * values).sum(dim=1, keepdim=True)
        # The scale xv / vv lowers the weighted squared error by xv**2 / vv.
        gain = torch.where(vv > 0, xv.square() / vv, 0.0)
        d = torch.where(gain > best, xv / vv, d)
        best = torch.maximum(best, gain)
    q = _nearest(blocks * inverse(d)).to(torch.uint8)
    return torch.cat([half_bytes(d), gather(q, 4, 16)], dim=1)


def decode_iq4_nl(raw: Tensor) -> Tensor:
    """Return the weights of IQ4_NL blocks."""
    return half(raw[:, :2]) * VALUES[spread(raw[:, 2:], 4, 16).to(torch.int64)]


def decode_iq4_xs(raw: Tensor) -> Tensor:
    """Return the weights of IQ4_XS blocks."""
    d, high, low, codes = raw.split([2, 2, 4, 128], dim=1)
    sc = spread(low, 4, 1) | spread(high, 2, 1) << 4
    scale = half(d) * (sc.float() - 32)  # (n, 8)
    values = VALUES[spread(codes, 4, 16).to(torch.int64)].reshape(len(raw), 8, 32)
    return (scale[..., None] * values).reshape(len(raw), 256)
