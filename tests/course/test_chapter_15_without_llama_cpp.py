"""Chapter 15 runs to its end where llama.cpp is not built, and says so.

The package is hidden by a None in sys.modules, and the texts cut short, so that the run
costs seconds. What no library is needed for is looked for, and that nothing of
llama.cpp is claimed.
"""

import json
import os
import subprocess
import sys

from course_utils.authoring.project import Project
from course_utils.models import llama_cpp

SLUG = "15_gguf-and-llama-cpp"
RUN = """
import json, sys
sys.modules["llama_cpp"] = None
from course_utils.models import texts
whole, calibration = texts.evaluation_tokens, texts.calibration_tokens
texts.evaluation_tokens = lambda tokenizer, n=None: whole(tokenizer, n=128)
texts.calibration_tokens = lambda: calibration()[:, :16]
names = {}
for source in json.load(open(sys.argv[1])):
    exec(compile(source, "cell", "exec"), names)
print("files:", sorted(names["files"]), "answer:", repr(names["answer"]))
"""


def test_the_lesson_completes_without_llama_cpp(tmp_path):
    path = Project().notebook("notebooks", SLUG)
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
    assert "The two lines agree, byte for byte." in done.stdout
    assert "All 115,200 bytes of the eight types are equal." in done.stdout
    assert "No server ran" in done.stdout
    assert "files: ['F32'] answer: ''" in done.stdout
