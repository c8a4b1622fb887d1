"""The measurement `methods`: its table, its arithmetic, its record."""

import math
from functools import partial

import pytest
import torch

from course_utils.formats import storage
from course_utils.formats.affine import QuantSpec
from course_utils.measure import (
    comparison,
    method_files,
    method_runs,
    method_scores,
    methods_compared,
    pareto,
    records,
)
from course_utils.measure.method_runs import Made, Subject
from course_utils.measure.methods_list import METHODS, named
from course_utils.methods import rtn
from course_utils.report.style import METHOD_COLOURS

# Those that work on any decoder whose rows are multiples of 32, in seconds.
SMALL = ("float32", "bf16", "rtn8", "fp8", "w8a8", "llmint8", "ternary")


@pytest.fixture
def subject(tiny, tmp_path):
    tokens = torch.arange(64).reshape(2, 32) % 97
    return Subject(tiny, tokens, tmp_path)


def test_keys_can_be_split_and_families_have_colours():
    keys = [method.key for method in METHODS]
    assert len(set(keys)) == len(keys)
    assert not any("_" in key for key in keys)
    assert {method.family for method in METHODS} <= set(METHOD_COLOURS)
    with pytest.raises(ValueError, match="no method 'rtn5'; choose from float32"):
        named("rtn5")


@pytest.mark.parametrize("key", SMALL)
def test_the_model_is_itself_again(subject, tokens, key):
    before = {name: w.clone() for name, w in subject.weights.items()}
    baseline = comparison.read(subject.model, tokens[:64], context=32)
    with named(key).run(subject) as made:
        found = comparison.compare(baseline, made.logits)
    assert (found.kl > 0) == (key != "float32")
    for name, w in subject.weights.items():
        assert torch.equal(w, before[name])
    again = comparison.compare(baseline, subject.model)
    assert again.kl == 0


def test_bits_and_bytes_are_counted(subject):
    n = sum(w.numel() for w in subject.weights.values())
    others = subject.model.num_parameters() - n
    with named("rtn8").run(subject) as made:
        # One 16-bit scale a row; rows of 32, and those of down_proj of 64.
        down = sum(w.numel() for w in subject.weights.values() if w.shape[1] == 64)
        bits = 8 + (16 / 64 * down + 16 / 32 * (n - down)) / n
        assert made.bits == pytest.approx(bits, rel=1e-12)
        assert made.n_bytes == round((n * bits + 16 * others) / 8)
    with named("bf16").run(subject) as made:
        assert (made.bits, made.n_bytes) == (16, 2 * (n + others))


def test_codebooks_count_their_constants():
    w = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    for key, double in (("nf4", False), ("nf4dq", True)):
        w_hat, bits = named(key).run.keywords["quantize"](w)
        assert bits == storage.nf4_bits(64, double=double)
        assert 0 < (w - w_hat).norm() < 0.12 * w.norm()


def test_fp8_errs_by_a_sixteenth_at_most():
    x = torch.randn(3, 5, 256, generator=torch.Generator().manual_seed(1))
    found = method_runs.to_fp8(x)
    # 3 stored bits of mantissa: half of 2^-3 of a value; below the smallest normal
    # number, 2^-6 of 448 steps, half a subnormal step of 2^-9.
    amax = x.abs().amax(dim=-1, keepdim=True)
    allowed = torch.maximum(x.abs() / 16, amax / 448 * 2**-10) * (1 + 1e-5)
    assert ((found - x).abs() <= allowed).all()
    assert torch.equal(method_runs.to_fp8(torch.zeros(2, 4)), torch.zeros(2, 4))


def test_walked_keeps_layers_and_gives_the_same_again(subject, tmp_path):
    def quantize(w, _stats=None):
        return rtn.quantize(w, spec=QuantSpec(4, group_size=32))

    run = partial(method_runs.walked, quantize=quantize, folder=tmp_path / "kept")
    weights = []
    for _ in range(2):
        with run(subject):
            weights.append({n: w.clone() for n, w in subject.weights.items()})
    assert len(list((tmp_path / "kept").iterdir())) == 3
    assert all(torch.equal(w, weights[1][n]) for n, w in weights[0].items())


def test_without_a_source_there_is_no_file(subject):
    assert "no GGUF file" in method_files.no_file(subject)


def made(model):
    return Made(model, 4.5, 1000, 2.0)


