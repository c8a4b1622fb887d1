"""Otter's check files, the sandbox of the rivals, and the record that compares them."""

import ast
import sys
import time
import types
import zipfile
from pathlib import Path

import pytest
import torch

from course_utils.grading import otter_files
from course_utils.grading.judge import assignment
from course_utils.grading.questions import load_master, masters
from course_utils.measure import records
from course_utils.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import graders
import graders_memory
import graders_sandbox
from graders_attacks import AIMED
from graders_rivals import Otter
from hostile import ATTACKS

OTTER = ROOT / "_build" / "environments" / "otter"
with_otter = pytest.mark.skipif(
    not otter_files.PYTHON.exists(),
    reason="Otter's environment is not built; `make graders` builds it",
)
SLUGS = list(graders.CHAPTERS.values())


@pytest.fixture(scope="module", params=SLUGS)
def chapter(request):
    master = load_master(next(p for p in masters() if p.stem == request.param))
    enabled = torch.is_grad_enabled()
    yield assignment(master), master
    torch.set_grad_enabled(enabled)


@pytest.fixture
def written(chapter, tmp_path):
    return otter_files.write(chapter[0], tmp_path / "otter"), tmp_path / "otter"


class Case:
    """What Otter's decorator keeps of a test case."""

    def __init__(self, name, hidden):
        self.name, self.hidden = name, hidden

    def __call__(self, function):
        self.function = function
        return self


def cases_of(path, monkeypatch):
    module = types.ModuleType("otter.test_files")
    module.test_case = Case
    monkeypatch.setitem(sys.modules, "otter", types.ModuleType("otter"))
    monkeypatch.setitem(sys.modules, "otter.test_files", module)
    names = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    return names, [value for value in names.values() if isinstance(value, Case)]


def failed(cases, source, question, master):
    names = {}
    exec(compile(master.shared, "shared", "exec"), names)
    exec(compile(source, "answer", "exec"), names)
    found = []
    for case in cases:
        try:
            case.function(names[question.function])
        except Exception:
            found.append(case.name)
    return found


def test_check_files_judge_as_the_master_does(chapter, written, monkeypatch):
    task, master = chapter
    paths, _ = written
    for trial, path in zip(task.trials, paths, strict=True):
        question = trial.question
        names, cases = cases_of(path, monkeypatch)
        assert names["OK_FORMAT"] is False
        assert names["name"] == path.stem == f"q{question.number}"
        assert names["points"] == task.points[question.heading]
        assert [c.hidden for c in cases] == [False] * len(trial.visible) + [True] * len(
            trial.further
        )
        assert failed(cases, question.reference, question, master) == []
        for attempt in question.right:
            assert failed(cases, attempt.source, question, master) == [], attempt.name
        for attempt in question.wrong:
            assert failed(cases, attempt.source, question, master), attempt.name
        visible = [case for case in cases if not case.hidden]
        nothing = failed(visible, question.stub, question, master)
        assert len(nothing) == len(visible)


def functions(source):
    return {
        node.name: ast.dump(node)
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }


def test_check_files_hold_every_expected_value(chapter, written):
    for trial, path in zip(chapter[0].trials, written[0], strict=True):
        source = f"{trial.question.checks}\n{trial.question.further}"
        wanted = functions(source)
        assert wanted
        assert wanted.items() <= functions(path.read_text()).items()
        assert "run_checks(" not in path.read_text()


def test_what_the_checks_import_comes_along(chapter, written):
    _, folder = written
    found = {str(p.relative_to(folder)) for p in folder.rglob("*.py")}
    assert "course_utils/grading/check.py" in found
    # One check of the chapter on GPTQ compares with the library.
    lent = "course_utils/formats/codes.py" in found
    assert lent == (chapter[1].slug == "09_gptq")
    pins = (folder / "requirements.txt").read_text().split()
    names = [pin.partition("==")[0] for pin in pins]
    assert names == (["numpy", "torch"] if lent else ["numpy"])
    assert all(pin.partition("==")[2] for pin in pins)


