"""Four submissions aimed at graders that run their tests in the student's process.

They have no answer. Each does what any code in the same process can do: it replaces
what judges it, or takes hold of what lies around. `tests/grading/hostile.py` has the
others; most of those are aimed at our own grader.
"""

AIMED = {
    "replaces the comparison": (
        """
import course_utils.grading.check as check
expect_close = check.expect_close = lambda *a, **k: None
def step(lo, hi, bits):
    return 0.0
""",
        0,
    ),
    "replaces the test case": (
        """
try:
    from otter.test_files import test_case
    test_case.call_func = lambda self, environment: None
except ImportError:
    pass
def step(lo, hi, bits):
    return 0.0
""",
        0,
    ),
    "skips the test cells": (
        """
import builtins
find = getattr(builtins, "get_ipython", lambda: None)
if shell := find():
    skip = lambda lines: [x for x in lines if not x.startswith("check_")]
    shell.input_transformers_cleanup.append(skip)
def step(lo, hi, bits):
    return 0.0
""",
        0,
    ),
    "spoils a classmate's work": (
        """
import os
for place, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if f not in ("proc", "sys", "usr", "root")]
    for name in files:
        if name == "classmate.ipynb":
            open(os.path.join(place, name), "w").close()
def step(lo, hi, bits):
    return 0.0
""",
        0,
    ),
}
