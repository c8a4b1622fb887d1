"""Reading exercise masters, and saying what is wrong with one."""

import textwrap

import pytest

from course_utils.grading.questions import MasterError, load_master, stub

GOOD = '''\
---
title: "Exercises: toys"
minutes: 10
---

# Exercises: toys

Words.

```{code-cell}
:tags: [shared]

from course_utils.grading.check import expect_close, run_checks
```

## 1. Implement: doubling

Return twice `x`.

```{code-cell}
:tags: [reference]

def double(x: float) -> float:
    """Return twice x."""
    return 2 * x
```

```{code-cell}
:tags: [check]

def check_three(double):
    """Twice three is six."""
    expect_close(double(3), 6, "Did you add?")


run_checks(double, check_three)
```

```{code-cell}
:tags: [wrong]

def double(x):
    """Adds two.

    Hint: Did you
    add?
    """
    return x + 2
```

+++ {"tags": ["answer"]}

Because.

+++

## 2. Explain: why

Say why.

+++ {"tags": ["answer"]}

So.

+++ {"tags": ["rubric"]}

Levels.
'''


def read(tmp_path, text):
    path = tmp_path / "07_toys.md"
    path.write_text(text, "utf-8")
    return load_master(path)


def test_a_master_becomes_questions(tmp_path):
    master = read(tmp_path, GOOD)
    assert (master.slug, master.title, master.minutes) == (
        "07_toys",
        "Exercises: toys",
        10,
    )
    assert "import expect_close" in master.shared
    first, second = master.questions
    assert first.heading == "1. Implement: doubling"
    assert first.function == "double"
    assert first.statement == "Return twice `x`."
    assert first.answer == "Because."
    assert first.wrong[0].name == "Adds two"
    assert first.wrong[0].hint == "Did you add?"
    assert (second.kind, second.reference, second.rubric) == ("explain", "", "Levels.")


def test_the_stub_keeps_what_the_reader_needs_and_nothing_else():
    source = textwrap.dedent(
        '''
        def double(
            x: float,
        ) -> float:
            """Return twice x.

            Shapes: none.
            """
            secret = 2
            return secret * x
        '''
    ).strip()
    made = stub(source)
    assert made.endswith('"""\n    # Your code here.\n    raise NotImplementedError')
    assert "x: float" in made
    assert "secret" not in made
    compile(made, "stub", "exec")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("## 1. Implement", "## 1. Solve", "07_toys.md: heading '## 1. Solve"),
        ("## 2. Explain", "## 3. Explain", "numbered [1, 3]"),
        (":tags: [reference]", ":tags: [solution]", "question 1: a code cell has tags"),
        (":tags: [wrong]\n", "\n", "question 1: a code cell has tags []"),
        ('    """Return twice x."""\n', "", None),
        ("Because.\n\n+++\n", "Because.\n", "put +++ on a line before '## 2."),
        ('+++ {"tags": ["rubric"]}\n\nLevels.\n', "", "question 2: no rubric cell"),
        ('    """Adds two.', '    """', None),
        ("minutes: 10\n", "", "title and minutes"),
        ("    return x + 2", "    return x +", "question 1: invalid syntax"),
    ],
)
def test_a_broken_master_is_named(tmp_path, old, new, said):
    assert old in GOOD
    if said is None:
        # The docstring is needed later: for the stub, or for the name of an answer.
        questions = read(tmp_path, GOOD.replace(old, new)).questions
        with pytest.raises((MasterError, AssertionError)):
            assert questions[0].wrong[0].name == "Adds two"
            assert questions[0].stub
        return
    with pytest.raises(MasterError, match=None) as caught:
        read(tmp_path, GOOD.replace(old, new))
    assert said in str(caught.value)
