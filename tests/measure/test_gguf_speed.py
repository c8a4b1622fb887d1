"""The measurement `gguf-speed`: who is compared, its arithmetic, its record."""

import pytest
import torch

from course_utils.measure import gguf_speed, records
from course_utils.measure.gguf_speed import GGML_TYPES, GGUF_TYPES
from course_utils.models import layers


@pytest.fixture
def measurement(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    found = gguf_speed.Measurement()
    found.weights = {
        str(shape): torch.randn(shape, generator=generator)
        for shape in [(64, 96), (32, 256)]
    }
    monkeypatch.setattr(gguf_speed, "TURNS", 3)
    return found


def test_matrices_are_those_whose_rows_the_block_divides(measurement):
    assert len(measurement.matrices("Q4_0")) == 2
    assert [w.shape for w in measurement.matrices("TQ2_0")] == [(32, 256)]
    assert [w.shape for w in measurement.matrices("MXFP4")] == [(32, 256)]
    measurement.weights = {str(i): torch.ones(1, 256) for i in range(10)}
    assert len(measurement.matrices("MXFP4")) == 10
    assert len(measurement.matrices("Q4_K")) == gguf_speed.GGML_MATRICES


def test_differing_counts_bytes(measurement):
    def wrong(w, name):
        raw = gguf_speed.by_gguf(w, name).clone()
        raw.view(-1)[:5] += 1
        return raw

    weights = list(measurement.weights.values())
    n = sum(w.numel() for w in weights) // 32 * 34
    assert gguf_speed.differing("Q8_0", gguf_speed.by_gguf, weights) == (n, 0)
    assert gguf_speed.differing("Q8_0", wrong, weights) == (n, 5 * len(weights))


def test_ratios_are_taken_turn_by_turn(measurement, monkeypatch):
    # The first turn is dropped; then ours take 1, 2, 3 s and theirs 2, 2, 2 s.
    times = iter([9.0, 9.0, 1.0, 2.0, 2.0, 2.0, 3.0, 2.0])
    monkeypatch.setattr(gguf_speed, "seconds", lambda *_: next(times))
    monkeypatch.setattr(gguf_speed, "GGUF_TYPES", ("Q4_0",))
    monkeypatch.setattr(gguf_speed, "GGML_TYPES", ())
    results = {step.name: step.run() for step in measurement.steps()}
    values = measurement.values(results)
    ratio = {"low": 0.5, "high": 1.5, "kind": "min-max"}
    assert values["q4_0_ratio"] == {"value": 1.0, "unit": "", "n": 3, "spread": ratio}
    assert values["q4_0_ours"]["value"] == 2.0
    assert values["gguf_worst_ratio"]["value"] == 1.0
    n_weights = sum(w.numel() for w in measurement.weights.values())
    assert values["q4_0_weights"]["value"] == n_weights
    assert values["q4_0_different"] == records.exact(0, "", n=n_weights // 32 * 18)


def test_seconds_covers_every_matrix(measurement):
    seen = []

    def encode(w, name):
        seen.append((w.shape, name))

    weights = measurement.matrices("Q4_0")
    assert gguf_speed.seconds(encode, weights, "Q4_0") >= 0
    assert seen == [(w.shape, "Q4_0") for w in weights]


def test_the_weights_are_the_matrices_of_the_decoder(embedded_model):
    found = gguf_speed.Measurement().weights
    expected = layers.linear_layers(embedded_model)
    assert found.keys() == {f"{name}.weight" for name in expected}
    name = "model.layers.3.mlp.up_proj.weight"
    assert torch.equal(found[name], embedded_model.state_dict()[name])


def test_the_record_is_of_this_model_and_no_byte_differs():
    record = records.read("gguf-speed")
    measurement = gguf_speed.Measurement()
    assert record["model"] == measurement.model()
    assert records.differences(record["slice"], measurement.slice()["values"]) == []
    for name in GGUF_TYPES:
        assert record["values"][f"{name.lower()}_different"]["value"] == 0
    for name in (*GGUF_TYPES, *GGML_TYPES):
        assert f"{name.lower()}_ratio" in record["values"]