def test_scores_of_the_baseline_itself(tiny, tokens):
    baseline = comparison.read(tiny, tokens[:256], context=64)
    found = method_scores.read(baseline, made(method_scores.of_itself(baseline)))
    assert found["kl"] == 0 and found["same"] == "1" * 256
    assert len(found["right"]) == len(found["log_likelihoods"]) == 4 * 63
    values = method_scores.values("x", found, found)
    assert values["x_ratio"]["value"] == 1
    assert (values["x_lost"]["value"], values["x_won"]["value"]) == (0, 0)
    assert values["x_top1"]["value"] == 1 and values["x_bits"]["value"] == 4.5
    right = (baseline.logits[0].argmax(dim=1)[:-1] == baseline.windows[0][1:]).tolist()
    assert found["right"][:63] == "".join("01"[r] for r in right)


def test_scores_of_another_model(tiny, other, tokens):
    baseline = comparison.read(tiny, tokens[:256], context=64)
    base = method_scores.read(baseline, made(tiny))
    found = method_scores.read(baseline, made(other))
    direct = comparison.compare(baseline, other)
    values = method_scores.values("x", found, base)
    assert values["x_kl"]["value"] == pytest.approx(direct.kl, rel=1e-5)
    assert values["x_top1"]["value"] == pytest.approx(direct.top1, rel=1e-5)
    before = comparison.itself(baseline).log_likelihoods
    ratio = (before.double() - direct.log_likelihoods.double()).mean().exp().item()
    # Log-likelihoods are kept to 7 digits, those of about 10 nats to 1e-6.
    assert values["x_ratio"]["value"] == pytest.approx(ratio, rel=1e-5)
    moved = values["x_won"]["value"] - values["x_lost"]["value"]
    gained = found["right"].count("1") - base["right"].count("1")
    assert moved == gained


def scores(values):
    return {"log_likelihoods": values}


def test_pairs_are_counted():
    wave = [0.5, -0.5] * 64 + [0.5] * 64 + [-0.5] * 64
    low = [-2.0] * 256
    results = {
        "a": scores(low),
        "b": scores([x - 1.0 for x in low]),  # worse everywhere
        "c": scores([x + 0.01 + w for x, w in zip(low, wave, strict=True)]),
    }
    values = method_scores.pairs(results, short=192)
    assert values["pairs_all"]["value"] == 3
    # a and c differ by 0.01 on average, and blocks by up to 0.5.
    assert values["pairs_alike"]["value"] == 1
    assert values["c_next"]["value"] == pytest.approx(math.exp(0.01), rel=1e-5)
    assert values["a_next"]["value"] == pytest.approx(math.e, rel=1e-5)
    assert "b_next" not in values
    assert values["a_short"]["value"] == pytest.approx(math.exp(2), rel=1e-5)


def test_reversed_pairs_are_counted():
    first = scores([-1.0] * 128 + [-3.0] * 128)
    second = scores([-2.0] * 128 + [-1.0] * 128)
    values = method_scores.pairs({"a": first, "b": second}, short=128)
    assert values["pairs_reversed_short"]["value"] == 1


def test_the_front():
    points = [(1, 5), (2, 3), (2, 4), (3, 3), (4, 1), (4, 1)]
    assert pareto.front(points) == [True, True, False, False, True, True]
    assert pareto.front([]) == []
    with pytest.raises(ValueError, match="is NaN; leave that point out"):
        pareto.front([(1, math.nan)])


def test_another_model_has_a_record_of_its_own(monkeypatch):
    assert methods_compared.Measurement().record == "methods"
    monkeypatch.setenv("COURSE_MODEL", "owner/model")
    assert methods_compared.Measurement().record == "methods-hub"


def test_the_rows_of_the_record():
    rows = pareto.stored_rows()
    assert {m.key for m in METHODS if m.kind != "file"} <= rows.keys()
    assert rows["float32"].value["kl"] == 0 == rows["float32"].changed
    low, high = rows["rtn4"].low["ratio"], rows["rtn4"].high["ratio"]
    assert low < rows["rtn4"].value["ratio"] < high
    assert pareto.stored_rows("no-such-record") == {}


def test_the_record_is_of_this_code_and_model():
    """The slice: the first matrix by every method that reads no text."""
    record = records.read("methods")
    measurement = methods_compared.Measurement()
    assert record["model"] == measurement.model()
    assert records.differences(record["slice"], measurement.slice()["values"]) == []
