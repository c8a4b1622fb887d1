"""The measurement `qat`: its runs, its texts, its arithmetic."""

from types import SimpleNamespace

import pytest
import torch

from course_utils.measure import comparison, qat_blocks, qat_runs
from course_utils.models import blockwise_training as training


def fake_comparison(shift, n=192):
    """A model that finds every token `shift` nats harder."""
    return comparison.Comparison(
        -2 - shift * torch.ones(n), kl=shift, top1=1 - shift, n=n + 1
    )


@pytest.fixture
def measurement(tiny, tokens, monkeypatch):
    found = qat_blocks.Measurement()
    found.loaded = SimpleNamespace(model=tiny, tokenizer=None)
    found.tokens, found.all_tokens = tokens[:256], tokens
    found.CONTEXT = 64
    monkeypatch.setattr(qat_blocks, "OTHER", slice(256, 384))
    monkeypatch.setattr(qat_runs, "GROUP", 16)
    monkeypatch.setattr(qat_runs, "STEPS", 4)
    return found


def test_every_key_is_its_own_and_texts_are_shared_by_both_methods():
    keys = [run.key for run in qat_runs.RUNS]
    assert len(set(keys)) == len(keys)
    for text in qat_runs.TEXTS:
        methods = {r.method for r in qat_runs.RUNS if r.text == text and r.bits == 2}
        assert {"gptq", "qat"} <= methods


def test_a_run_is_read_on_both_texts_and_the_model_comes_back(measurement, tiny):
    kept = {name: x.clone() for name, x in tiny.state_dict().items()}
    tail = training.Tail(tiny, measurement.tokens.reshape(-1, 64))
    found = {
        m: measurement._run(qat_runs.Run(m, 2), tail) for m in ("rtn", "gptq", "qat")
    }
    # 2 bits and 18 bits of step and zero point for 16 weights.
    assert {x["bits"] for x in found.values()} == {2 + 18 / 16}
    assert len(found["qat"]["losses"]) == 4
    assert found["rtn"]["losses"] == []
    assert len(found["rtn"][""]["log_likelihoods"]) == 4 * 63
    assert len(found["rtn"]["other"]["log_likelihoods"]) == 2 * 63
    assert found["gptq"][""]["kl"] < found["rtn"][""]["kl"]
    assert all(torch.equal(x, kept[name]) for name, x in tiny.state_dict().items())


def test_steps_only_leaves_the_weights(measurement, tiny):
    tail = training.Tail(tiny, measurement.tokens.reshape(-1, 64))
    start = qat_runs.rounded(qat_runs.Run("clip", 2), tail, [])
    found = qat_runs.rounded(qat_runs.Run("steps", 2), tail, [])
    for name, w in tail.weights().items():
        s = found[name].scale
        assert not torch.equal(s, start[name].scale)
        steps = (w.reshape(len(w), -1, 16) / s).round() + found[name].zero_point
        assert torch.equal(
            steps.clamp(0, 3).reshape(w.shape), found[name].q.to(w.dtype)
        )


def test_the_leaked_text_is_the_evaluation_text_and_prose_is_not():
    found = qat_blocks.Measurement()
    found.tokens, found.all_tokens = torch.arange(2048), torch.arange(9000)
    leak, prose = (set(found.text(n).flatten().tolist()) for n in ("leak8", "prose8"))
    other = set(range(9000)[qat_blocks.OTHER])
    assert leak == set(range(2048))
    assert not prose & (leak | other)
    assert not other & leak
    assert len(prose) == 8 * 256


def test_values_are_ratios_with_intervals():
    results = {
        "float": {t: qat_blocks._scores(fake_comparison(0.0)) for t in ("", "other")}
    }
    for i, key in enumerate(("gptq_2", "qat_2", "gptq_3", "qat_3"), 1):
        both = {t: qat_blocks._scores(fake_comparison(0.1 * i)) for t in ("", "other")}
        losses = [4.0, 1.0, 1.0, 3.0] if key.startswith("qat") else []
        results[key] = {**both, "bits": 2.28125, "losses": losses}
    results["w8a8_mse"] = {"": qat_blocks._scores(fake_comparison(0.5))}
    values = qat_blocks.Measurement().values(results)
    for i, key in enumerate(("gptq_2", "qat_2", "gptq_3", "qat_3"), 1):
        assert values[f"{key}_ratio"]["value"] == pytest.approx(
            torch.e ** (0.1 * i), rel=1e-5
        )
        assert values[f"{key}_other_kl"]["value"] == pytest.approx(0.1 * i)
        assert values[f"{key}_bits"]["value"] == 2.28125
    assert values["qat_2_loss"]["value"] == 3.0  # the last quarter of four steps
    assert "gptq_2_loss" not in values
    assert values["w8a8_mse_top1"]["value"] == pytest.approx(0.5)
    over = values["qat_over_gptq_2"]
    assert over["value"] == pytest.approx(torch.e**0.1, rel=1e-5)
    assert over["spread"]["low"] <= over["value"] <= over["spread"]["high"]
