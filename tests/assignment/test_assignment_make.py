"""What is handed out holds no answer, and its key gets every point."""

import ast
import json
import stat
import zipfile

import pytest

from course_utils.assignment import batch, make, plan
from course_utils.assignment.draw import CLASS
from course_utils.assignment.roster import read_roster
from course_utils.grading.otter_files import OtterError
from course_utils.grading.questions import load_master

SLUG = "09_gptq"
ROSTER = "id,name,email\n" + "".join(f"s{i},N {i},s{i}@x\n" for i in range(1, 7))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    top = tmp_path_factory.mktemp("course")
    (top / "secret").write_text("a secret of more than sixteen bytes")
    (top / "roster.csv").write_text(ROSTER)
    return top


def plan_for(paths, **changed):
    words = {"questions": "1,2,5", "points": "1,2,3", "secret": str(paths / "secret")}
    words |= {"students": str(paths / "roster.csv")} | changed
    return make.plan_of(SLUG, **words)


@pytest.fixture(scope="module")
def made(paths):
    out = paths / "made"
    make.make(plan_for(paths), out, say=lambda _: None)
    return out


def cells(path, kind="code"):
    found = json.loads(path.read_text())["cells"]
    return [cell["source"] for cell in found if cell["cell_type"] == kind]


def test_every_student_gets_a_notebook_and_no_answer(made):
    names = {f"s{i}.ipynb" for i in range(1, 7)}
    assert {p.name for p in (made / "handout").iterdir()} == names
    with zipfile.ZipFile(made / "handout.zip") as archive:
        assert {*archive.namelist()} == names
    master = plan.master_of(SLUG)
    for path in (made / "handout").iterdir():
        text = "\n".join(cells(path) + cells(path, "markdown"))
        for question in master.questions:
            for body in bodies(question.reference, *(a.source for a in question.wrong)):
                assert body not in text
            for body in bodies(question.further):
                assert body not in text
            assert not question.rubric or question.rubric not in text
        secret = plan.read(made / "private").secret
        assert secret not in path.read_text()


def bodies(*sources):
    """The statements of functions, which are long enough to be told by."""
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                lines = source.splitlines()[node.body[-1].lineno - 1 : node.end_lineno]
                body = "\n".join(lines).strip()
                if len(body) > 40:
                    yield body


def test_students_get_different_versions_and_the_same_ones_again(paths, made):
    shown = {p.name: cells(p) for p in (made / "handout").iterdir()}
    assert len({json.dumps(found) for found in shown.values()}) > 1
    again = paths / "again"
    make.make(plan_for(paths), again, say=lambda _: None)
    assert (again / "handout.zip").read_bytes() == (made / "handout.zip").read_bytes()
    other = paths / "other"
    (paths / "secret2").write_text("another secret of sixteen bytes")
    changed = plan_for(paths, secret=str(paths / "secret2"))
    make.make(changed, other, say=lambda _: None)
    assert (other / "handout.zip").read_bytes() != (made / "handout.zip").read_bytes()


def test_the_key_gets_every_point_and_the_handout_none(paths, made):
    found = plan.read(made / "private")
    for folder, points in (("private/keys", 3.0), ("handout", 0.0)):
        out = paths / f"graded-{points:g}"
        lines = batch.grade_folder(made / folder, found, out, workers=1, say=print)
        assert [line["error"] for line in lines] == [""] * 6
        assert {sum(line["points"].values()) for line in lines} == {points}
        assert [line["student"] for line in lines] == [f"s{i}" for i in range(1, 7)]
        assert not any(line["remarks"] for line in lines)
    drawn = [c for c in lines[0]["checks"] if c["check"].startswith("check_drawn")]
    assert len(drawn) >= 6
    assert all(c["hidden"] for c in drawn)


def test_the_private_half_is_the_owners_alone(made):
    file = made / "private" / plan.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_published_answer_does_not_answer_another_version(paths, made):
    """A version with a drawn value, handed in with the solution of the book."""
    found = plan.read(made / "private")
    question = found.questions()[1]
    with_version = [
        s.id for s in found.students if plan.version_of(found, question, s.id).variant
    ]
    assert with_version
    handed_in = paths / "copied"
    handed_in.mkdir()
    for who in with_version:
        notebook = json.loads((made / "handout" / f"{who}.ipynb").read_text())
        for cell in notebook["cells"]:
            if "raise NotImplementedError" in cell["source"]:
                name = question.function
                if f"def {name}(" in cell["source"]:
                    cell["source"] = question.reference
        (handed_in / f"{who}.ipynb").write_text(json.dumps(notebook))
    lines = batch.grade_folder(handed_in, found, paths / "g", workers=1, say=print)
    for line in lines:
        assert line["points"][question.heading] < 1.0  # of 2
        said = {c["message"].partition("\n")[0] for c in line["checks"] if c["hidden"]}
        assert any("This answers the published question" in text for text in said)


