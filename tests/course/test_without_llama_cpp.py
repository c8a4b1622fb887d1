"""Chapter 04 runs to its end where llama.cpp is not built, and says so.

The package is hidden by a None in sys.modules, and the evaluation text cut to 128
tokens, so that the run costs seconds. Two shown texts are looked for: the sentence of
the missing library, and the last cell's.
"""

import json
import os
import subprocess
import sys

from course_utils.authoring.project import Project
from course_utils.models import llama_cpp

PROJECT = Project()
SLUG = "04_first-quantized-model"
RUN = """
import json, sys
sys.modules["llama_cpp"] = None
from course_utils.models import texts
whole = texts.evaluation_tokens
texts.evaluation_tokens = lambda tokenizer, n=None: whole(tokenizer, n=128)
names = {}
for source in json.load(open(sys.argv[1])):
    exec(compile(source, "cell", "exec"), names)
print("rows:", sorted(names["results"]))
"""


def test_the_lesson_completes_without_llama_cpp(tmp_path):
    path = PROJECT.notebook("notebooks", SLUG)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    (tmp_path / "cells.json").write_text(json.dumps(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "cells.json")],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | {"MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert llama_cpp.MISSING in done.stdout
    assert "save before first use" in done.stdout
    rows = done.stdout.partition("rows:")[2]
    assert "NF4" in rows
    assert "Q4_K_M" not in rows
