"""Floating point formats: layouts, special codes, rounding against an enumeration."""

import math

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from course_utils.formats import floats
from course_utils.formats.floats import FLOATS
from course_utils.measure import oracles

FINITE = ("E3M2", "E2M3", "E2M1")
SMALL = [name for name, fmt in FLOATS.items() if fmt.bits <= 16 and name != "E8M0"]
INF, NAN = math.inf, math.nan


def values_of(name):
    """Return the distinct finite values of a small format, sorted; from all codes."""
    values = floats.decode(torch.arange(2 ** FLOATS[name].bits), FLOATS[name])
    return values[torch.isfinite(values)].unique()


def test_the_twelve_layouts():
    """Oracle: what numpy and ml_dtypes say of their types."""
    assert FLOATS["FP32"].max == np.finfo(np.float32).max
    assert FLOATS["FP16"].max == np.finfo(np.float16).max
    assert FLOATS["FP16"].min_subnormal == np.finfo(np.float16).smallest_subnormal
    # torch.finfo is not asked: torch 2.13 gives float8_e5m2fnuz an eps of 1/8, where
    # the spacing after 1 is 1/4.
    for name, dtype in oracles.ML_DTYPES.items():
        if name in ("E8M0", "INT4"):
            continue  # no mantissa, and no float
        fmt, info = FLOATS[name], ml_dtypes.finfo(dtype)
        assert (fmt.bits, fmt.max) == (info.bits, info.max)
        assert (fmt.min_normal, fmt.min_subnormal) == (
            info.smallest_normal,
            info.smallest_subnormal,
        )
        assert 2 * fmt.unit_roundoff == info.eps
    # The tables of the Microscaling specification.
    assert [FLOATS[name].max for name in FINITE] == [28.0, 7.5, 6.0]
    assert [FLOATS[name].min_normal for name in FINITE] == [0.25, 1.0, 1.0]
    assert [FLOATS[name].min_subnormal for name in FINITE] == [0.0625, 0.125, 0.5]
    assert (FLOATS["E8M0"].max, FLOATS["E8M0"].min_normal) == (2.0**127, 2.0**-127)
    assert FLOATS["E8M0"].min_subnormal is None
    assert FLOATS["TF32"].bits == 19
    assert list(FLOATS) == [fmt.name for fmt in FLOATS.values()]
    assert len(FLOATS) == 12


@pytest.mark.parametrize("name", [n for n in FLOATS if FLOATS[n].bits <= 19])
def test_counts_are_those_of_the_codes(name):
    fmt = FLOATS[name]
    values = floats.decode(torch.arange(2**fmt.bits), fmt)
    assert fmt.n_nan == torch.isnan(values).sum()
    assert fmt.n_inf == torch.isinf(values).sum()
    finite = values[torch.isfinite(values)]
    assert fmt.n_finite == len(finite.unique())
    assert fmt.max == finite.max()
    positive = finite[finite > 0].min()
    assert positive == (fmt.min_subnormal or fmt.min_normal)


def test_digits_and_roundoff_are_those_of_the_significand():
    assert FLOATS["E4M3FN"].digits == pytest.approx(math.log10(16))
    assert FLOATS["E5M2"].digits == pytest.approx(math.log10(8))
    for name in SMALL:
        values = values_of(name)
        normal = values[values >= FLOATS[name].min_normal]
        worst = ((normal[1:] - normal[:-1]) / 2 / (normal[1:] + normal[:-1]) * 2).max()
        # A tie just above a power of two has the largest error: u / (1 + u) of it.
        u = FLOATS[name].unit_roundoff
        assert worst == pytest.approx(u / (1 + u), rel=1e-12)


def test_fields_are_read_from_the_bits():
    sign, exponent, mantissa = floats.fields(
        torch.tensor(0b1_0101_110), FLOATS["E4M3FN"]
    )
    assert (sign, exponent, mantissa) == (1, 0b0101, 0b110)
    assert [int(x) for x in floats.fields(torch.tensor(200), FLOATS["E8M0"])] == [
        0,
        200,
        0,
    ]