def test_a_class_gets_one_notebook(paths):
    out = paths / "class"
    assert make.make(plan_for(paths, students=None), out, say=print) == [CLASS]
    assert [p.name for p in (out / "handout").iterdir()] == [f"{SLUG}.ipynb"]


def test_without_a_secret_the_questions_are_the_published_ones(paths):
    out = paths / "published"
    make.make(plan_for(paths, secret=None), out, say=print)
    (path,) = (out / "handout").iterdir()
    master = plan.master_of(SLUG)
    for number in (1, 2):
        assert master.questions[number - 1].checks.strip() in cells(path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"questions": "1,9"}, "has the questions 1, 2, 3, 4, 5, 6"),
        ({"questions": "1,1", "points": "1,1"}, "each once, not 1, 1"),
        ({"questions": "one"}, "--questions takes numbers"),
        ({"points": "1,2"}, "3 questions need as many points"),
        ({"points": "1,2,0"}, "above 0"),
        ({"points": "1,2,nan"}, "above 0"),
    ],
)
def test_a_wrong_plan_is_one_sentence(paths, words, sentence):
    with pytest.raises(ValueError, match=sentence):
        plan_for(paths, **words)


def test_an_unknown_chapter_names_those_there_are():
    with pytest.raises(ValueError, match="09_gptq"):
        make.plan_of("99")


def test_nothing_is_overwritten_and_nothing_half_written(paths, made, monkeypatch):
    with pytest.raises(ValueError, match="name a new folder"):
        make.make(plan_for(paths), made)

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(make.plan, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        make.make(plan_for(paths), paths / "half", say=lambda _: None)
    assert not [p for p in paths.iterdir() if "half" in p.name]


def test_gradescope_is_for_a_class(paths):
    with pytest.raises(ValueError, match="leave out --students"):
        make.make(plan_for(paths), paths / "gs", gradescope=True)


def test_gradescope_without_otter_writes_nothing(paths, monkeypatch):
    monkeypatch.setattr(
        make.otter_files.gradescope, "__defaults__", (paths / "no-python",)
    )
    with pytest.raises(OtterError, match="make graders"):
        make.make(plan_for(paths, students=None), paths / "gs", gradescope=True)
    assert not (paths / "gs").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name\nAnn\n", "a column named id"),
        ("id\n", "names no student"),
        ("id\ns1\nS1\n", "line 3: S1 is there twice"),
        ("id\n../x\n", "line 2: the id '../x'"),
        ("id\n=cmd\n", "must be letters"),
        ("id\n" + "x" * 65 + "\n", "64 at most"),
    ],
)
def test_a_wrong_roster_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "roster.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_roster(path)


def test_a_roster_of_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_bytes(b'\xef\xbb\xbfname,id\r\n"Ann, A",s1\r\n')
    (student,) = read_roster(path)
    assert (student.id, student.name, student.email) == ("s1", "Ann, A", "")
    path.write_bytes("id\ns\u00e9\n".encode("latin-1"))
    with pytest.raises(ValueError, match="UTF-8"):
        read_roster(path)


def test_a_plan_that_was_changed_by_hand_is_refused(tmp_path):
    with pytest.raises(ValueError, match="name the folder `private`"):
        plan.read(tmp_path)
    for text in ("{", "{}", '{"title": 1}'):
        (tmp_path / plan.FILE).write_text(text)
        with pytest.raises(ValueError, match=r"cannot be read|Expecting"):
            plan.read(tmp_path)


def test_the_fingerprint_changes_with_all_that_decides_a_grade(paths):
    one = plan_for(paths)
    others = [
        plan_for(paths, points="1,2,4"),
        plan_for(paths, questions="1,3,5"),
        plan_for(paths, secret=None),
        plan_for(paths, students=None),
        plan.whole("10_awq"),
    ]
    prints = {plan.fingerprint(p) for p in (one, *others)}
    assert len(prints) == len(others) + 1
    assert plan.fingerprint(plan_for(paths)) in prints


def test_load_master_is_what_the_plan_reads():
    path = next(p for p in plan.masters() if p.stem == SLUG)
    assert load_master(path) == plan.master_of(SLUG)
