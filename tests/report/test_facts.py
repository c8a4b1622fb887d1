"""Facts come from the records, or say that there is none."""

import json

import pytest

from course_utils.measure import records
from course_utils.report.facts import Fact, facts

RECORD = {
    "name": "speed",
    "title": "Decoding speed",
    "command": "python -m course_utils measure speed",
    "date": "2026-11-23",
    "commit": "none",
    "device": {
        "kind": "cuda",
        "name": "Tesla T4",
        "arch": "sm75",
        "cores": 40,
        "threads": 1,
        "memory_bytes": 16_000_000_000,
        "os": "Linux",
    },
    "versions": {"python": "3.11.2", "torch": "2.13.0"},
    "model": None,
    "inputs_sha256": "0" * 64,
    "values": {
        "decode": {
            "value": 31.4159,
            "unit": "tok/s",
            "n": 5,
            "spread": {"low": 31.0, "high": 32.0, "kind": "min-max"},
        },
        "stored": {"value": 1234567, "unit": "B", "n": 1, "spread": None},
    },
    "slice": None,
    "notes": [],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "measured_dir", lambda: tmp_path)
    (tmp_path / "speed.json").write_text(json.dumps(RECORD))
    return tmp_path


def test_a_fact_has_its_value_and_where_it_came_from(folder):
    fact = facts("speed/decode")
    assert fact == Fact(
        id="speed/decode",
        value=31.4159,
        unit="tok/s",
        n=5,
        spread={"low": 31.0, "high": 32.0, "kind": "min-max"},
        device="Tesla T4",
        date="2026-11-23",
    )
    assert f"{fact:.1f} {fact.unit}" == "31.4 tok/s"
    assert f"{fact}" == str(fact) == "31.4 tok/s"
    assert float(fact) == 31.4159
    assert str(facts("speed/stored")) == "1,234,567 B"


def test_a_fact_without_a_record_says_so(folder):
    fact = facts("no-such-record/decode")
    assert not fact.measured
    assert f"{fact:.3f}" == f"{fact}" == str(fact) == "not yet measured"
    with pytest.raises(ValueError, match="no-such-record/decode is not yet measured"):
        float(fact)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("speed", "write it as record/key"),
        ("/decode", "write it as record/key"),
        ("speed/prefill", "it has decode, stored"),
        ("Speed/decode", "not a record's name"),
    ],
)
def test_a_wrong_id_is_an_error(folder, wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        facts(wrong)


def test_a_damaged_record_is_an_error_and_not_unmeasured(folder):
    (folder / "speed.json").write_text(json.dumps(RECORD | {"values": {}}))
    with pytest.raises(ValueError, match="damaged"):
        facts("speed/decode")
