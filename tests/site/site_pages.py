"""The pages of the book, from its table of contents."""

import yaml

from course_utils.paths import ROOT


def _files(entry: dict) -> list[str]:
    below = [
        f
        for part in ("parts", "chapters", "sections")
        for e in entry.get(part, [])
        for f in _files(e)
    ]
    own = entry.get("file") or entry.get("root")
    return ([own] if own else []) + below


CONTENTS = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
DOCUMENTS = _files(CONTENTS)
PAGES = [f"{name}.html" for name in DOCUMENTS] + ["search.html"]
LESSONS = [name for name in DOCUMENTS if name.startswith("notebooks/")]
NOTEBOOKS = [
    n for n in DOCUMENTS if n.split("/")[0] in ("notebooks", "exercises", "solutions")
]
LANDING = f"{CONTENTS['root']}.html"
LESSON = "notebooks/01_what-is-quantization.html"
