"""The measurement `quantizing-speed`: who is compared, its arithmetic, its record."""

import sys

import pytest
import torch

from course_utils.formats import affine
from course_utils.measure import quantizer_pairs, records
from course_utils.measure import quantizing_speed as speed


@pytest.fixture(scope="module")
def weights():
    generator = torch.Generator().manual_seed(0)
    return [0.05 * torch.randn(s, generator=generator) for s in [(192, 576), (64, 128)]]


@pytest.fixture
def pairs():
    return {pair.key: pair for pair in quantizer_pairs.pairs()}


def fake_pair(key="affine4", library="torchao", moved=0):
    """A pair whose second program moves the first `moved` codes by one."""

    def ours(w):
        return torch.zeros(w.numel(), dtype=torch.int32)

    def theirs(w):
        codes = ours(w)
        codes[:moved] += 1
        return codes

    return quantizer_pairs.Pair(key, library, ours, theirs)


@pytest.mark.parametrize("key", ["affine4", "int8"])
def test_codes_differ_by_one_step_and_only_at_ties(pairs, weights, key):
    pair = pairs[key]
    spec = {"affine4": quantizer_pairs.AFFINE4, "int8": quantizer_pairs.INT8}[key]
    for w in weights:
        ours, theirs = pair.ours(w).reshape(w.shape), pair.theirs(w).reshape(w.shape)
        differs = ours != theirs.to(torch.int32)
        assert (ours - theirs.to(torch.int32)).abs().max() <= 1
        scale, _ = affine.choose_qparams(w, spec=spec)
        steps = (affine.grouped(w, spec.group_size) / scale).reshape(w.shape)
        # A quotient of at most 127 through a rounded reciprocal errs by at most
        # 2 * 127 * 2**-24 = 1.5e-5, so no code farther from a tie can differ.
        assert ((steps[differs] % 1 - 0.5).abs() <= 2e-5).all()
        assert differs.float().mean() < 1e-3


def test_nf4_gives_the_bytes_of_bitsandbytes(pairs, weights):
    n, different = quantizer_pairs.differing(pairs["nf4"], weights)
    assert (n, different) == (sum(w.numel() for w in weights) // 2, 0)


def test_differing_counts_what_differs(weights):
    n = sum(w.numel() for w in weights)
    assert quantizer_pairs.differing(fake_pair(moved=3), weights) == (
        n,
        3 * len(weights),
    )
    assert quantizer_pairs.differing(fake_pair(), weights) == (n, 0)


def test_a_measurement_gives_times_ratios_and_counts(weights, monkeypatch):
    measurement = speed.Measurement()
    measurement.weights = weights
    measurement.pairs = (fake_pair(moved=2),)
    # Ours take 100, 1, 2, 3 s and theirs 100, 2, 2, 2 s: the first turn is dropped.
    clock = iter([100.0, 100.0, 1.0, 2.0, 2.0, 2.0, 3.0, 2.0])
    monkeypatch.setattr(speed, "TURNS", 3)
    monkeypatch.setattr(speed, "seconds", lambda *_: next(clock))
    results = {step.name: step.run() for step in measurement.steps()}
    values = measurement.values(results)
    assert values["affine4_ours"]["value"] == 2.0
    assert values["affine4_torchao"]["value"] == 2.0
    ratio = {"low": 0.5, "high": 1.5, "kind": "min-max"}
    assert values["affine4_ratio"] == {
        "value": 1.0,
        "unit": "",
        "n": 3,
        "spread": ratio,
    }
    n = sum(w.numel() for w in weights)
    assert values["affine4_different"] == records.exact(4, "", n=n)
    assert values["weights"]["value"] == n


def test_seconds_covers_every_matrix(weights):
    seen = []
    assert quantizer_pairs.seconds(lambda w: seen.append(w) or w, weights) > 0
    assert [id(w) for w in seen] == [id(w) for w in weights]


def test_a_missing_library_is_one_sentence(monkeypatch):
    # An imported part of it would be found without its parent.
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchao"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(ValueError, match=r"torchao is not installed.*make test"):
        quantizer_pairs.library("torchao.quantization.quant_primitives")
    monkeypatch.setattr(quantizer_pairs, "LIBRARIES", ("no-such-package",))
    with pytest.raises(ValueError, match="no-such-package is not installed"):
        quantizer_pairs.versions()


def test_a_package_that_stands_apart_is_found(monkeypatch, tmp_path):
    (tmp_path / "apart" / "stands_apart-1.2.dist-info").mkdir(parents=True)
    meta = tmp_path / "apart" / "stands_apart-1.2.dist-info" / "METADATA"
    meta.write_text("Name: stands-apart\nVersion: 1.2\n")
    (tmp_path / "apart" / "stands_apart.py").write_text("VALUE = 3\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(quantizer_pairs, "LIBRARIES", ("stands-apart",))
    before = list(sys.path)
    assert quantizer_pairs.library("stands_apart").VALUE == 3
    assert quantizer_pairs.versions() == {"stands-apart": "1.2"}
    assert sys.path == before


def test_the_record_is_of_this_code_and_model():
    """The slice: how many codes of the first layer differ, counted again."""
    record = records.read("quantizing-speed")
    measurement = speed.Measurement()
    assert record["model"] == measurement.model()
    assert records.differences(record["slice"], measurement.slice()["values"]) == []
    assert {f"{p.key}_ratio" for p in measurement.pairs} <= record["values"].keys()
