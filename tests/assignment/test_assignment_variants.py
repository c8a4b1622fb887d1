"""Other versions of the questions: judged rightly, and not by the published answer."""

import pytest
import torch

from course_utils.assignment import cases, variants
from course_utils.grading.gate import prepare
from course_utils.grading.questions import MasterError, load_master, masters
from course_utils.paths import book_dir

FOLDER = book_dir() / "exercises" / "variants"
SLUGS = sorted(path.stem for path in FOLDER.glob("*.md"))
STATEMENT = "Use `SHARE`.\n"
CELL = "\n```{code-cell}\n:tags: [%s]\n\n%s\n```\n"


@pytest.fixture(autouse=True)
def gradients():
    enabled = torch.is_grad_enabled()
    yield
    torch.set_grad_enabled(enabled)


@pytest.mark.parametrize("slug", SLUGS)
def test_nothing_is_wrong_with_the_versions_of_a_chapter(slug):
    """Every implement question has one, and it is judged rightly."""
    assert variants.chapter_problems(slug) == []


def test_every_chapter_has_versions():
    assert [path.stem for path in masters()] == SLUGS


def test_a_question_without_a_version_is_named(monkeypatch):
    monkeypatch.setattr(variants, "variants_of", lambda _: [])
    found = variants.chapter_problems("09_gptq")
    assert len(found) == 3
    assert all(problem.endswith("has no other version.") for problem in found)


def version(reference, draw="SHARE = [0.25, 0.5]", statement=STATEMENT, wrong=""):
    other = reference.replace("def fixed_at", "def fixed_at", 1)
    parts = [f"## 2. Implement: a version\n\n{statement}"]
    parts += [CELL % ("draw", draw), CELL % ("reference", reference)]
    parts += [CELL % ("right", other)]
    for name in "ab":
        text = wrong or "return w * 2"
        body = f'def fixed_at(w, j, q, hinv):\n    """{name}.\n\n    Hint: {name}.\n'
        parts.append(CELL % ("wrong", f'{body}    """\n    {text}'))
    return "".join(parts)


HEAD = 'def fixed_at(w, j, q, hinv):\n    """Return a row."""\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            version(
                HEAD + "    return w - (w[j] - q) / hinv[j, j] * hinv[j] + 0 * SHARE"
            ),
            "no published call tells the two apart",
        ),
        (version(HEAD + "    return w"), "the reference uses no SHARE"),
        (
            version(HEAD + "    return w * SHARE", statement="Nothing."),
            "the statement names no `SHARE`",
        ),
        (
            version(HEAD.replace("w, j", "row, j") + "    return row * SHARE"),
            "the reference is no fixed_at(w, j, q, hinv)",
        ),
        (
            version(HEAD + "    return w * SHARE", wrong="return w * SHARE"),
            "the wrong answer 'a' passes",
        ),
    ],
)
def test_a_poor_version_is_found(tmp_path, text, problem):
    path = tmp_path / "09_gptq.md"
    path.write_text(text)
    master = load_master(book_dir() / "exercises" / "09_gptq.md")
    base = prepare(master.questions[1], master.shared)
    found = variants.problems(variants._read(path)[0], base)
    assert any(problem in one for one in found), found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("## Two\n", "should read"),
        ("## 2. Implement: x\n" + CELL % ("draw", "A = [1, 2]"), "one reference"),
        ("## 2. Implement: x\n" + CELL % ("odd", "x = 1"), "tags"),
        (version(HEAD + "    return w * SHARE", draw="SHARE = 3"), "NAME = [values]"),
        (version(HEAD + "    return w * SHARE", draw="SHARE = [3]"), "NAME = [values]"),
        (version(HEAD + "    return w *"), "invalid syntax"),
    ],
)
def test_a_file_with_a_fault_names_the_place(tmp_path, text, sentence):
    path = tmp_path / "09_gptq.md"
    path.write_text(text)
    with pytest.raises(MasterError, match=r"variants/09_gptq\.md, ## ") as error:
        variants._read(path)
    assert sentence in str(error.value)


def test_a_question_keeps_the_calls_of_its_checks_apart():
    master = load_master(book_dir() / "exercises" / "09_gptq.md")
    base = prepare(master.questions[1], master.shared)
    calls = cases.recorded(base)
    args, _ = calls[0].values()
    args[0] += 1
    again, _ = calls[0].values()
    assert not torch.equal(args[0], again[0])
