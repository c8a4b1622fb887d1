"""The script and the environment of the retired AutoGPTQ, as far as a CPU goes."""

import importlib.util
import json

import pytest

from course_utils.models.texts import CALIBRATION_SHAPE, calibration_tokens
from course_utils.paths import ROOT


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return tool("auto_gptq")


@pytest.fixture(scope="module")
def environment():
    return tool("environment")


def test_it_calibrates_on_the_tokens_of_every_other_method(script):
    found = script.windows(script.CALIBRATION)
    assert found == calibration_tokens().tolist()
    assert (len(found), len(found[0])) == CALIBRATION_SHAPE


def test_other_tokens_are_refused(script, tmp_path):
    (tmp_path / "calibration.json").write_text('{"tokens": [[1, 2]]}')
    (tmp_path / "manifest.json").write_text(json.dumps({"calibration.json": "0"}))
    with pytest.raises(ValueError, match="not the frozen text"):
        script.windows(tmp_path / "calibration.json")


def test_a_folder_without_a_model_is_refused(script, tmp_path, capsys):
    assert script.main([str(tmp_path), str(tmp_path / "out")]) == 1
    assert "holds no config.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_a_gpu_it_names_the_successor(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "config.json").write_text("{}")
    assert script.main([str(tmp_path), str(tmp_path / "out")]) == 1
    assert "on CUDA only" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_every_package_of_an_environment_has_its_version(environment):
    files = sorted((ROOT / "environments").glob("*.yml"))
    assert files
    for path in files:
        text = path.read_text()
        entries = text.partition("- pip:\n")[2].strip().splitlines()
        assert len(environment.pins(text)) == len(entries)


def test_an_unknown_environment_is_refused(environment, capsys):
    assert environment.main(["conda"]) == 1
    assert "There is no environment 'conda'" in capsys.readouterr().err


def test_what_stands_is_not_built_again(environment, tmp_path, monkeypatch):
    (tmp_path / "environments").mkdir()
    file = tmp_path / "environments" / "x.yml"
    file.write_text("- pip:\n    - b==1\n    - torch==2\n")
    calls = []

    def run(command, **options):
        calls.append(command)
        (tmp_path / "_build/environments/x").mkdir(parents=True, exist_ok=True)
        return environment.subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "FILES", tmp_path / "environments")
    monkeypatch.setattr(environment.subprocess, "run", run)
    environment.build("x")
    assert calls[1][-1:] == ["torch==2"]
    assert calls[2][-2:] == ["torch==2", "b==1"]
    environment.build("x")
    assert len(calls) == 3
    file.write_text("- pip:\n    - b==2\n    - torch==2\n")
    environment.build("x")
    assert len(calls) == 6
