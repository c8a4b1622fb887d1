import pytest

from course_utils.authoring.lint import lint


def add(project, text, folder="lessons"):
    path = project.book / folder / "01_half.md"
    before = path.read_text("utf-8")
    path.write_text(f"{before}\n{text}\n", "utf-8")
    return before.count("\n") + 2


def cell(body):
    return f"```{{code-cell}}\n{body}\n```"


LONG = "\n".join(f"x{i} = {i}" for i in range(26))


def test_the_fixture_is_clean(project):
    assert lint(project) == []


@pytest.mark.parametrize(
    ("text", "offset", "says"),
    [
        ("Some.\nIt takes 4 GB.", 1, "'4 GB' has no source"),
        ("How nice!", 0, "exclamation"),
        ("Done \U0001f680.", 0, "U+1F680"),
        ("\u250c\u2500\u2510", 0, "U+250C"),
        ("```{note}\ntext\n```", 0, "directive {note}"),
        ("see {ref}`there`", 0, "role {ref}"),
        ("{glue:text}`x`", 0, "glue"),
        ("by [@nobody]", 0, "[@nobody]"),
        ("the [step](glossary:stride)", 0, "glossary:stride"),
        (cell(LONG), 1, "26 lines"),
        (cell("x = = 1"), 1, "parse"),
        (cell('say("It takes 4 GB.")'), 1, "refuses '4 GB'"),
        (cell('say(f"It takes {x}.")'), 1, "f-string"),
        (cell('x = 1\nclaim("a", x > 0, otherwise="b!")'), 2, "exclamation"),
        (cell('show(f, alt="A plot of 4 GB.")'), 1, "'4 GB' has no source"),
        (cell("from course_utils.tiny import halve\nhalve(1.0)"), 1, "undoes"),
        (cell("#| include: course_utils.tiny.scaled"), 1, "no cell below uses scaled"),
        (cell("#| include: course_utils.tiny.lost"), 1, "no function or class lost"),
        (cell("#| tags: [shared]"), 1, "`#| tags`"),
        (cell(":tags: [new]\nx = 1"), 2, "'new' is unknown"),
    ],
)
def test_a_fault_is_found_with_its_line(project, text, offset, says):
    line = add(project, text)
    found = [f for f in lint(project) if f.error]
    assert any(says in f.sentence for f in found), found
    match = next(f for f in found if says in f.sentence)
    assert (match.path, match.line) == ("book/lessons/01_half.md", line + offset)
    assert match.sentence.endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        "![A picture.](a.png)",
        "`x != y` and $n!$ [@hoare1961quicksort]",
        "`[@nobody]` and `{note}` in code",
        "```\n[@nobody] takes 4 GB!\n```",
        cell('say("It takes {x:.1f} GB.", x=x)'),
        cell('show(f, alt=f"A plot of {n} lines.")'),
        cell(":tags: [figure-half]\nhalve(2.0)"),
        "> **Note.** Quoted\n> 1\n> 2\n> 3\n> 4\n> 5\n> 6",
    ],
)
def test_what_is_allowed_passes(project, text):
    add(project, text)
    assert lint(project) == []


def test_a_long_paragraph_is_a_warning(project):
    line = add(project, "\n".join("abcdef"))
    (finding,) = lint(project)
    assert not finding.error
    assert finding.line == line
    assert "6 lines" in finding.sentence


def test_a_heading_must_not_contradict_the_title(project):
    path = project.book / "lessons/01_half.md"
    text = path.read_text("utf-8").replace("\nA [step]", "\n# Other\n\nA [step]", 1)
    path.write_text(text, "utf-8")
    assert [f.sentence for f in lint(project)] == [
        "the first heading differs from the title in front."
    ]


def test_a_long_function_in_an_exercise(project):
    body = "def f():\n" + "\n".join(f"    x{i} = {i}" for i in range(51))
    add(project, f"```{{code-cell}}\n:tags: [further]\n{body}\n```", "exercises")
    (finding,) = lint(project)
    assert "52 lines" in finding.sentence
