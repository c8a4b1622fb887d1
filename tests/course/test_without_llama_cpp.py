"""Lessons that use llama.cpp run to their end where it is not built, and say so.

The package is hidden by a None in sys.modules, and the texts are cut short, so that a
run costs seconds. Texts that need no library are looked for, and that nothing of
llama.cpp is claimed.
"""

import json
import os
import subprocess
import sys

from course_utils.authoring.project import Project
from course_utils.models import llama_cpp

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
print(eval(sys.argv[2], names))
"""


def output_of(slug, result, folder):
    """Return what a lesson prints without llama.cpp, `result` evaluated at its end."""
    path = Project().notebook("notebooks", slug)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    (folder / "cells.json").write_text(json.dumps(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder / "cells.json"), result],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | {"MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert llama_cpp.MISSING in done.stdout
    return done.stdout


def test_chapter_04_measures_bitsandbytes_alone(tmp_path):
    out = output_of("04_first-quantized-model", "('rows:', *results)", tmp_path)
    assert "save before first use" in out
    rows = out.rpartition("rows:")[2]
    assert "NF4" in rows
    assert "Q4_K_M" not in rows


def test_chapter_15_keeps_the_bytes_and_serves_nothing(tmp_path):
    out = output_of("15_gguf-and-llama-cpp", "(sorted(files), answer)", tmp_path)
    texts = (
        "The two lines agree, byte for byte.",
        "All 115,200 bytes of the eight types are equal.",
        "No server ran",
        "(['F32'], '')",
    )
    assert [text for text in texts if text not in out] == []