@pytest.mark.parametrize("name", FLOATS)
def test_a_code_survives_decode_and_encode(name):
    fmt = FLOATS[name]
    codes = torch.arange(min(2**fmt.bits, 2**20)) * max(1, 2 ** (fmt.bits - 20))
    values = floats.decode(codes, fmt)
    number = ~torch.isnan(values)  # several codes are NaN
    for saturate in (False, True):
        kept = number & ~(torch.isinf(values) & saturate)
        again = floats.encode(values[kept], fmt, saturate=saturate)
        assert torch.equal(again, codes[kept])


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_nearest_value_is_taken_and_ties_go_to_even(name, data):
    """Oracle: every finite value of the format, searched."""
    fmt, values = FLOATS[name], values_of(name)
    reach = st.floats(-fmt.max, fmt.max)
    small = st.floats(-4 * fmt.min_normal, 4 * fmt.min_normal)
    k = data.draw(st.integers(0, len(values) - 2))
    tie = ((values[k] + values[k + 1]) / 2).item()
    x = data.draw(st.one_of(reach, small, st.just(tie)))
    code = floats.encode(torch.tensor(x, dtype=torch.float64), fmt, saturate=False)
    got = floats.decode(code, fmt).item()
    distance = (values - x).abs()
    nearest = values[distance == distance.min()].tolist()
    assert got in nearest
    if len(nearest) == 2:
        assert code % 2 == 0


@pytest.mark.parametrize("name", FLOATS)
@settings(max_examples=60, deadline=None)
@given(
    x=st.lists(st.floats(width=32, allow_nan=False), max_size=8), saturate=st.booleans()
)
def test_cast_is_decode_of_encode(name, x, saturate):
    fmt = FLOATS[name]
    x = torch.tensor([*x, 0.0, -0.0, fmt.max, -fmt.min_normal, 0.3 * fmt.min_normal])
    if fmt.specials == "finite" and not saturate:
        x = x.clamp(-fmt.max, fmt.max)
    both = floats.decode(floats.encode(x, fmt, saturate=saturate), fmt).float()
    got = floats.cast(x, fmt, saturate=saturate)
    assert got.dtype == torch.float32
    assert torch.equal(got.isnan(), both.isnan())
    number = ~got.isnan()
    # The bits, so that 0 and -0 differ.
    assert torch.equal(got[number].view(torch.int32), both[number].view(torch.int32))


# Values that round beyond the largest, an infinity, and what becomes of them.
@pytest.mark.parametrize(
    ("name", "beyond", "plain", "saturated"),
    [
        ("FP32", 3.5e38, INF, "max"),
        ("TF32", 3.4028e38, INF, "max"),
        ("BF16", 3.4028e38, INF, "max"),
        ("FP16", 65520.0, INF, "max"),
        ("E5M2", 61440.0, INF, "max"),
        ("E4M3FN", 464.1, NAN, "max"),
        ("E5M2FNUZ", 61440.0, NAN, "max"),
        ("E4M3FNUZ", 248.0, NAN, "max"),
        ("E8M0", 1.5 * 2.0**127, NAN, "max"),
    ],
)
def test_too_large_values_by_both_rules(name, beyond, plain, saturated):
    fmt = FLOATS[name]
    x = torch.tensor([beyond, INF], dtype=torch.float64)
    for sign in (1, -1) if fmt.signed else (1,):
        expected = torch.full((2,), sign * plain)
        got = floats.cast(sign * x, fmt, saturate=False)
        assert torch.equal(got.nan_to_num(7.0), expected.nan_to_num(7.0))
        assert (floats.cast(sign * x, fmt, saturate=True) == sign * fmt.max).all()
    below = torch.tensor(np.nextafter(beyond, 0.0) if name != "E4M3FN" else 464.0)
    if name not in ("TF32", "BF16", "FP32"):
        assert floats.cast(below, fmt, saturate=False) == fmt.max


