"""The measurements `gptq` and `methods-speed`: arithmetic, programs, slices."""

import math

import pytest
import torch

from course_utils.measure import (
    gptq_programs,
    gptq_quality,
    methods_speed,
    records,
    tasks,
)
from course_utils.models.texts import calibration_tokens


def scores(mean, n=200):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n, generator=generator, dtype=torch.float64)
    return {"log_likelihoods": (mean + noise).tolist(), "kl": 0.1, "top1": 0.9, "n": n}


@pytest.fixture
def nothing_removed(monkeypatch, tmp_path):
    monkeypatch.setattr(gptq_quality, "_kept", lambda: tmp_path / "none")


def test_values_of_the_quality_record(nothing_removed):
    results = {"baseline": scores(-2.0)}
    results |= {run.key: scores(-2.5) for run in gptq_quality.RUNS}
    results["gptq4"] = scores(-2.25)
    results["slice for the tests"] = {"description": "", "values": {}, "tolerance": 0}
    values = gptq_quality.Measurement().values(results)
    ratio = values["gptq4_ppl"]["value"] / values["baseline_ppl"]["value"]
    assert ratio == pytest.approx(math.exp(0.25), rel=1e-4)
    assert values["gptq4_log_ratio"]["value"] == pytest.approx(0.25, rel=1e-4)
    # Lower perplexity is a difference below 0.
    found = values["gptq4_vs_rtn4"]
    assert found["value"] == pytest.approx(-0.25, rel=1e-4)
    assert found["spread"]["low"] <= -0.25 <= found["spread"]["high"]
    assert found["spread"]["kind"] == "95% interval"
    assert values["gptq4_draw1_vs_library4_draw1"]["value"] == 0
    assert {f"{run.key}_kl" for run in gptq_quality.RUNS} <= values.keys()


def test_draws_are_half_of_the_text_each():
    windows = calibration_tokens()
    first, second, third = (windows[part] for part in gptq_quality.DRAWS.values())
    assert len(first) == len(second) == len(third) == 16
    whole = {tuple(w.tolist()) for w in windows}
    assert whole == {tuple(w.tolist()) for w in torch.cat([first, second])}
    assert len(whole) == 32


def test_values_of_the_speed_record():
    seconds = {
        "ours": (3.0, 4.0),
        "gptqmodel": (10.0, 5.0),
        "llmcompressor": (6.0, 8.0),
    }
    results = {
        f"{program} {turn}": {"seconds": s[turn - 1], "peak_bytes": 1e9 * turn}
        for program, s in seconds.items()
        for turn in (1, 2)
    }
    values = methods_speed.Measurement().values(results)
    assert values["ours_seconds"]["value"] == 3.5
    assert values["ours_peak"]["value"] == 1.5e9
    assert values["ratio_gptqmodel"]["value"] == pytest.approx((0.3 + 0.8) / 2)
    assert values["ratio_llmcompressor"]["value"] == 0.5
    # The faster one of each turn: 6 s, then 5 s.
    assert values["ratio_faster"]["value"] == pytest.approx((0.5 + 0.8) / 2)


def test_all_programs_are_timed():
    steps = [step.name for step in methods_speed.Measurement().steps()]
    expected = [f"{p} {t}" for t in (1, 2) for p in gptq_programs.PROGRAMS]
    assert steps == ["warm-up", *expected]


def test_a_program_that_fails_is_one_sentence(tmp_path):
    with pytest.raises(RuntimeError, match=r"GPTQ by ours failed: .*holds no model"):
        gptq_programs.run("ours", tmp_path)


@pytest.mark.parametrize("name", ["gptq", "methods-speed"])
def test_the_slice_of_a_record_is_measured_again(name):
    if not (records.measured_dir() / f"{name}.json").exists():
        pytest.skip(f"the record {name} is not measured yet")
    assert tasks.check_slice(name) == []
    assert records.read(name)["model"] == tasks.load(name).model()
