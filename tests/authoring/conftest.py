"""A project of one small chapter, with everything the pipeline reads."""

import textwrap
from pathlib import Path

import pytest

from course_utils.authoring.project import Project

LESSON = """\
---
title: What is half?
minutes: 5
part: beginner
---

A [step](glossary:step) was halved by [@hoare1961quicksort].

```{code-cell}
:tags: [shared]
from course_utils.report.say import claim, say
```

```{code-cell}
#| include: course_utils.tiny.halve
```

+++

After the break.

```{code-cell}
half = halve(3.0)
half
```

```{code-cell}
say("Half of it is {h:.2f}.", h=half)
claim("It is more than {n}.", half > 1, otherwise="It is at most {n}.", n=1)
```
"""

EXERCISE = """\
---
title: "Exercises: half"
minutes: 5
---

# Exercises: half

```{code-cell}
:tags: [shared]
from course_utils.grading.check import expect_close, run_checks
```

## 1. Implement: the double

Return twice the number.

```{code-cell}
:tags: [reference]
def double(x: float) -> float:
    \"\"\"Return twice x.\"\"\"
    the_secret_result = x + x
    return the_secret_result
```

```{code-cell}
:tags: [check]
def check_three(double):
    \"\"\"Twice 3 is 6.\"\"\"
    expect_close(double(3.0), 6.0, "Did you add x to itself?")


run_checks(double, check_three)
```

```{code-cell}
:tags: [further]
def check_zero(double):
    \"\"\"Twice 0 is 0.\"\"\"
    expect_close(double(0.0), 0.0, "Zero stays.")
```

```{code-cell}
:tags: [wrong]
def double(x):
    \"\"\"Squares.

    Hint: Did you add x to itself?
    \"\"\"
    return x * x
```

+++ {"tags": ["answer"]}

Adding is cheaper than it looks.

+++

## 2. Explain: why twice

Say why.

+++ {"tags": ["answer"]}

Because of the second time.

+++ {"tags": ["rubric"]}

- 0: nothing
- 1: something
"""

TINY = '''\
"""Halves."""

import math
from pathlib import Path as P

SCALE = 2.0


def halve(x: float) -> float:
    """Return half of x."""
    return math.fsum([x / 4, x / 4])


def scaled(x: float, where: P | None = None) -> float:
    """Use a constant, a neighbour and an annotation of this module."""
    math = 1  # a local name hides the module
    return halve(x) * SCALE * math
'''

BIB = """\
@article{hoare1961quicksort,
  author = {Hoare, C. A. R.},
  title = {Algorithm 64: Quicksort},
  year = 1961,
  doi = {10.1145/366622.366644},
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    files = {
        "_config.yml": "repository:\n  url: https://example.org/us/book\n",
        "book/lessons/01_half.md": LESSON,
        "book/exercises/01_half.md": EXERCISE,
        "book/glossary.md": "# Glossary\n\n## Step\n\nA distance.\n",
        "book/references.bib": BIB,
        "locks/learn.txt": "numpy==1\n",
        "course_utils/__init__.py": "",
        "course_utils/tiny.py": TINY,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
    return Project(tmp_path, tmp_path)
