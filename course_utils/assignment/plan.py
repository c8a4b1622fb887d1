"""What an assignment is: questions with points, and what is drawn for whom.

The private half is one file, `assignment.json`, which holds the secret. From it and a
student's id follows everything that the student gets: the version of each question,
its values, and the cases that are not shown.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from course_utils.assignment import cases, draw, variants
from course_utils.assignment.results import Asked
from course_utils.assignment.roster import Student
from course_utils.assignment.variants import Variant
from course_utils.grading.gate import Trial, prepare
from course_utils.grading.questions import Master, Question, load_master, masters
from course_utils.paths import book_dir

FILE = "assignment.json"


@dataclass(frozen=True)
class Plan:
    """An assignment.

    Attributes:
        slug: The chapter.
        numbers: Of its questions that are asked.
        points: Of each of them.
        secret: Hexadecimal; "" if nothing is drawn.
        students: The roster; empty for a class that is not told apart.
    """

    title: str
    slug: str
    numbers: tuple[int, ...]
    points: tuple[float, ...]
    secret: str = ""
    students: tuple[Student, ...] = ()

    @property
    def drawn_for_each(self) -> bool:
        """Whether every student gets a version of their own."""
        return bool(self.secret and self.students)

    def questions(self) -> list[Question]:
        """Return the published questions, in order."""
        found = {q.number: q for q in master_of(self.slug).questions}
        return [found[n] for n in self.numbers]

    def points_of(self, number: int) -> float:
        """Return the points of a question."""
        return self.points[self.numbers.index(number)]

    def asked(self) -> Asked:
        """Return what a graded folder says about the assignment."""
        points = {q.heading: self.points_of(q.number) for q in self.questions()}
        rubrics = {q.heading: q.rubric for q in self.questions() if not q.reference}
        print_of = fingerprint(self)
        return Asked(self.title, self.slug, points, rubrics, self.students, print_of)


@dataclass(frozen=True)
class Version:
    """A question as one student gets it.

    Attributes:
        question: The published question.
        variant: None for the published version.
        values: What was drawn, by name.
    """

    question: Question
    variant: Variant | None
    values: dict[str, Any]


def whole(slug: str) -> Plan:
    """Return the plan of a chapter's exercises as published, one point each."""
    master = master_of(slug)
    numbers = tuple(q.number for q in master.questions)
    return Plan(master.title, slug, numbers, (1.0,) * len(numbers))


@cache
def master_of(slug: str) -> Master:
    """Return the exercises of a chapter.

    Raises: ValueError where there are none.
    """
    found = {path.stem: path for path in masters()}
    if slug not in found:
        raise ValueError(
            f"there are no exercises named {slug!r}; choose one of {', '.join(found)}."
        )
    return load_master(found[slug])


@cache
def published(slug: str, number: int) -> Trial:
    """Return a published question, ready to run."""
    master = master_of(slug)
    question = next(q for q in master.questions if q.number == number)
    return prepare(question, master.shared)


def version_of(plan: Plan, question: Question, who: str) -> Version:
    """Return the version of a question that `who` gets; the published one counts."""
    if not plan.secret:
        return Version(question, None, {})
    rng = _rng(plan, question, who, "version")
    others = [v for v in variants.variants_of(plan.slug) if v.number == question.number]
    variant = [None, *others][rng.integers(len(others) + 1)]
    return Version(question, variant, variant.draw(rng) if variant else {})


def shown_trial_of(plan: Plan, question: Question, who: str) -> Trial:
    """Return a question as `who` gets it, without the cases drawn for them.

    Its heading is the published one's, by which points are counted.
    """
    base = published(plan.slug, question.number)
    version = version_of(plan, question, who)
    if not version.variant:
        return base
    calls = _recorded(plan.slug, question.number)
    trial = variants.trial_of(version.variant, version.values, base, calls)
    return replace(trial, question=replace(trial.question, title=question.title))


def trial_of(plan: Plan, question: Question, who: str) -> Trial:
    """Return a question as `who` gets it, with the cases that are drawn for them."""
    trial = shown_trial_of(plan, question, who)
    if not plan.secret:
        return trial
    calls = _recorded(plan.slug, question.number)
    variant = version_of(plan, question, who).variant
    if variant and variant.checks:
        calls = calls + cases.recorded(trial)
    chosen = cases.drawn(trial, calls, _rng(plan, question, who, "cases"))
    return replace(trial, further=trial.further + cases.checks(trial, chosen))


@cache
def _recorded(slug: str, number: int) -> list[cases.Call]:
    return cases.recorded(published(slug, number))


def _rng(plan: Plan, question: Question, who: str, what: str) -> Any:
    secret = bytes.fromhex(plan.secret)
    return draw.rng(secret, plan.slug, who, str(question.number), what)


def fingerprint(plan: Plan) -> str:
    """Return a hash of all that decides a grade: the plan, the checks, the versions."""
    total = hashlib.sha256(json.dumps(asdict(plan), sort_keys=True).encode())
    exercises = book_dir() / "exercises"
    for path in (exercises, exercises / "variants"):
        if (file := path / f"{plan.slug}.md").is_file():
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def write(plan: Plan, folder: Path) -> Path:
    """Write the private half, readable by its owner alone, and return its path."""
    path = folder / FILE
    path.touch(mode=0o600)
    path.write_text(json.dumps(asdict(plan), indent=1) + "\n", encoding="utf-8")
    return path


def read(folder: Path) -> Plan:
    """Return the plan of a private half.

    Raises: ValueError if there is none, or it cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{folder} holds no {FILE}; name the folder `private`.")
    try:
        data = json.loads(path.read_text("utf-8"))
        data["students"] = tuple(Student(**student) for student in data["students"])
        data |= {key: tuple(data[key]) for key in ("numbers", "points")}
        return checked(Plan(**data))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}).") from None


def checked(plan: Plan) -> Plan:
    """Return a plan that can be carried out.

    Raises: ValueError that says what is wrong with it.
    """
    have = [q.number for q in master_of(plan.slug).questions]
    strange = [n for n in plan.numbers if n not in have]
    if strange or not plan.numbers or len({*plan.numbers}) < len(plan.numbers):
        raise ValueError(
            f"{plan.slug} has the questions {_listed(have)}; choose some of them, "
            f"each once, not {_listed(plan.numbers)}."
        )
    if len(plan.points) != len(plan.numbers) or not all(
        0 < p < 1e6 for p in plan.points
    ):
        raise ValueError(
            f"{len(plan.numbers)} questions need as many points above 0, not "
            f"{_listed(plan.points)}."
        )
    bytes.fromhex(plan.secret)
    return plan


def _listed(numbers: list | tuple) -> str:
    return ", ".join(f"{n:g}" for n in numbers) or "none"
