"""GGUF blocks of 4-bit floats: MXFP4 and NVFP4.

    MXFP4   32 weights, scale a power of two (E8M0):      w_hat = 2**(e - 127) * E2M1
    NVFP4   4 times 16 weights, scales in unsigned E4M3:  w_hat = scale * E2M1

The values of E2M1 are 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives. As in ggml, they
are kept doubled here, and scales halved: whole numbers can be looked up as bytes.

Ties go to the smaller magnitude, and there is no negative zero: the encoder searches
for the nearest value and takes the first of two.

Source: OCP Microscaling Formats 1.0 for E8M0 and E2M1; the block structs of ggml.
Blocks (n, 32) or (n, 64) float32 <-> (n, bytes) uint8. Left out: an encoder of NVFP4.
"""

import numpy as np
import torch
from torch import Tensor

from course_utils.formats.gguf_fields import gather, magnitude, spread

DOUBLED = torch.tensor([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12.0])
MIDPOINTS = (0.5, 1.5, 2.5, 3.5, 5.0, 7.0, 10.0)  # between the doubled magnitudes
MAX_EXPONENT = 2  # 6 = 1.5 * 2**2, so a block's largest weight needs 2**-2 of itself


def _half_power(e: Tensor) -> Tensor:
    """Return 2**(e - 128), half of the scale that E8M0 code `e` stands for."""
    # Written into the exponent field of float64, which is exact down to 2**-1022.
    return ((e.to(torch.int64) - 128 + 1023) << 52).view(torch.float64).float()


def encode_mxfp4(blocks: Tensor) -> Tensor:
    """Return blocks as the exponent of their scale, 32 codes of 4 bits.

    Raises: ValueError on NaN and infinity.
    """
    largest = magnitude(blocks)
    if not torch.isfinite(largest).all():
        raise ValueError("The weights hold NaN or infinity; no scale covers them.")
    # numpy's float32 logarithm, as in gguf: a number within a few units of the last
    # place below a power of two counts as that power.
    with np.errstate(divide="ignore"):
        power = np.floor(np.log2(largest.numpy())) - MAX_EXPONENT + 127
    e = torch.from_numpy(power).clamp_(min=0).to(torch.uint8)
    steps = blocks / _half_power(e)
    sizes = steps.abs()
    code = (sizes > MIDPOINTS[0]).to(torch.uint8)
    for midpoint in MIDPOINTS[1:]:
        code += sizes > midpoint
    code |= ((steps < 0) & (code > 0)).to(torch.uint8) << 3
    return torch.cat([e, gather(code, 4, 16)], dim=1)


def decode_mxfp4(raw: Tensor) -> Tensor:
    """Return the weights of MXFP4 blocks."""
    values = DOUBLED[spread(raw[:, 1:], 4, 16).to(torch.int64)]
    return _half_power(raw[:, :1]) * values


def decode_nvfp4(raw: Tensor) -> Tensor:
    """Return the weights of NVFP4 blocks; a scale of code 127 is read as 0."""
    code = raw[:, :4].to(torch.int32)
    exponent, mantissa = code >> 3 & 15, (code & 7).float()
    # E4M3's normal values, by the power of two of a code with mantissa 0.
    normal = (1 + mantissa / 8) * _half_power(exponent + 121)
    scale = torch.where(exponent == 0, mantissa * 2.0**-9, normal) / 2
    scale = scale.masked_fill((code == 0) | (code == 127), 0.0)
    values = DOUBLED[spread(raw[:, 4:], 4, 8).to(torch.int64)]
    return (scale[..., None] * values.reshape(len(raw), 4, 16)).reshape(len(raw), 64)
