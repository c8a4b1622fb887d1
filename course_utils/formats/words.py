"""Codes of a few bits in 32-bit words, as GPTQ and AWQ checkpoints hold them.

    bit stream of a column:  code 0, code 1, code 2, ... each `bits` wide, lowest first
    word k:                  bits 32 * k to 32 * k + 31 of that stream

Eight codes of 4 bits fill a word. Codes of 3 bits do not divide 32, so 32 of them fill
three words and two of the 32 lie across a border.

Words are int32, because that is the type of the stored tensors: the top bit of a word
is its sign, and a shift must not drag it along. The arithmetic is in int64 for that
reason.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from course_utils.formats.codes import check_codes

WORD = 32
MASK = 2**WORD - 1


def n_words(n: int, bits: int) -> int:
    """Return how many words hold `n` codes."""
    return -(-n * bits // WORD)


def _places(bits: int) -> list[tuple[int, int]]:
    """Return (word, first bit in it) of 32 codes in a row."""
    return [divmod(bits * i, WORD) for i in range(WORD)]


def pack_words(codes: Tensor, bits: int) -> Tensor:
    """Return codes as words; the stream runs down the first axis.

    Shapes: codes (n, m) of integers from 0 to 2**bits - 1 -> (ceil(n * bits / 32), m),
        int32.
    Raises: ValueError if bits is not 1 to 8 or a code needs more bits.
    """
    _check_bits(bits)
    n, m = codes.shape
    whole = pad(check_codes(codes, bits, f"{bits} bits"), (0, 0, 0, -n % WORD))
    blocks = whole.reshape(-1, WORD, m)
    words = blocks.new_zeros(len(blocks), bits, m)
    for i, (word, shift) in enumerate(_places(bits)):
        wide = blocks[:, i] << shift
        words[:, word] |= wide & MASK
        if shift + bits > WORD:  # the rest of a code that lies across the border
            words[:, word + 1] |= wide >> WORD
    return words.to(torch.int32).reshape(-1, m)[: n_words(n, bits)]


def unpack_words(words: Tensor, bits: int, n: int) -> Tensor:
    """Return the first `n` codes of every column: the inverse of `pack_words`.

    Shapes: words (k, m), int32 -> (n, m), uint8.
    Raises: ValueError if bits is not 1 to 8, the words are not int32, or their number
        is not the one that n codes need.
    """
    _check_bits(bits)
    if words.dtype != torch.int32 or words.ndim != 2:
        raise ValueError(
            f"Packed words are a matrix of int32, got {words.dtype} of shape "
            f"{tuple(words.shape)}."
        )
    if n < 0 or len(words) != n_words(n, bits):
        raise ValueError(
            f"{n} codes of {bits} bits need {n_words(n, bits)} words, got {len(words)}."
        )
    wide = pad(words.to(torch.int64) & MASK, (0, 0, 0, -len(words) % bits))
    blocks = wide.reshape(-1, bits, words.shape[1])
    codes = blocks.new_empty(len(blocks), WORD, words.shape[1], dtype=torch.uint8)
    for i, (word, shift) in enumerate(_places(bits)):
        code = blocks[:, word] >> shift
        if shift + bits > WORD:
            code |= blocks[:, word + 1] << (WORD - shift)
        codes[:, i] = code & (2**bits - 1)
    return codes.reshape(-1, words.shape[1])[:n]


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must be 1 to 8, got {bits}.")
