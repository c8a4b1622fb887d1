"""An edit of a function that a lesson shows changes what the lesson says.

Each included function is made to return zeros, the lesson runs, and one of its texts
must differ from the stored one. The run stops there.
"""

import pytest

from course_utils.authoring import notebook, probe
from course_utils.authoring.project import COMMITTED_PROFILE, Project

PROJECT = Project()


def included():
    for path in PROJECT.lessons:
        nb = notebook.read(PROJECT.notebook("notebooks", path.stem))
        for name in probe.included_functions(nb) if nb else ():
            yield pytest.param(nb, name, id=f"{path.stem}-{name}")


@pytest.mark.parametrize(("nb", "name"), list(included()))
def test_zeros_change_what_the_lesson_says(nb, name):
    folder = PROJECT.root / "notebooks"
    changed = probe.effect_of_zeros(nb, name, folder, COMMITTED_PROFILE)
    assert changed is not None, f"an edit of {name} changes nothing"
