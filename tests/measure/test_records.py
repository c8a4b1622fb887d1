"""Records: valid, whole, and silent about the machine's folders and users."""

import copy
import json
import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest
from jsonschema import Draft202012Validator

from course_utils.measure import records, tasks

SHA = "0123456789abcdef" * 4
DEVICE = {
    "kind": "cpu",
    "name": "A processor",
    "arch": "AVX2",
    "cores": 2,
    "threads": 2,
    "memory_bytes": 8 * 2**30,
    "os": "Debian GNU/Linux 12, x86_64",
}
RECORD = {
    "name": "sample",
    "title": "A sample",
    "command": "python -m course_utils measure sample",
    "date": "2026-01-31",
    "commit": "0123456789abcdef0123456789abcdef01234567-changed",
    "device": DEVICE,
    "versions": {"python": "3.11.7", "torch": "2.13.0+cpu"},
    "model": {"id": "a/model", "revision": "main", "sha256": SHA},
    "inputs_sha256": SHA,
    "values": {
        "rate": {
            "value": 26.5,
            "unit": "tok/s",
            "n": 5,
            "spread": {"low": 25.0, "high": 27.0, "kind": "min-max"},
        },
        "size": {"value": 538, "unit": "B", "n": 1, "spread": None},
    },
    "slice": {
        "description": "Two layers",
        "values": {"count": 7, "mean": -3.25},
        "tolerance": 1e-4,
    },
    "notes": ["Median of the runs; prefill 512 tok/s and/or less."],
}


def changed(path, value):
    """Return RECORD with the field at dotted `path` set, or removed if Ellipsis."""
    record = copy.deepcopy(RECORD)
    *parents, last = path.split(".")
    place = record
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return record


def test_the_schema_is_a_schema_and_closed():
    schema = json.loads(records.SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")

    def objects(node):
        if isinstance(node, dict):
            if node.get("type") == "object" and "properties" in node:
                yield node
            for child in node.values():
                yield from objects(child)
        elif isinstance(node, list):
            for child in node:
                yield from objects(child)

    # A field nobody listed has no place: none can carry a path or a name.
    found = list(objects(schema))
    assert len(found) == 6
    assert all("additionalProperties" in node for node in found)
    assert all(
        word not in json.dumps(node["properties"]).lower()
        for node in found
        for word in ("hostname", "username", '"path"', '"user"', '"host"')
    )


def test_round_trip(tmp_path):
    path = records.write("sample", RECORD, folder=tmp_path)
    assert path == tmp_path / "sample.json"
    assert records.read("sample", folder=tmp_path) == RECORD
    assert os.listdir(tmp_path) == ["sample.json"]  # noqa: PTH208 -- hidden files too
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("commit", ...),
        ("slice", ...),
        ("slice", None),  # a CPU record has a slice
        ("date", "31.01.2026"),
        ("date", "2026-13-01"),
        ("commit", "main"),
        ("inputs_sha256", "abc"),
        ("model.sha256", ...),
        ("model.path", "model.safetensors"),
        ("values", {}),
        ("values.rate.unit", ...),
        ("values.rate.n", 0),
        ("values.rate.n", 2.5),
        ("values.rate.value", "26.5"),
        ("values.rate.value", None),
        ("values.rate.value", 27.5),  # outside its spread
        ("values.rate.spread", {"low": 1}),
        ("values.Rate", RECORD["values"]["rate"]),
        ("slice.tolerance", -0.1),
        ("device.hostname", "somewhere"),
        ("device.kind", "abacus"),
        ("user", "someone"),
        ("versions", {"python": "3.11.7"}),
        ("name", "other"),
        ("command", "/home/someone/.venv/bin/python -m course_utils measure sample"),
        ("notes", ["The cache was in ~/.cache."]),
        ("notes", ["Cached under (/var/tmp)."]),
        ("device.os", "C:\\Users\\someone"),
    ],
)
def test_what_breaks_the_schema_is_neither_written_nor_read(tmp_path, path, value):
    bad = changed(path, value)
    with pytest.raises(records.RecordError, match="was not written") as caught:
        records.write("sample", bad, folder=tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "sample.json").write_text(json.dumps(bad))
    with pytest.raises(records.RecordError, match=r"damaged.*measure sample"):
        records.read("sample", folder=tmp_path)