def test_writing_again_leaves_nothing_old(chapter, written):
    paths, folder = written
    (folder / "tests" / "q99.py").write_text("old")
    first = {
        p: p.read_bytes()
        for p in folder.rglob("*")
        if p.name != "q99.py" and p.is_file()
    }
    assert otter_files.write(chapter[0], folder) == paths
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == first


def test_the_library_itself_is_never_replaced(chapter):
    with pytest.raises(ValueError, match="choose a new folder"):
        otter_files.write(chapter[0], ROOT)
    assert (ROOT / "course_utils" / "cli.py").exists()


def test_without_otter_it_says_how_to_get_it(tmp_path):
    with pytest.raises(otter_files.OtterError, match="make graders"):
        otter_files.gradescope(tmp_path, tmp_path / "a.zip", tmp_path / "no-python")


@with_otter
def test_otter_builds_the_archive(written, tmp_path):
    paths, folder = written
    archive = otter_files.gradescope(folder, tmp_path / "out" / "autograder.zip")
    with zipfile.ZipFile(archive) as file:
        names = set(file.namelist())
        for path in paths:
            assert file.read(f"tests/{path.name}") == path.read_bytes()
    assert {"setup.sh", "run_autograder", "environment.yml"} <= names
    assert "files/course_utils/grading/check.py" in names


@with_otter
def test_otter_refuses_what_is_no_assignment(tmp_path):
    with pytest.raises(otter_files.OtterError, match="no archive"):
        otter_files.gradescope(tmp_path, tmp_path / "a.zip")


@with_otter
def test_otter_gives_the_record_again():
    master = load_master(next(p for p in masters() if p.stem == SLUGS[0]))
    task = assignment(master)
    rival = Otter(OTTER, task, master)
    work = graders.honest_work(master, task)
    rows = {r["submission"]: r for r in table("honest") if r["chapter"] == SLUGS[0]}
    try:
        for name in ("reference", next(n for n in work if n.startswith("wrong"))):
            found = rival.by_question(work[name])
            assert sum(found.values()) == rows[name]["otter"]
    finally:
        rival.close()


def table(name):
    import json  # noqa: PLC0415

    path = records.measured_dir() / f"graders-{name}.json"
    return json.loads(path.read_text())


def test_every_attack_is_in_the_table_and_ours_gives_what_it_earned():
    rows = {row["submission"]: row for row in table("attacks")}
    everything = ATTACKS | AIMED
    assert list(rows) == list(everything)
    for name, (_, earned) in everything.items():
        assert rows[name]["earned"] == rows[name]["ours"] == earned, name
        assert rows[name]["ours outside"] == "", name


def test_both_rivals_were_forged_and_gave_honest_work_its_points():
    rows = table("attacks")
    for grader in ("otter", "nbgrader"):
        forged = [r for r in rows if r[grader] == graders.FULL > r["earned"]]
        assert forged, f"the page says that {grader} can be forged"
    honest = next(row for row in rows if row["submission"] == "honest")
    assert honest["otter"] == honest["nbgrader"] == honest["earned"]


def test_the_table_of_honest_work_is_whole_and_names_every_difference():
    rows = table("honest")
    for slug in SLUGS:
        master = load_master(next(p for p in masters() if p.stem == slug))
        found = [row["submission"] for row in rows if row["chapter"] == slug]
        assert found == list(graders.honest_work(master, assignment(master)))
    for row in rows:
        assert bool(row["different"]) == (row["ours"] != row["otter"]), row
    whole = [row for row in rows if row["submission"] == "reference"]
    assert all(row["ours"] == row["otter"] == row["of"] for row in whole)


