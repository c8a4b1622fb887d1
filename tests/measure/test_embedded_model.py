"""The measurement `embedded-model`: its arithmetic on a tiny model, and its slice."""

import json
import math
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from course_utils import paths
from course_utils.formats.affine import QuantSpec, fake_quantize
from course_utils.measure import (
    child,
    embedded_model,
    inference,
    records,
    task,
    tasks,
    whole_model,
)
from course_utils.measure.perplexity import log_likelihoods

SHA = "0123456789abcdef" * 4


@pytest.fixture
def sample(tiny, tokens, monkeypatch):
    """The measurement with a tiny model behind the same interface."""
    measurement = embedded_model.Measurement()
    card = SimpleNamespace(id="tiny", revision="1")
    tokenizer = None
    measurement.loaded = SimpleNamespace(model=tiny, tokenizer=tokenizer, card=card)
    measurement.tokens = tokens
    ref = {"id": "tiny", "revision": "1", "sha256": SHA}
    monkeypatch.setattr(whole_model, "model_ref", lambda: ref)
    monkeypatch.setattr(embedded_model, "SLICE_LAYERS", 2)
    monkeypatch.setattr(embedded_model, "RUNS", 2)
    monkeypatch.setattr(embedded_model, "N_NEW", 3)
    return measurement


@pytest.fixture
def children(monkeypatch):
    """Results of child processes: the k-th takes k seconds and k million bytes."""
    calls = []

    def run(job):
        calls.append(job)
        k = len(calls)
        return {
            "import_seconds": 10.0 + k,
            "load_seconds": float(k),
            "peak_load_bytes": k * 1_000_000,
            "peak_window_bytes": k * 2_000_000,
        }

    monkeypatch.setattr(child, "run", run)
    return calls


def test_a_whole_measurement_is_a_valid_record(sample, children, tmp_path, monkeypatch):
    (tmp_path / "book" / "texts").mkdir(parents=True)
    for name in ("evaluation.md", "calibration.json"):
        (tmp_path / "book" / "texts" / name).write_text("Some text.\n")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(task.hardware, "busy_share", lambda: None)
    task.run("embedded-model", sample, say=lambda _: None)
    record = records.read("embedded-model")
    assert record["model"] == {"id": "tiny", "revision": "1", "sha256": SHA}
    assert children == ["load"] + ["first-load"] * 3 + ["load"] * 5
    values = record["values"]
    # The warm-up, call 1, is in none of them; calls 2 to 4 are first, 5 to 9 later.
    assert values["first_load"]["value"] == 3.0
    assert values["later_load"] == {
        "value": 7.0,
        "unit": "s",
        "n": 5,
        "spread": {"low": 5.0, "high": 9.0, "kind": "min-max"},
    }
    assert values["imports"]["value"] == 17.0
    assert values["peak_window"]["value"] == 14_000_000
    assert values["prefill"]["n"] == values["decode"]["n"] == 2
    assert values["prefill"]["unit"] == "tok/s"
    assert values["weights"]["value"] == 4 * values["parameters"]["value"]


def test_perplexity_has_an_interval_over_tokens(sample, tiny, tokens):
    scores = log_likelihoods(tiny, tokens).double()
    value = embedded_model._interval(sample._perplexity())
    assert value["n"] == len(scores) == 1300 - 3
    assert value["value"] == pytest.approx(math.exp(-scores.mean()), rel=1e-5)
    reach = 1.96 * scores.std().item() / math.sqrt(len(scores))
    assert math.log(value["spread"]["high"]) == pytest.approx(
        -scores.mean().item() + reach, abs=1e-5
    )
    assert value["spread"]["low"] < value["value"]
    assert value["spread"]["kind"] == "95% interval"


def test_the_slice_is_the_first_layers_only(sample, tiny, tokens):
    whole = sample.slice()["values"]
    with torch.no_grad():
        tiny.model.layers[2].mlp.up_proj.weight.neg_()  # the third of three layers
        try:
            assert sample.slice()["values"] == whole
        finally:
            tiny.model.layers[2].mlp.up_proj.weight.neg_()
    assert whole["layer_parameters"] * 4 == whole["layer_bytes"]
    full = log_likelihoods(tiny, tokens[:64]).double().mean().item()
    assert whole["mean_log_likelihood"] != pytest.approx(full, rel=1e-3)


def test_truncating_is_undone_also_after_an_error(tiny):
    with pytest.raises(RuntimeError), inference.truncated(tiny, 1):
        assert len(tiny.model.layers) == 1
        raise RuntimeError
    assert len(tiny.model.layers) == 3
    for n in (0, 4):
        with pytest.raises(ValueError, match="1 to 3"), inference.truncated(tiny, n):
            pass


def test_inputs_name_everything_that_can_move_a_result(sample, monkeypatch):
    first = sample.inputs()
    assert first["weights"] == SHA
    assert len(first["text"]) == 64
    monkeypatch.setattr(type(sample), "CONTEXT", 256)
    assert sample.inputs() != first


def test_a_failing_child_is_one_sentence():
    with pytest.raises(RuntimeError, match="'no-such-job' failed: KeyError"):
        child.run("no-such-job")


def test_a_first_load_sees_the_download_and_nothing_prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    download = tmp_path / "download"
    download.mkdir()
    (download / "file").write_text("weights")
    (tmp_path / "prepared").mkdir()
    killed = tmp_path / f"{child.PREFIX}killed"
    killed.mkdir()
    with child._cache_with_only(download):
        assert [p.name for p in paths.cache_dir().iterdir()] == ["download"]
        assert (paths.cache_dir() / "download" / "file").read_text() == "weights"
        (paths.cache_dir() / "download" / "file").write_text("changed")
    assert paths.cache_dir() == tmp_path
    assert (download / "file").read_text() == "weights"  # a copy, not a link
    assert sorted(p.name for p in tmp_path.iterdir()) == ["download", "prepared"]


def test_a_child_loads_the_real_model():
    out = subprocess.run(
        [sys.executable, "-m", "course_utils.measure.child", "load"],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(out.stdout)  # nothing else on stdout
    assert set(result) == {
        "import_seconds",
        "load_seconds",
        "peak_load_bytes",
        "peak_window_bytes",
    }
    # 134.5 million float32 weights have been read by the end of a window.
    assert result["peak_window_bytes"] > 134_515_008 * 4
    assert result["peak_window_bytes"] >= result["peak_load_bytes"]


@pytest.fixture(scope="module")
def real():
    return embedded_model.Measurement()


def test_the_slice_of_the_real_model_agrees_with_the_record(real, monkeypatch):
    monkeypatch.setattr(tasks, "load", lambda _: real)
    assert tasks.check_slice("embedded-model") == []


def test_the_tolerance_is_above_rounding_and_below_one_matrix_at_8_bits(real):
    model = real.loaded.model
    before = real.slice()["values"]["mean_log_likelihood"]
    module = model.model.layers[0].mlp.down_proj
    original = module.weight.data

    def moved(weight):
        module.weight.data = weight
        try:
            return abs(real.slice()["values"]["mean_log_likelihood"] / before - 1)
        finally:
            module.weight.data = original

    # Half of the weights moved to the next float32: what another order of adding does.
    generator = torch.Generator().manual_seed(0)
    ulps = torch.randint(0, 2, original.shape, generator=generator)
    noise = moved(torch.where(ulps > 0, original.nextafter(original * 2), original))
    rounded = moved(fake_quantize(original, spec=QuantSpec(bits=8)))
    assert noise < embedded_model.SLICE_TOLERANCE / 5
    assert rounded > embedded_model.SLICE_TOLERANCE
