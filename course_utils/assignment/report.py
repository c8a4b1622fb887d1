"""Write all that follows from a graded folder.

graded/feedback/NAME.html   a page for each student
graded/summary.html         a page for the instructor
graded/canvas.csv           for gradebooks
graded/moodle.csv
"""

import re
from collections.abc import Callable
from pathlib import Path

from course_utils.assignment import gradebook, results
from course_utils.assignment.feedback import feedback
from course_utils.assignment.judgements import Judgements
from course_utils.assignment.summary import summary
from course_utils.assignment.tally import Score, counting, scores

NAME = re.compile(r"[^A-Za-z0-9._@-]+")


def write(
    folder: Path, fill: Path | None = None, *, say: Callable[[str], None] = print
) -> list[Path]:
    """Write feedback, summary and gradebooks, and return their paths.

    Args:
        folder: What `assignment grade` wrote.
        fill: A gradebook that was exported; a copy gets the column.
        say: Shows what is left to do, a line at a time.

    Raises: ValueError where the folder was not graded, or `fill` is no gradebook.
    """
    graded, judged = results.load(folder), Judgements(folder)
    every = scores(graded, judged)
    best = counting(every)
    pages = folder / "feedback"
    pages.mkdir(exist_ok=True)
    names = file_names(every)
    for score, name in zip(every, names, strict=True):
        text = feedback(score, graded.asked, judged)
        # Half of a character, which a student's text may hold, has no UTF-8.
        (pages / name).write_text(text, encoding="utf-8", errors="replace")
    for old in pages.glob("*.html"):
        if old.name not in names:
            old.unlink()  # Of a submission that is no longer there.
    texts = {
        "summary.html": summary(graded, every, best),
        "canvas.csv": gradebook.canvas(graded.asked, best),
        "moodle.csv": gradebook.moodle(graded.asked, best),
    }
    if fill:
        texts[f"filled-{fill.name}"], odd = gradebook.fill(fill, graded.asked, best)
        for sentence in odd:
            say(sentence)
    if not graded.asked.students:
        say("There is no list of students: the gradebooks name nobody.")
    for name, text in texts.items():
        # Lines of a CSV end as the standard says; nothing is translated.
        (folder / name).write_text(text, "utf-8", errors="replace", newline="")
    if waits := sum(len(score.open) for score in every):
        say(f"{waits} answers are not judged yet: `assignment report {folder} --enter`")
    return [pages, *(folder / name for name in texts)]


def file_names(every: list[Score]) -> list[str]:
    """Return one file name for each submission, no two the same in any case."""
    found: list[str] = []
    taken: set[str] = set()
    for score in every:
        line = score.line
        stem = str(line["submission"]).removesuffix(".ipynb")
        base = NAME.sub("_", stem).lstrip(".")[:100] or "submission"
        name, n = base, 1
        while name.lower() in taken:
            n += 1
            name = f"{base}-{n}"
        taken.add(name.lower())
        found.append(f"{name}.html")
    return found
