"""Integer formats: two's complement, ties, refusals."""

import pytest
import torch

from course_utils.formats import integers
from course_utils.formats.integers import INT4, INT8, IntFormat


def test_codes_are_twos_complement():
    for fmt in (INT8, INT4):
        values = integers.decode(torch.arange(2**fmt.bits), fmt)
        assert values.tolist() == [*range(fmt.qmax + 1), *range(fmt.qmin, 0)]
        assert fmt.n_finite == len(values.unique())
        again = integers.encode(values, fmt, saturate=False)
        assert torch.equal(again, torch.arange(2**fmt.bits))
    assert (INT8.qmin, INT8.qmax, INT4.qmin, INT4.qmax) == (-128, 127, -8, 7)


def test_unsigned_codes_are_their_values():
    fmt = IntFormat("UINT3", 3, signed=False)
    assert (fmt.qmin, fmt.qmax, fmt.max) == (0, 7, 7.0)
    assert integers.decode(torch.arange(8), fmt).tolist() == list(range(8))
    x = torch.tensor([-1.0, 2.5, 9.0])
    assert integers.encode(x, fmt, saturate=True).tolist() == [0, 2, 7]


def test_ties_go_to_even_and_saturation_takes_the_ends():
    x = torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.5, 7.4, 7.5, 300.0, -300.0])
    got = integers.decode(integers.encode(x, INT4, saturate=True), INT4)
    assert got.tolist() == [-2, 0, 0, 2, 2, 7, 7, 7, -8]


def test_refusals_say_what_to_do():
    with pytest.raises(ValueError, match="INT4 has no code for NaN"):
        integers.encode(torch.tensor([float("nan")]), INT4, saturate=True)
    for bad in (7.6, float("inf"), -9.0):
        with pytest.raises(ValueError, match="INT4 holds -8 to 7 and has no infinity"):
            integers.encode(torch.tensor([bad]), INT4, saturate=False)
    with pytest.raises(ValueError, match="Codes of INT4 run from 0 to 15"):
        integers.decode(torch.tensor([-1]), INT4)
