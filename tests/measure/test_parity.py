"""The measurement `parity`: no answer differs, and a wrong rule is found."""

import pytest
import torch

from course_utils import paths
from course_utils.formats import catalogue, double_quant
from course_utils.formats.floats import FLOATS
from course_utils.measure import comparing, oracles, parity, probes, records, task
from course_utils.measure.parity import PARITY


@pytest.mark.parametrize("key", PARITY)
def test_no_answer_differs(key):
    compared, different = PARITY[key].counts()
    assert compared >= 16
    assert different == 0


def test_every_format_is_decoded_and_encoded_against_somebody():
    names = {row.name.rsplit(" ", 1)[0] for row in PARITY.values()}
    operations = {tuple(row.name.split()) for row in PARITY.values()}
    assert set(catalogue.FORMATS) <= {name.split()[0] for name in names}
    for name in catalogue.FORMATS:
        assert (name, "decode") in operations
        assert (name, "encode") in operations or (
            name,
            "blocks",
            "of",
            "64",
        ) in operations


def test_all_codes_up_to_19_bits_are_decoded():
    for row in PARITY.values():
        name, _, operation = row.name.partition(" ")
        if operation == "decode" and name != "FP32":
            assert row.counts()[0] == 2 ** catalogue.lookup(name).bits
    exponents = probes.codes("FP32") >> FLOATS["FP32"].mantissa_bits
    assert len(exponents.unique()) == 2**9


@pytest.mark.parametrize("name", ["E5M2", "E4M3FN", "E2M1"])
def test_the_probes_hold_every_value_and_every_tie(name):
    fmt, x = FLOATS[name], probes.numbers(name)
    values = catalogue.decode(torch.arange(2**fmt.bits), name)
    values = values[values.isfinite()].unique()
    ties = (values[1:] + values[:-1]) / 2
    top = fmt.max + (values[-1] - values[-2]) / 2
    wanted = torch.cat([values, ties, torch.stack([top, -top])])
    assert torch.isin(wanted, x.double()).all()


def wrong_truncation(x, name, *, saturate=True):
    """Encode towards zero."""
    codes = RIGHT_ENCODE(x, name, saturate=saturate)
    beyond = catalogue.decode(codes, name).abs() > x.abs()
    return torch.where(beyond, codes - 1, codes)


def wrong_ties(x, name, *, saturate=True):
    """Encode with ties away from zero."""
    codes = RIGHT_ENCODE(x, name, saturate=saturate)
    above = RIGHT_ENCODE(x * 1.0001, name, saturate=saturate)
    return torch.where(catalogue.decode(codes, name) == x, codes, above)


def wrong_infinity(x, name, *, saturate=True):
    """Encode with the other rule for what is too large."""
    return RIGHT_ENCODE(x, name, saturate=not saturate)


def wrong_zero(x, name, *, saturate=True):
    """Encode -0 as 0."""
    return RIGHT_ENCODE(x + 0.0, name, saturate=saturate)


RIGHT_ENCODE = catalogue.encode


@pytest.mark.parametrize(
    "wrong", [wrong_truncation, wrong_ties, wrong_infinity, wrong_zero]
)
@pytest.mark.parametrize(
    "key", ["e5m2_encode_torch_not_saturating", "fp16_encode_torch_not_saturating"]
)
def test_a_wrong_rule_is_found(wrong, key, monkeypatch):
    monkeypatch.setattr(comparing.catalogue, "encode", wrong)
    assert PARITY[key].counts()[1] > 0


def test_the_nearest_value_is_not_the_rule_of_bitsandbytes(monkeypatch):
    values = double_quant.dynamic_map()
    bounds = (values[1:] + values[:-1]) / 2
    monkeypatch.setattr(
        double_quant, "nearest_codes", lambda x: torch.bucketize(x, bounds)
    )
    assert comparing.dynamic_codes()[1] > 0


def test_what_is_left_out_of_e8m0_is_where_the_oracles_round_up():
    x = probes.numbers("E8M0")
    inside = x[(x > 2.0**-127) & (x < 2.0**-126)]
    assert (oracles.torch_encode(inside, "E8M0") == 1).all()
    assert (oracles.ml_encode(inside, "E8M0") == 1).all()
    ours = catalogue.encode(inside, "E8M0")
    assert torch.equal(ours == 1, inside >= 1.5 * 2.0**-127)


def test_zero_and_minus_zero_are_different_answers():
    a = torch.tensor([0.0, float("nan"), 1.0])
    b = torch.tensor([-0.0, float("nan"), 1.0])
    assert comparing.different(a, b) == (3, 1)


def test_a_missing_oracle_is_one_sentence():
    with pytest.raises(ImportError, match="no_such_oracle is not installed; run"):
        oracles.library("no_such_oracle")


def test_the_record_holds_the_counts(tmp_path, monkeypatch):
    """With the quick rows alone; the others are run above."""
    quick = {
        key: row
        for key, row in PARITY.items()
        if row.name.split()[0] in ("E2M1", "INT4")
    }
    monkeypatch.setattr(parity, "PARITY", quick)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "book" / "texts").mkdir(parents=True)
    monkeypatch.setattr(task.hardware, "busy_share", lambda: None)
    task.run("parity", parity.Measurement(), say=lambda _: None)
    record = records.read("parity")
    assert record["values"]["e2m1_decode_ml_dtypes_every_code"] == {
        "value": 0,
        "unit": "",
        "n": 16,
        "spread": None,
    }
    total = sum(row.counts()[0] for row in quick.values())
    assert record["values"]["all"]["n"] == total
    assert any("ml_dtypes 0" in note for note in record["notes"])
    assert record["slice"]["values"]["e2m1_decode_ml_dtypes_every_code_n"] == 16
    again = parity.Measurement().slice()["values"]
    assert not records.differences(record["slice"], again)


def test_keys_fit_a_record():
    for key in PARITY:
        assert len(f"{key}_n") <= 60