def test_a_gpu_record_may_have_no_slice(tmp_path):
    record = changed("slice", None)
    record["device"] = {**DEVICE, "kind": "cuda", "arch": "sm90"}
    records.write("sample", record, folder=tmp_path)
    assert records.read("sample", folder=tmp_path)["slice"] is None


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_refused(tmp_path, number):
    record = changed("slice.values.mean", number)
    with pytest.raises(ValueError, match=r"JSON|nan|inf"):
        records.write("sample", record, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "sample.json").write_text(json.dumps(record))
    with pytest.raises(records.RecordError, match="damaged"):
        records.read("sample", folder=tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"name": "sam', b"\xff\xfe", b"[]", b"3"])
def test_a_damaged_record_is_one_sentence(tmp_path, content):
    (tmp_path / "sample.json").write_bytes(content)
    with pytest.raises(records.RecordError, match="is damaged") as caught:
        records.read("sample", folder=tmp_path)
    assert "\n" not in str(caught.value)
    assert "python -m course_utils measure sample" in str(caught.value)


def test_a_missing_record_is_told_apart(tmp_path):
    with pytest.raises(records.MissingRecordError, match="measure sample"):
        records.read("sample", folder=tmp_path)


@pytest.mark.parametrize("name", ["../sample", "a b", "", "Sample", "a--b"])
def test_a_name_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(records.RecordError, match="not a record's name"):
        records.read(name, folder=tmp_path)


def test_a_failed_write_leaves_the_old_record(tmp_path, monkeypatch):
    records.write("sample", RECORD, folder=tmp_path)

    def full_disk(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        records.write("sample", changed("title", "New"), folder=tmp_path)
    monkeypatch.undo()
    assert records.read("sample", folder=tmp_path) == RECORD
    assert len(list(tmp_path.iterdir())) == 1


def test_a_reader_never_sees_half_a_record_of_a_killed_writer(tmp_path):
    records.write("sample", RECORD, folder=tmp_path)
    code = f"""
        import sys
        sys.path.insert(0, {str(records.paths.ROOT)!r})
        from pathlib import Path
        from course_utils.measure import records, tasks
        record = records.read("sample", folder=Path({str(tmp_path)!r}))
        record["notes"] = ["x" * 1000] * 2000
        print("ready", flush=True)
        while True:
            records.write("sample", record, folder=Path({str(tmp_path)!r}))
    """
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE
    )
    try:
        assert writer.stdout.readline() == b"ready\n"
        for _ in range(10):
            records.read("sample", folder=tmp_path)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    records.read("sample", folder=tmp_path)


def test_repeated_runs_are_summarised_by_their_median():
    assert records.repeated([3.0, 1.0, 2.0], "s") == {
        "value": 2.0,
        "unit": "s",
        "n": 3,
        "spread": {"low": 1.0, "high": 3.0, "kind": "min-max"},
    }
    assert records.repeated([1.0, 4.0], "s")["value"] == 2.5
    assert records.repeated([1.23456789], "s")["value"] == 1.2346
    assert records.exact(5, "B") == {"value": 5, "unit": "B", "n": 1, "spread": None}
    with pytest.raises(ValueError, match="no run"):
        records.repeated([], "s")


@pytest.mark.parametrize(
    ("measured", "moved"),
    [
        ({"count": 7, "mean": -3.25}, []),
        ({"count": 7, "mean": -3.25 * (1 + 0.9e-4)}, []),
        ({"count": 7, "mean": -3.25 * (1 + 1.1e-4)}, ["mean"]),
        ({"count": 7, "mean": float("nan")}, ["mean"]),
        ({"count": 8, "mean": -3.25}, ["count"]),  # whole numbers exactly
        ({"count": 7}, ["mean"]),
        ({"count": 7, "mean": -3.25, "extra": 1}, ["extra"]),
    ],
)
def test_a_slice_is_held_to_its_record(measured, moved):
    sentences = records.differences(RECORD["slice"], measured)
    assert [s.split()[0] for s in sentences] == moved


# Written by commands of their own: the mutation gate, the notebooks, `make graders`.
NOT_RECORDS = {"kills", "status", "graders", "graders-attacks", "graders-honest"}


def test_every_record_of_the_book_is_valid_and_can_be_measured_again():
    names = {path.stem for path in records.measured_dir().glob("*.json")} - NOT_RECORDS
    assert names <= set(tasks.TASKS)
    for name in names:
        assert records.read(name)["command"].endswith(f"measure {name}")


def test_no_file_beside_the_records_holds_a_path():
    for path in sorted(records.measured_dir().glob("*.json")):
        assert not re.search(r"/(home|root|work|tmp|Users|opt|usr)\b", path.read_text())
