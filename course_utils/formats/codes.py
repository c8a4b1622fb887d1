"""Codes: bit patterns read as unsigned integers."""

import torch
from torch import Tensor


def check_codes(codes: Tensor, bits: int, name: str) -> Tensor:
    """Return the codes as int64.

    Raises: ValueError if one is not an integer from 0 to 2**bits - 1.
    """
    if codes.is_floating_point() or codes.is_complex():
        raise ValueError(f"Codes are integers, got {codes.dtype}; use encode first.")
    codes = codes.to(torch.int64)
    if codes.numel() and not 0 <= codes.min() <= codes.max() < 2**bits:
        raise ValueError(f"Codes of {name} run from 0 to {2**bits - 1}.")
    return codes
