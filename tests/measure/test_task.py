"""A measurement in steps: interrupted, resumed, and never half written."""

import json

import pytest

from course_utils import paths
from course_utils.measure import provenance, records, task, tasks

SHA = "0123456789abcdef" * 4


class Sample:
    """A task of three steps that counts how often each ran."""

    title = "A sample"
    device = "cpu"
    notes = ("Only for the tests.",)

    def __init__(self, *, stop_at=None, rate=2.0, parameters=None):
        self.ran, self.stop_at, self.rate = [], stop_at, rate
        self.parameters = parameters or {"text": SHA}

    def model(self):
        return {"id": "a/model", "revision": "main", "sha256": SHA}

    def inputs(self):
        return self.parameters

    def _work(self, name):
        if name == self.stop_at:
            raise KeyboardInterrupt
        self.ran.append(name)
        return {"rate": self.rate, "tuple": (1, 2)}

    def steps(self):
        for name in ("one", "two", "three"):
            yield task.Step(name, lambda name=name: self._work(name))

    def values(self, results):
        assert results["one"]["tuple"] == [1, 2]  # as JSON has it, kept or fresh
        rates = [results[name]["rate"] for name in ("one", "two", "three")]
        return {"rate": records.repeated(rates, "tok/s")}

    def slice(self):
        self.ran.append("slice")
        return {"description": "One", "values": {"count": 3}, "tolerance": 0.0}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A checkout of its own, so that no test writes into the real one."""
    (tmp_path / "book" / "texts").mkdir(parents=True)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(provenance, "commit", lambda: "none")
    monkeypatch.setattr(task.hardware, "busy_share", lambda: 0.02)
    return tmp_path


@pytest.fixture
def lines():
    return []


def interrupted(lines, **options):
    """Run a sample that is interrupted before its third step."""
    sample = Sample(stop_at="three", **options)
    with pytest.raises(KeyboardInterrupt):
        task.run("sample", sample, say=lines.append)
    assert sample.ran == ["one", "two"]


def test_a_whole_run_writes_a_valid_record_and_leaves_nothing_else(folder, lines):
    sample = Sample()
    path = task.run("sample", sample, say=lines.append)
    assert sample.ran == ["one", "two", "three", "slice"]
    assert path == folder / "book" / "measured" / "sample.json"
    record = records.read("sample")
    assert record["values"]["rate"]["n"] == 3
    assert record["slice"]["values"] == {"count": 3}
    assert record["inputs_sha256"] == provenance.inputs_sha256({"text": SHA})
    assert record["notes"] == ["Only for the tests."]
    assert not task.partial_file("sample").exists()
    assert lines[0] == "[1/4] one ..."
    assert lines[-1].startswith("[4/4] slice for the tests: done in ")


def test_an_interrupted_run_goes_on_where_it_stopped(folder, lines):
    interrupted(lines, rate=2.0)
    assert not (folder / "book" / "measured").exists()
    partial = json.loads(task.partial_file("sample").read_text())
    assert set(partial["results"]) == {"one", "two"}
    again = Sample(rate=5.0)
    task.run("sample", again, say=lines.append)
    assert again.ran == ["three", "slice"]
    assert records.read("sample")["values"]["rate"]["value"] == 2.0  # of 2, 2, 5
    assert "[1/4] one: kept from an earlier run" in lines
    assert not task.partial_file("sample").exists()


def test_a_busy_machine_is_said_and_noted(folder, lines, monkeypatch):
    monkeypatch.setattr(task.hardware, "busy_share", lambda: 0.75)
    task.run("sample", Sample(), say=lines.append)
    assert "used 75% of the processor" in lines[0]
    assert records.read("sample")["notes"][1:] == [lines[0]]


def test_a_machine_that_was_busy_before_the_interrupt_is_noted(
    folder, lines, monkeypatch
):
    monkeypatch.setattr(task.hardware, "busy_share", lambda: 0.75)
    interrupted(lines)
    monkeypatch.setattr(task.hardware, "busy_share", lambda: 0.02)
    task.run("sample", Sample(), say=lines.append)
    (note,) = records.read("sample")["notes"][1:]
    assert "used 75% of the processor" in note


def test_other_inputs_start_again(folder, lines):
    interrupted(lines)
    again = Sample(parameters={"text": SHA, "context": 256})
    task.run("sample", again, say=lines.append)
    assert again.ran == ["one", "two", "three", "slice"]


@pytest.mark.parametrize("what", ["commit", "code_sha256"])
def test_other_code_starts_again(folder, lines, monkeypatch, what):
    interrupted(lines)
    monkeypatch.setattr(provenance, what, lambda: "0" * 40)
    again = Sample()
    task.run("sample", again, say=lines.append)
    assert again.ran == ["one", "two", "three", "slice"]


def test_other_versions_start_again(folder, lines, monkeypatch):
    interrupted(lines)
    monkeypatch.setattr(
        task.hardware, "versions", lambda: {"python": "3.11.0", "torch": "2.0.0"}
    )
    again = Sample()
    task.run("sample", again, say=lines.append)
    assert again.ran == ["one", "two", "three", "slice"]


def test_fresh_forgets_an_interrupted_run(folder, lines):
    interrupted(lines)
    again = Sample()
    task.run("sample", again, say=lines.append, fresh=True)
    assert again.ran == ["one", "two", "three", "slice"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 1}', "null"])
def test_a_damaged_partial_file_is_measured_again(folder, lines, content):
    interrupted(lines)
    task.partial_file("sample").write_text(content)
    again = Sample()
    task.run("sample", again, say=lines.append)
    assert again.ran == ["one", "two", "three", "slice"]


def test_a_bad_outcome_leaves_the_old_record_and_the_steps(folder, lines):
    task.run("sample", Sample(), say=lines.append)
    before = records.read("sample")
    bad = Sample()
    bad.values = lambda _: {}
    with pytest.raises(records.RecordError, match="was not written"):
        task.run("sample", bad, say=lines.append)
    assert records.read("sample") == before
    assert task.partial_file("sample").exists()


def test_the_table_names_what_there_is():
    with pytest.raises(ValueError, match=r"no measurement 'speed'.*embedded-model"):
        tasks.load("speed")


def test_every_task_of_the_table_can_be_loaded_and_has_a_name_a_record_may_have():
    for name in tasks.TASKS:
        chosen = tasks.load(name)
        assert records.NAME.fullmatch(name)
        assert len([step.name for step in chosen.steps()]) == len(
            {step.name for step in chosen.steps()}
        )


def test_measuring_needs_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)  # an installed package: no book/
    monkeypatch.setattr(tasks, "load", lambda _: Sample())
    with pytest.raises(ValueError, match="checkout"):
        tasks.measure("sample", say=print)


def test_a_slice_is_repeated_and_compared(folder, lines, monkeypatch):
    task.run("sample", Sample(), say=lines.append)
    monkeypatch.setattr(tasks, "load", lambda _: Sample())
    assert tasks.check_slice("sample") == []
    other = Sample()
    other.slice = lambda: {"description": "x", "values": {"count": 4}, "tolerance": 0}
    monkeypatch.setattr(tasks, "load", lambda _: other)
    assert tasks.check_slice("sample") == [
        "count is 4, but the record has 3 (relative tolerance 0)."
    ]
