"""`python -m course_utils`: quick to answer, one sentence where something is wrong."""

import os
import subprocess
import sys

import pytest

from course_utils import cli, doctor, paths
from course_utils.measure import tasks
from course_utils.models import embedded


def python(*arguments, **environment):
    """Run Python on `arguments` from the project's folder."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=paths.ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "arguments", [("-c", "import course_utils"), ("-m", "course_utils", "--help")]
)
def test_starting_takes_less_than_three_tenths_of_a_second(arguments):
    # Processor time, best of three: the wall clock would count other programs.
    seconds = []
    for _ in range(3):
        before = os.times()
        assert python(*arguments).returncode == 0
        after = os.times()
        seconds.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    assert min(seconds) < 0.3


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("measure", "--help"),
        ("doctor", "--help"),
        ("measure", "nothing"),
        ("memory", "--help"),
        ("memory", "embedded"),
        ("memory", "nothing"),
    ],
)
def test_nothing_heavy_is_imported_to_answer_a_question(arguments):
    code = (
        "import sys; from course_utils.cli import main\n"
        f"try: main({list(arguments)!r})\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'transformers', 'jsonschema'} "
        "& set(sys.modules)))"
    )
    out = python("-c", code)
    assert out.stdout.splitlines()[-1] == "[]", out.stderr


def test_help_lists_every_command_of_the_table():
    out = python("-m", "course_utils", "--help")
    for name, command in cli.COMMANDS.items():
        assert name in out.stdout
        assert command.summary in out.stdout


def test_an_unknown_measurement_names_those_there_are(capsys):
    assert cli.main(["measure", "speeed"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "speeed" in err
    assert all(name in err for name in tasks.TASKS)


@pytest.mark.parametrize("arguments", [[], ["measure"], ["surgeon"]])
def test_wrong_usage_is_status_two(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_measure_passes_its_options_on(monkeypatch, capsys, tmp_path):
    seen = []

    def measure(name, *, say, fresh):
        seen.append((name, fresh))
        say("working")
        return tmp_path / "record.json"

    monkeypatch.setattr(tasks, "measure", measure)
    assert cli.main(["measure", "embedded-model"]) == 0
    assert cli.main(["measure", "embedded-model", "--fresh"]) == 0
    assert seen == [("embedded-model", False), ("embedded-model", True)]
    out, err = capsys.readouterr()
    assert out.count("record.json") == 2
    assert err == "working\nworking\n"  # progress apart from the result


@pytest.mark.parametrize(("moved", "status"), [([], 0), (["count is 4."], 1)])
def test_a_slice_that_moved_is_status_one(monkeypatch, capsys, moved, status):
    monkeypatch.setattr(tasks, "check_slice", lambda _: moved)
    assert cli.main(["measure", "embedded-model", "--slice"]) == status
    assert (moved or ["agrees"])[0] in capsys.readouterr().out


def test_model_prepares_with_progress(monkeypatch, capsys, tmp_path):
    def prepare(*, progress):
        progress("Downloading.")
        return tmp_path

    monkeypatch.setattr(embedded, "prepare", prepare)
    assert cli.main(["model"]) == 0
    out, err = capsys.readouterr()
    assert str(tmp_path) in out
    assert err == "Downloading.\n"


@pytest.mark.parametrize("error", [ValueError, OSError, RuntimeError, ImportError])
def test_an_expected_error_is_one_sentence_unless_asked(monkeypatch, capsys, error):
    def prepare(*, progress):
        raise error("The disk is full; make room.")

    monkeypatch.setattr(embedded, "prepare", prepare)
    assert cli.main(["model"]) == 1
    assert capsys.readouterr().err == "model: The disk is full; make room.\n"
    with pytest.raises(error):
        cli.main(["--traceback", "model"])


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor"])


def test_an_interrupt_is_status_130(monkeypatch, capsys):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", stop)
    assert cli.main(["doctor"]) == 130
    assert "Interrupted" in capsys.readouterr().err


def test_an_old_python_gets_a_sentence_instead_of_a_syntax_error():
    code = (
        "import runpy, sys; sys.version_info = (3, 9, 2, 'final', 0)\n"
        "runpy.run_module('course_utils', run_name='__main__')"
    )
    out = python("-c", code)
    assert out.returncode == 1
    assert "needs Python 3.11 or newer, this is 3.9;" in out.stderr
    assert "Traceback" not in out.stderr


def test_doctor_from_the_shell_is_clean():
    out = python("-m", "course_utils", "doctor", COURSE_PROFILE="ci")
    assert out.returncode in {0, 1}
    assert "Traceback" not in out.stderr
    assert out.stdout.splitlines()[0].startswith("Fewer Bits")