def test_the_record_counts_its_tables():
    record = records.read("graders")
    kept = {"attacks": table("attacks"), "honest": table("honest")}
    kept |= {kind: {"ours": [1.0]} for kind in graders.CHAPTERS}
    counted = graders.values(kept)
    for key in counted.keys() - {f"{kind}_ours_seconds" for kind in graders.CHAPTERS}:
        assert record["values"][key] == counted[key]
    assert record["values"]["ours_as_earned"]["value"] == len(kept["attacks"])
    for kind in graders.CHAPTERS:
        for grader in ("ours", "otter_run", "otter_api", "nbgrader"):
            assert record["values"][f"{kind}_{grader}_seconds"]["value"] > 0
    assert {"otter-grader", "nbgrader"} <= record["versions"].keys()
    for name, package in graders.PACKAGES.items():
        text = (ROOT / "environments" / f"{name}.yml").read_text()
        assert f"=={record['versions'][package]}" in text


def test_the_slice_of_the_record_is_measured_again():
    stored = records.read("graders")["slice"]
    assert records.differences(stored, graders.slice_()["values"]) == []


def scratch(tmp_path):
    (tmp_path / "grader").mkdir(parents=True)
    tmp_path.chmod(0o755)
    return tmp_path


HARM = """
import os, socket
found = [str(os.getuid() != 0)]
for place in ("/usr/mark", "/etc/mark", "/mark"):
    try:
        open(place, "w")
        found.append(place)
    except OSError:
        pass
try:
    socket.create_connection(("192.0.2.1", 80), 2)
    found.append("network")
except OSError:
    pass
open("/tmp/mark", "w")
open("/grader/found.json", "w").write(__import__("json").dumps(found))
"""


@pytest.fixture
def shared_scratch(tmp_path):
    # pytest's own folder is closed to other users; the sandbox has another one.
    import tempfile  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp())
    yield scratch(folder)
    graders_sandbox.remove(folder)


def test_a_rival_runs_as_an_ordinary_user_without_network(shared_scratch):
    command = [[sys.executable, "-I", "-c", HARM]]
    done = graders_sandbox.run(Path(sys.prefix), shared_scratch, command, 30)
    assert done.codes == (0,)
    assert not done.late
    found = graders_sandbox.read_json(shared_scratch / "grader" / "found.json")
    assert found == ["True"]
    left = {p.name for p in (shared_scratch / "tmp").iterdir()}
    # A checkout below /tmp needs folders on the way to it.
    assert left - {Path(sys.prefix).parts[2]} == {"mark"}


def test_a_rival_that_never_ends_is_ended_with_all_it_started(shared_scratch):
    endless = "import os, time\nos.fork()\nwhile True: time.sleep(1)  # 39-endless"
    command = [[sys.executable, "-I", "-c", endless]]
    start = time.monotonic()
    done = graders_sandbox.run(Path(sys.prefix), shared_scratch, command, 2)
    assert (done.late, done.codes) == (True, ())
    assert time.monotonic() - start < 20

    def alive():
        found = []
        for place in Path("/proc").iterdir():
            try:
                if place.name.isdigit():
                    found.append(b"39-endless" in (place / "cmdline").read_bytes())
            except OSError:
                continue
        return any(found)

    end = time.monotonic() + 10
    while alive() and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive()


def test_what_a_rival_wrote_is_not_trusted(tmp_path):
    path = tmp_path / "a.json"
    assert graders_sandbox.read_json(path) is None
    for text in ("", "[" * 100_000, "{", " " * (graders_sandbox.LARGEST_REPORT + 1)):
        path.write_text(text)
        assert graders_sandbox.read_json(path) is None
    path.write_text("[1]")
    assert graders_sandbox.read_json(path) == [1]
    (tmp_path / "link.json").symlink_to(path)
    assert graders_sandbox.read_json(tmp_path / "link.json") is None


def test_the_peak_of_memory_counts_children():
    import subprocess  # noqa: PLC0415

    hold = "import time; x = bytearray(b'1') * (150 << 20); time.sleep(1)"
    with graders_memory.watching(0.05) as before:  # other tests may keep a browser
        time.sleep(0.3)
    with graders_memory.watching(0.05) as peak:
        subprocess.run([sys.executable, "-c", hold], check=True)
    assert 140 << 20 < peak.others - before.others < 300 << 20
    assert peak.runner > 1 << 20
