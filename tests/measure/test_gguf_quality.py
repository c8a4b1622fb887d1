"""The measurement `gguf-quality`: what it compares, its arithmetic, its record."""

import pytest
import torch

from course_utils.measure import gguf_quality, records
from course_utils.measure.gguf_quality import VARIANTS, Measurement, key_of
from course_utils.models import llama_cpp
from course_utils.models.cache import ModelError

built = pytest.mark.skipif(not llama_cpp.available(), reason=llama_cpp.MISSING)


def fake(shift):
    """A file that finds every one of 200 tokens `shift` nats harder."""
    likely = -2 - shift * torch.ones(200)
    return {
        "log_likelihoods": likely.tolist(),
        "perplexity": float(torch.exp(torch.tensor(2 + shift))),
        "kl": shift,
        "top1": 1 - shift,
        "n": 201,
        "bytes": 1000,
        "bits": 4.5,
        "seconds": 1.0,
        "holds": {"F32": 61, "Q4_0": 210},
    }


@pytest.fixture
def results():
    """Results in which variant i is 0.01 * i nats worse."""
    found = {
        "float32": fake(0.0),
        "float32 file": fake(0.0),
        "refused": {"IQ2_XS": 1, "IQ1_S": 1, "IQ3_XXS": 0},
    }
    for i, variant in enumerate(VARIANTS, start=1):
        found[key_of(*variant)] = fake(0.01 * i)
    return found


def test_ratios_and_gains_are_of_the_same_tokens(results):
    values = Measurement().values(results)
    assert values["float32_ppl"]["value"] == pytest.approx(torch.e**2)
    assert values["iq2_xs_refused"]["value"] == 1
    at = {key_of(*variant): i for i, variant in enumerate(VARIANTS, start=1)}
    for key, i in at.items():
        ratio = values[f"{key}_ratio"]
        assert ratio["value"] == pytest.approx(torch.e ** (0.01 * i), rel=1e-5)
        assert ratio["spread"]["kind"] == "95% interval"
        assert values[f"{key}_kl"]["value"] == pytest.approx(0.01 * i)
        assert values[f"{key}_holds_q4_0"]["value"] == 210
    for kind in ("q4_0", "q2_k"):
        for how in ("imatrix", "equal", "random"):
            apart = 0.01 * (at[f"{kind}_{how}"] - at[kind])
            gain = values[f"{kind}_{how}_gain"]["value"]
            assert gain == pytest.approx(torch.e**apart, rel=1e-5)
    assert "iq1_s_imatrix_gain" not in values  # there is nothing to compare it with


def test_the_four_importances():
    measurement = Measurement()
    measurement.calibrated = {"a": torch.tensor([1.0, 4.0])}
    assert measurement.importance("none") is None
    assert measurement.importance("imatrix") is measurement.calibrated
    assert measurement.importance("equal")["a"].tolist() == [1.0, 1.0]


def test_random_tokens_are_as_many_and_of_the_vocabulary(monkeypatch):
    class Config:
        vocab_size = 10

    class Fake:
        config = Config()

    class Loaded:
        model = Fake()

    seen = []
    monkeypatch.setattr(
        gguf_quality.llama_imatrix, "mean_squares", lambda _, x: seen.append(x)
    )
    for _ in range(2):
        measurement = Measurement()
        measurement.loaded = Loaded()
        measurement.importance("random")
        measurement.importance("random")  # kept: it costs a pass of the model
    assert len(seen) == 2
    assert seen[0].shape == (32, 256)
    assert seen[0].min() == 0
    assert seen[0].max() == 9
    assert torch.equal(*seen)


def test_without_llama_cpp_a_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setattr(llama_cpp, "missing", lambda: llama_cpp.MISSING)
    with pytest.raises(ModelError, match="make llama"):
        Measurement().inputs()


@built
def test_the_record_is_of_this_code_and_model():
    """The slice: two files and the importance of a few tokens, made again."""
    record = records.read("gguf-quality")
    measurement = Measurement()
    assert record["model"] == measurement.model()
    assert records.differences(record["slice"], measurement.slice()["values"]) == []
