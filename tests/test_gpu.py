"""The script that runs the lessons on a GPU, as far as a processor goes."""

import importlib.util
import json
import time
from pathlib import Path

import pytest

from course_utils.authoring import status
from course_utils.measure import hardware, records

SCRIPT = Path(__file__).parents[1] / "tools" / "gpu.py"


@pytest.fixture
def gpu():
    spec = importlib.util.spec_from_file_location("gpu_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Lessons:
    """A project of two chapters."""

    def targets(self):
        kinds = ("notebooks", "solutions")
        return [(kind, slug) for slug in ("00_a-b", "01_c") for kind in kinds]


def took(seconds):
    return status.Entry(seconds, 500, "2026-01-01", "gpu", "3.11", {})


@pytest.fixture
def pretended(gpu, monkeypatch, tmp_path):
    """A GPU by name, and executions that take no time and whatever memory is said."""
    memory = {"used": 1000}

    def execute(_project, plan, slugs):
        assert plan.profile == "gpu"
        (slug,) = slugs
        memory["used"] = 1000 + {"00_a-b": 50, "01_c": 70}[slug]
        time.sleep(0.3)  # several looks
        memory["used"] = 1000
        return {f"{kind}/{slug}": took(2.5) for kind in ("notebooks", "solutions")}

    monkeypatch.setenv("COURSE_MODEL", "embedded")
    monkeypatch.setattr(gpu.paths, "ROOT", tmp_path)
    (tmp_path / "book" / "texts").mkdir(parents=True)  # what makes it a checkout
    monkeypatch.setattr(gpu, "used_bytes", lambda: memory["used"])
    monkeypatch.setattr(gpu.execute, "execute", execute)
    # Only a record of a GPU may do without a slice that the tests repeat.
    device = hardware.device("cpu") | {"kind": "cuda", "arch": "sm90"}
    described = {"device": device, "versions": hardware.versions()}
    monkeypatch.setattr(gpu.hardware, "describe", lambda _: described)
    return gpu


def test_the_record_is_valid_and_adds_up(pretended, tmp_path):
    (tmp_path / "my-model").mkdir()
    folder = str(tmp_path / "my-model")
    assert pretended.main(["--model", folder], project=Lessons()) == 0
    record = records.read("lessons-gpu")
    values = {key: value["value"] for key, value in record["values"].items()}
    assert values == {
        "notebooks_00_a_b_seconds": 2.5,
        "solutions_00_a_b_seconds": 2.5,
        "notebooks_01_c_seconds": 2.5,
        "solutions_01_c_seconds": 2.5,
        "chapter_00_a_b_peak": 50,
        "chapter_01_c_peak": 70,
        "seconds": 10.0,
    }
    assert record["values"]["seconds"]["n"] == 4
    assert "Model: my-model." in record["notes"]
    assert str(tmp_path) not in json.dumps(record)


def test_a_failed_lesson_leaves_no_record(pretended, monkeypatch, capsys):
    failing = {"notebooks/01_c": "cell 3, `x`: ValueError: no"}
    monkeypatch.setattr(pretended.execute, "execute", lambda *_: failing)
    assert pretended.main(["--model", "embedded", "01_c"], project=Lessons()) == 1
    assert "no record, because notebooks/01_c failed" in capsys.readouterr().err
    with pytest.raises(records.MissingRecordError):
        records.read("lessons-gpu")


def test_no_gpu_is_one_sentence(gpu, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu.main(["--model", "embedded"]) == 1
    assert capsys.readouterr().err == (
        "gpu: This needs a GPU, and torch finds none; use such a machine.\n"
    )


def test_a_peak_between_two_moments_is_seen(gpu):
    memory = iter([100, *([300] * 3), *([150] * 1000)])
    with gpu.watching(lambda: next(memory), every=0.01) as peak:
        time.sleep(0.1)
    assert peak.bytes == 200