@pytest.mark.parametrize("name", FINITE)
def test_formats_without_special_codes_refuse(name):
    fmt = FLOATS[name]
    for function in (floats.encode, floats.cast):
        with pytest.raises(ValueError, match=f"{name} has no code for NaN"):
            function(torch.tensor([NAN]), fmt, saturate=True)
        with pytest.raises(ValueError, match=r"use saturate=True"):
            function(torch.tensor([2 * fmt.max]), fmt, saturate=False)
        with pytest.raises(ValueError, match=r"use saturate=True"):
            function(torch.tensor([INF]), fmt, saturate=False)
    assert floats.cast(torch.tensor([INF, -INF]), fmt, saturate=True).tolist() == [
        fmt.max,
        -fmt.max,
    ]


def test_zeros_keep_their_sign_where_there_are_two():
    for name, fmt in FLOATS.items():
        if not fmt.signed:
            continue
        codes = floats.encode(
            torch.tensor([0.0, -0.0, -1e-60]).double(), fmt, saturate=True
        )
        negative = 0 if name.endswith("FNUZ") else 2 ** (fmt.bits - 1)
        assert codes.tolist() == [0, negative, negative], name
    assert torch.isnan(floats.decode(torch.tensor(0x80), FLOATS["E4M3FNUZ"]))


def test_e8m0_has_no_zero_and_no_sign():
    fmt = FLOATS["E8M0"]
    x = torch.tensor([0.0, -1.0, NAN, 1e-45, 1.49, 1.5, 3.0])
    assert floats.encode(x, fmt, saturate=False).tolist() == [255] * 3 + [
        0,
        127,
        128,
        129,
    ]
    assert floats.encode(x, fmt, saturate=True).tolist() == [
        0,
        255,
        255,
        0,
        127,
        128,
        129,
    ]


def test_nan_is_quiet_and_keeps_its_sign():
    assert floats.encode(
        torch.tensor([NAN, -NAN]), FLOATS["FP16"], saturate=True
    ).tolist() == [
        0x7E00,
        0xFE00,
    ]
    assert (
        floats.encode(torch.tensor(NAN), FLOATS["FP32"], saturate=False) == 0x7FC00000
    )
    assert floats.encode(torch.tensor(NAN), FLOATS["E4M3FN"], saturate=True) == 0x7F
    assert floats.encode(torch.tensor(-NAN), FLOATS["E5M2FNUZ"], saturate=True) == 0x80


def test_shapes_types_and_arguments():
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    for fmt in FLOATS.values():
        assert floats.encode(x, fmt, saturate=True).shape == x.shape
        assert floats.cast(x.bfloat16(), fmt, saturate=True).shape == x.shape
        assert floats.cast(torch.empty(0, 4), fmt, saturate=True).shape == (0, 4)
    assert torch.equal(x, before)
    assert floats.encode(torch.tensor([3]), FLOATS["E2M1"], saturate=True).tolist() == [
        5
    ]
    # More elements than a piece holds.
    long = torch.linspace(-500, 500, 2 * floats.PIECE + 3)
    whole = floats.cast(long, FLOATS["E4M3FN"], saturate=True)
    assert torch.equal(
        whole[-5:], floats.cast(long[-5:], FLOATS["E4M3FN"], saturate=True)
    )


def test_codes_that_do_not_fit_are_refused():
    for bad in (16, -1):
        with pytest.raises(ValueError, match="Codes of E2M1 run from 0 to 15"):
            floats.decode(torch.tensor([bad]), FLOATS["E2M1"])
    with pytest.raises(ValueError, match=r"Codes are integers, got torch\.float32"):
        floats.decode(torch.tensor([1.0]), FLOATS["E2M1"])
