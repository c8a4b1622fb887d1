"""The measurement `scales`: its settings, its arithmetic, its record."""

import math

import pytest
import torch

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec
from course_utils.measure import records, scale_settings, scales
from course_utils.measure.scale_settings import SETTINGS, UNCLIPPED, Setting
from course_utils.models import layers


def bell(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_every_setting_has_its_own_name_and_its_grid_unclipped():
    assert len({s.key for s in SETTINGS}) == len(SETTINGS)
    by_key = {s.key: s for s in SETTINGS}
    for key, other in UNCLIPPED.items():
        assert by_key[key].clip
        assert not by_key[other].clip
        assert by_key[key].spec == by_key[other].spec


def test_each_way_of_clipping_makes_its_own_error_least():
    w, h = bell(32, 64), torch.logspace(-2, 2, 64)
    error = {}
    for clip in ("", "weights", "outputs"):
        setting = Setting("x", QuantSpec(3), clip)
        w_hat = scale_settings.quantize(w, h, setting).dequantize()
        squares = (w - w_hat).square()
        error[clip] = squares.sum().item(), (squares * h).sum().item()
    assert error["weights"][0] == min(e[0] for e in error.values())
    assert error["outputs"][1] == min(e[1] for e in error.values())
    plain = scale_settings.quantize(w, h, Setting("x", QuantSpec(3)))
    expected = affine.fake_quantize(w, spec=QuantSpec(3))
    assert torch.equal(plain.dequantize(), expected)


def test_mean_squares_are_those_of_the_inputs(tiny):
    tokens = torch.arange(20 * 16).reshape(20, 16) % 97
    found = scale_settings.mean_squares(tiny, tokens)
    assert set(found) == set(layers.linear_layers(tiny))
    with torch.no_grad():
        first = tiny.model.embed_tokens(tokens)
        x = tiny.model.layers[0].input_layernorm(first)
    q, k = (f"model.layers.0.self_attn.{n}_proj" for n in "qk")
    # Sums of 320 squares in float32, in another order: 2 * 320 * 2**-24 at most.
    assert torch.allclose(found[q], x.square().mean(dim=(0, 1)), rtol=4e-5)
    assert torch.equal(found[q], found[k])
    assert found["model.layers.2.mlp.down_proj"].shape == (64,)
    hooks = [m._forward_pre_hooks for m in layers.linear_layers(tiny).values()]
    assert not any(hooks)


def test_values_are_ratios_of_perplexities():
    n = 256
    base = -2 + 0.1 * bell(n)
    results = {"float32": {"log_likelihoods": base.tolist()}}
    for i, key in enumerate(s.key for s in SETTINGS):
        worse = (base - 0.1 * (i + 1)).tolist()
        results[key] = {"log_likelihoods": worse, "kl": 0.5, "n": n, "bits": 4.25}
    values = scales.Measurement().values(results)
    assert values["float32_ppl"]["value"] == pytest.approx(math.exp(-base.mean()), 1e-5)
    ratio = values["tensor_asym_ratio"]
    assert ratio["value"] == pytest.approx(math.exp(0.1), 1e-5)
    assert ratio["spread"]["kind"] == "95% interval"
    assert ratio["spread"]["low"] <= ratio["value"] <= ratio["spread"]["high"]
    keys = [s.key for s in SETTINGS]
    apart = keys.index("row_weights") - keys.index("row_asym")
    over = values["row_weights_over_row_asym"]["value"]
    assert over == pytest.approx(math.exp(0.1 * apart), 1e-5)
    assert values["g64_sym_bits"] == records.exact(4.25, "bits")


def test_bits_of_a_setting_count_scales_and_zero_points():
    tensor = scale_settings.quantize(bell(8, 128), None, Setting("x", QuantSpec(4)))
    assert tensor.bits_per_weight() == 4 + (16 + 4) / 128
    symmetric = Setting("x", QuantSpec(4, True, 32))
    tensor = scale_settings.quantize(bell(8, 128), None, symmetric)
    assert tensor.bits_per_weight() == 4 + 16 / 32


def test_the_record_is_of_this_code_and_model():
    """The slice: the errors of the first layer's weights, measured again."""
    record = records.read("scales")
    measurement = scales.Measurement()
    assert record["model"] == measurement.model()
    assert records.differences(record["slice"], measurement.slice()["values"]) == []
    assert {f"{s.key}_ratio" for s in SETTINGS} <= record["values"].keys()
