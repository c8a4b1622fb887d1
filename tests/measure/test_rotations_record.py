"""The measurement `rotations`: its labels, its arithmetic, its record."""

import math

import pytest
import torch

from course_utils.measure import records, rotations


def fake(shift, n=640):
    """The result of a model whose every log-likelihood is lower by `shift`."""
    scores = [-2.0 - shift] * n
    return {
        "log_likelihoods": scores,
        "perplexity": math.exp(2 + shift),
        "kl": shift,
        "top1": 1 - shift,
        "n": n,
    }


def results():
    found = {"float32": fake(0.0)}
    for i, label in enumerate(rotations.LABELS):
        found[f"peaks_{label}"] = {
            site: {"peak": 3.0 + i, "kurtosis": 4.0 + i} for site in rotations.SITES
        }
        found[f"rtn_{label}"] = {
            "a4": fake(0.3 + i / 10),
            "w4": fake(0.1),
            "w4a4": fake(0.5),
        }
    for label in rotations.BY_GPTQ:
        found[f"gptq_{label}"] = {"w4": fake(0.05), "w4a4": fake(0.4)}
    for label in ("orthogonal", "hadamard"):
        found[f"draws_{label}"] = [fake(x)["log_likelihoods"] for x in (0.2, 0.1, 0.3)]
    return found


def test_values_are_ratios_with_intervals_under_stable_names():
    values = rotations.Measurement().values(results())
    assert values["float32_ppl"]["value"] == pytest.approx(math.exp(2))
    for name, shift in {
        "a4_none": 0.3,
        "a4_full": 0.7,
        "rtn_w4_gains": 0.1,
        "rtn_w4a4_hadamard": 0.5,
        "gptq_w4_full": 0.05,
    }.items():
        # Written with 6 digits; the scores are float32.
        ratio = values[f"{name}_ratio"]
        assert ratio["value"] == pytest.approx(math.exp(shift), rel=1e-5)
        assert ratio["spread"]["kind"] == "95% interval"
        assert values[f"{name}_kl"]["value"] == pytest.approx(shift)
        assert values[f"{name}_top1"]["value"] == pytest.approx(1 - shift)
    assert values["peak_down_full"]["value"] == 7.0
    assert values["kurtosis_mlp_gains"]["value"] == 5.0
    draws = values["draws_hadamard"]
    assert draws["value"] == pytest.approx(math.exp(0.2), rel=1e-5)
    assert draws["spread"]["low"] == pytest.approx(math.exp(0.1), rel=1e-4)
    assert draws["spread"]["high"] == pytest.approx(math.exp(0.3), rel=1e-4)


def test_every_result_has_a_step():
    names = [step.name for step in rotations.Measurement().steps()]
    assert sorted(names) == sorted(results())


def test_the_record_is_of_this_code_and_model():
    """The slice: 64 tokens as it is and rotated, measured again."""
    record = records.read("rotations")
    measurement = rotations.Measurement()
    assert record["model"] == measurement.model()
    again = measurement.slice()["values"]
    assert records.differences(record["slice"], again) == []
    plain, turned = (again[f"mean_log_likelihood_{x}"] for x in ("none", "full"))
    assert plain == pytest.approx(turned, rel=rotations.SLICE_TOLERANCE)
    assert plain != turned
    assert torch.isfinite(torch.tensor([plain, turned])).all()
