"""The measurement `hqq`: what it compares, its arithmetic, its record."""

import pytest
import torch

from course_utils.formats.affine import QuantSpec
from course_utils.measure import comparison, hqq_library, hqq_quality, records
from course_utils.methods import hqq


@pytest.fixture
def weights():
    generator = torch.Generator().manual_seed(0)
    return {str(i): 0.1 * torch.randn(16, 128, generator=generator) for i in range(2)}


def fake_comparison(shift):
    """A model that finds every one of 200 tokens `shift` nats harder."""
    likely = -2 - shift * torch.ones(200)
    return comparison.Comparison(likely, kl=shift, top1=1 - shift, n=201)


def test_the_bits_count_a_float_zero_point_as_16(weights):
    bits = {
        key: hqq_quality.stored_bits(quantize(weights["0"]))
        for key, quantize in hqq_quality.quantizers(4).items()
    }
    assert bits["hqq"] == bits["ends"] == bits["steps"] == 4 + 32 / 64
    assert bits["rtn"] == 4 + 20 / 64
    assert bits["rtn32"] == 4 + 20 / 32
    integer = hqq.integer_zero(
        weights["0"], hqq.quantize(weights["0"], spec=QuantSpec(4, group_size=64))
    )
    assert hqq_quality.stored_bits(integer) == bits["rtn"]


def test_objectives_are_sums():
    w = torch.tensor([[1.0, -2.0, 3.0]])
    l1, lp = hqq_library.objectives(w, torch.zeros(1, 3))
    assert l1 == 6
    assert lp == pytest.approx(1 + 2**0.7 + 3**0.7, rel=1e-6)


def test_a_measurement_gives_ratios_and_intervals(weights, monkeypatch):
    measurement = hqq_quality.Measurement()
    measurement.weights = weights
    measurement.baseline = None
    shift = iter([0.1 * i for i in range(1, 20)])
    monkeypatch.setattr(hqq_quality, "BITS", (4,))
    monkeypatch.setattr(comparison, "itself", lambda _: fake_comparison(0.0))
    monkeypatch.setattr(
        measurement,
        "_read",
        lambda *_: hqq_quality._result(fake_comparison(next(shift)), 4.5, 1.0),
    )
    results = {step.name: step.run() for step in measurement.steps()}
    values = measurement.values(results)
    assert values["float32_ppl"]["value"] == pytest.approx(torch.e**2)
    # In order: rtn, rtn32, ends, hqq, its integer zero points, steps.
    for i, key in enumerate(["rtn", "rtn32", "ends", "hqq", "integer", "steps"], 1):
        ratio = values[f"{key}_4_ratio"]  # six digits are kept
        assert ratio["value"] == pytest.approx(torch.e ** (0.1 * i), rel=1e-5)
        assert ratio["spread"]["kind"] == "95% interval"
        assert values[f"{key}_4_kl"]["value"] == pytest.approx(0.1 * i)
        assert values[f"{key}_4_bits"]["value"] == 4.5
    assert values["objective_l1"]["value"] <= 1.001
    assert values["shrunk_4"]["value"] == 0


def test_shrunk_counts_errors_above_the_threshold(weights):
    measurement = hqq_quality.Measurement()
    measurement.weights = {name: 100 * w for name, w in weights.items()}
    spec, large, n = QuantSpec(2, group_size=64), 0, 0
    for w in measurement.weights.values():
        error = w - hqq.quantize(w, spec=spec, iters=0).dequantize()
        large += (error.abs() > 10 ** (-1 / 1.3)).sum().item()
        n += w.numel()
    assert measurement._shrunk(2) == large / n > 0.5


def test_the_record_is_of_this_code_and_model():
    """The slice: the objectives on the first layer, measured again."""
    record = records.read("hqq")
    measurement = hqq_quality.Measurement()
    assert record["model"] == measurement.model()
    assert records.differences(record["slice"], measurement.slice()["values"]) == []
