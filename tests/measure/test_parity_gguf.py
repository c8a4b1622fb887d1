"""The measurement `parity-gguf`: what it compares, and that it finds errors."""

import pytest
import torch

from course_utils.formats import gguf_blocks
from course_utils.formats.gguf_blocks import TYPES
from course_utils.measure import parity_gguf, records
from course_utils.measure.gguf_speed import GGML_TYPES, GGUF_TYPES
from course_utils.models import llama_cpp

built = pytest.mark.skipif(not llama_cpp.available(), reason=llama_cpp.MISSING)


@pytest.fixture
def measurement():
    found = parity_gguf.Measurement()
    found.weights = [torch.randn(64, 512, generator=torch.Generator().manual_seed(1))]
    return found


def test_every_type_is_decoded_and_every_encoder_compared(measurement):
    names = [step.name for step in measurement.steps()]
    assert {f"{name.lower()}_decode" for name in TYPES} <= set(names)
    encoders = {name for name, kind in TYPES.items() if kind.encode}
    assert encoders == {*GGUF_TYPES, *GGML_TYPES}
    assert {f"{n.lower()}_encode" for n in GGUF_TYPES} <= set(names)
    assert {f"{n.lower()}_search" for n in GGML_TYPES} <= set(names)
    assert {"gptq_2bit", "gptq_3bit", "gptq_4bit", "gptq_8bit", "awq_4bit"} <= set(
        names
    )


def test_a_wrong_decoder_and_a_wrong_encoder_are_found(monkeypatch):
    right = TYPES["Q4_0"]

    def off_by_one(blocks):
        raw = right.encode(blocks)
        raw[:, 5] ^= 1
        return raw

    assert parity_gguf.decoding("Q4_0")[1] == 0
    assert parity_gguf.encoding("Q4_0", [])[1] == 0
    wrong = gguf_blocks.BlockType(
        "Q4_0", 32, 18, lambda r: -right.decode(r), off_by_one
    )
    monkeypatch.setitem(TYPES, "Q4_0", wrong)
    n, different = parity_gguf.decoding("Q4_0")
    assert different > n / 2
    n, different = parity_gguf.encoding("Q4_0", [])
    assert different == n // 18


def test_probes_hold_what_encoders_get_wrong():
    w = parity_gguf.probes()
    assert w.isfinite().all()
    assert (w == 0).all(dim=1).any()
    assert (w > 0).all(dim=1).any()
    assert (w < 0).all(dim=1).any()
    assert (w.amax(dim=1) == -w.amin(dim=1)).any()


@built
@pytest.mark.parametrize("name", GGML_TYPES)
def test_searches_reach_the_error_of_the_c_code(name, measurement):
    n, different, ratio = parity_gguf.searching(name, measurement.weights)
    assert abs(ratio - 1) <= 0.01
    assert different < n / 100


def test_values_count_differences_and_leave_searches_out_of_the_sum(measurement):
    results = {step.name: [10, 0] for step in measurement.steps()}
    for name in GGML_TYPES:
        results[f"{name.lower()}_search"] = [10, 4, 1.001]
    results["awq_4bit"] = [10, 3]
    results["slice for the tests"] = None
    values = measurement.values(results)
    exact = len(results) - 1 - len(GGML_TYPES)
    assert values["all"] == records.exact(3, "", n=10 * exact)
    assert values["q4_k_search_bytes"] == records.exact(4, "", n=10)
    assert values["q4_k_search_rmse"]["value"] == 1.001


def test_the_record_says_what_the_slice_says_today():
    record = records.read("parity-gguf")
    measurement = parity_gguf.Measurement()
    assert record["model"] == measurement.model()
    assert records.differences(record["slice"], measurement.slice()["values"]) == []
    assert record["values"]["all"]["value"] == 0
    for name in GGML_TYPES:
        rmse = record["values"][f"{name.lower()}_search_rmse"]["value"]
        assert abs(rmse - 1) <= 0.01
