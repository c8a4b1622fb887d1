"""Make an assignment: what is handed out, and the private half.

    OUT/handout/NAME.ipynb      one for the class, or one for each student
    OUT/handout.zip             the same
    OUT/private/assignment.json what `assignment grade --private` needs; keep it
    OUT/private/keys/           the same notebooks with solutions
    OUT/private/gradescope.zip  with --gradescope: what Otter built

The folder appears whole or not at all.
"""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from course_utils.assignment import draw, handout, plan
from course_utils.assignment.draw import CLASS
from course_utils.assignment.plan import Plan
from course_utils.assignment.roster import read_roster
from course_utils.authoring.project import Project
from course_utils.grading import judge, otter_files
from course_utils.paths import ROOT

# A zip holds a time for each file; one that never changes gives the same bytes.
NO_TIME = (1980, 1, 1, 0, 0, 0)


def plan_of(  # noqa: PLR0913 -- what the command line asks for
    slug: str,
    *,
    questions: str | None = None,
    points: str | None = None,
    title: str | None = None,
    secret: str | None = None,
    students: str | None = None,
) -> Plan:
    """Return the plan that the words of a command line ask for.

    Raises: ValueError that says what is wrong with them.
    """
    all_of_it = plan.whole(slug)
    numbers = _numbers("--questions", questions, int) or all_of_it.numbers
    worth = _numbers("--points", points, float) or (1.0,) * len(numbers)
    return plan.checked(
        Plan(
            title=" ".join((title or all_of_it.title).split()),
            slug=slug,
            numbers=numbers,
            points=worth,
            secret=draw.read_secret(Path(secret)).hex() if secret else "",
            students=read_roster(Path(students)) if students else (),
        )
    )


def _numbers(option: str, text: str | None, kind: type) -> tuple:
    """Return the numbers of a list with commas."""
    try:
        return tuple(kind(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise ValueError(f"{option} takes numbers with commas, not {text!r}.") from None


def make(
    made: Plan,
    out: Path,
    *,
    gradescope: bool = False,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Write an assignment and return whom it was made for.

    Args:
        made: What is asked, of whom.
        out: A folder that does not exist yet.
        gradescope: Whether Otter builds an archive too.
        say: Shows progress, a line at a time.

    Raises:
        ValueError: Where the folder exists, or the plan cannot be carried out.
        OtterError: Where Otter is missing or refuses.
    """
    plan.checked(made)
    if out.exists():
        raise ValueError(f"{out} exists; name a new folder.")
    if gradescope and made.drawn_for_each:
        raise ValueError(
            "Gradescope runs one archive for the whole class: leave out --students, "
            "or leave out --gradescope."
        )
    names = [s.id for s in made.students] if made.drawn_for_each else [CLASS]
    new = out.with_name(f".{out.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        _write(made, names, new, say)
        if gradescope:
            _gradescope(made, new / "private")
        new.rename(out)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return names


def _write(made: Plan, names: list[str], new: Path, say: Callable[[str], None]) -> None:
    """Write both halves into a folder."""
    shown, keys = new / "handout", new / "private" / "keys"
    for folder in (shown, keys):
        folder.mkdir(parents=True)
    (new / "private").chmod(0o700)
    project = Project(ROOT)
    for number, who in enumerate(names):
        file = f"{made.slug if who == CLASS else who}.ipynb"
        text = handout.notebook(made, who, project)
        (shown / file).write_text(text, encoding="utf-8")
        solved = handout.notebook(made, who, project, solved=True)
        (keys / file).write_text(solved, encoding="utf-8")
        say(f"{number + 1} of {len(names)}: {file}")
    plan.write(made, new / "private")
    with zipfile.ZipFile(new / "handout.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(shown.iterdir()):
            archive.writestr(zipfile.ZipInfo(path.name, NO_TIME), path.read_bytes())


def _gradescope(made: Plan, private: Path) -> None:
    """Have Otter build its archive from the visible and further checks.

    Drawn cases stay out: Otter puts its files beside the student's code, which could
    read them with their answers.
    """
    coded = [q for q in made.questions() if q.reference]
    trials = tuple(plan.shown_trial_of(made, q, CLASS) for q in coded)
    points = {q.heading: made.points_of(q.number) for q in coded}
    task = judge.task(made.slug, trials, points)
    otter_files.write(task, private / "otter")
    otter_files.gradescope(private / "otter", private / "gradescope.zip")
