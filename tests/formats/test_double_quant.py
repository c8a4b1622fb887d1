"""Double quantization: the map, the rule of the nearest step, errors, refusals."""

import pytest
import torch

from course_utils.formats import double_quant


def test_the_map_has_256_values_dense_near_zero():
    values = double_quant.dynamic_map()
    assert len(values.unique()) == 256
    assert values[127] == 0
    assert values[-1] == 1
    assert torch.equal(values[:127].flip(0), -values[128:255])
    gaps = values.diff()
    assert gaps[126] < 1e-6
    assert gaps.max() == pytest.approx(0.9 / 64, rel=1e-5)


def test_the_code_is_nearest_to_the_nearest_of_65536_steps():
    """Oracle: both searches by enumeration, in float64."""
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(1000, generator=generator) - 1
    x[:500] *= 1e-3
    # x + 1, the product and + 0.5 are rounded to float32: errors of 2**-24 of up to 2,
    # and of 2**-24 of up to 65,536 twice, in steps. Nearer to an edge than that, both
    # steps are right.
    unsure = 32767.5 * 2**-23 + 2 * 2**-8
    edge = (x.double() + 1) * 32767.5 % 1 - 0.5
    x = x[edge.abs() > unsure]
    steps = torch.arange(65536).double() / 32767.5 - 1
    step = torch.stack([steps[(steps - one).abs().argmin()] for one in x.double()])
    values = double_quant.dynamic_map().double()
    distance = (values[None] - step[:, None]).abs()
    chosen = values[double_quant.nearest_codes(x).long()]
    # Values and their middles are float32 numbers: off by 2**-25 each.
    assert ((chosen - step).abs() <= distance.amin(1) + 2**-24).all()
    plain = (values[None] - x.double()[:, None]).abs().argmin(1)
    differs = plain != double_quant.nearest_codes(x).long()
    assert differs.any()  # it is not the nearest value itself


def test_error_is_half_a_gap_and_half_a_step():
    generator = torch.Generator().manual_seed(1)
    absmax = 0.02 + 0.1 * torch.rand(1000, generator=generator)
    nested = double_quant.quantize_absmax(absmax)
    scale = nested.scale.repeat_interleave(256)[:1000]
    rebuilt = double_quant.dequantize_absmax(nested)
    gap = double_quant.dynamic_map().diff().max()
    # Three float32 operations on numbers up to the offset and the scale.
    slack = 3 * 2**-24 * (nested.offset + scale)
    assert ((absmax - rebuilt).abs() <= (gap / 2 + 1 / 65535) * scale + slack).all()
    assert nested.codes.dtype == torch.uint8
    assert (nested.codes.shape, nested.scale.shape) == ((1000,), (4,))


def test_equal_values_come_back_exactly():
    for value in (0.0, 0.25):
        absmax = torch.full((300,), value)
        nested = double_quant.quantize_absmax(absmax)
        assert (nested.codes == 0).all()
        assert torch.equal(double_quant.dequantize_absmax(nested), absmax)


def test_numbers_outside_go_to_the_ends():
    x = torch.tensor([-1.5, -1.0, 1.0, 1.5, float("inf")])
    assert double_quant.nearest_codes(x).tolist() == [0, 0, 255, 255, 255]
    with pytest.raises(ValueError, match="no code for NaN"):
        double_quant.nearest_codes(torch.tensor([0.5, float("nan")]))


def test_values_too_large_for_float32_are_refused():
    with pytest.raises(ValueError, match="too large for a mean in float32"):
        double_quant.quantize_absmax(torch.full((4,), 3e38))
    with pytest.raises(ValueError, match="NaN or infinity in float32"):
        double_quant.quantize_absmax(torch.tensor([1.0, 1e39], dtype=torch.float64))
    for values in ([3e38], [3e38, 1.0]):
        nested = double_quant.quantize_absmax(torch.tensor(values))
        assert double_quant.dequantize_absmax(nested).isfinite().all()


def test_refusals_say_what_to_do():
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="absmax holds NaN or infinity"):
            double_quant.quantize_absmax(torch.tensor([1.0, bad]))
    for shape in ((0,), (2, 2)):
        with pytest.raises(ValueError, match="absmax has one axis and a value"):
            double_quant.quantize_absmax(torch.ones(shape))
