"""Add up what a submission got, and choose the one that counts for a student."""

from dataclasses import dataclass

from course_utils.assignment.judgements import Judgements, checked, share
from course_utils.assignment.results import Graded, Line


@dataclass(frozen=True)
class Score:
    """What one submission got.

    Attributes:
        points: Of every question; None where a person has not judged yet.
    """

    line: Line
    points: dict[str, float | None]

    @property
    def total(self) -> float:
        """The points so far."""
        return sum(p for p in self.points.values() if p is not None)

    @property
    def open(self) -> list[str]:
        """The headings that wait for a person."""
        return [h for h, p in self.points.items() if p is None]


def scores(graded: Graded, judged: Judgements) -> list[Score]:
    """Return the score of every submission, in the order of the lines."""
    return [Score(line, _points(graded, line, judged)) for line in graded.lines]


def _points(graded: Graded, line: Line, judged: Judgements) -> dict:
    asked = graded.asked
    found: dict[str, float | None] = {}
    for heading, points in asked.points.items():
        rubric = asked.rubrics.get(heading)
        if rubric and not line["answers"].get(heading):
            found[heading] = 0.0  # Nothing was written that could be judged.
        elif rubric is None and line["error"]:
            found[heading] = 0.0  # Words can be judged all the same.
        elif rubric is None:
            # A question that has code and no points is left to a person too.
            found[heading] = line["points"].get(heading)
        else:
            judgement = judged.get(line["sha256"], heading)
            share_of = judgement and share(checked(judgement, rubric), rubric)
            found[heading] = None if judgement is None else points * share_of
    return found


def counting(every: list[Score]) -> dict[str, Score]:
    """Return the score that counts for each student: the one with most points."""
    best: dict[str, Score] = {}
    for score in every:
        who = str(score.line["student"])
        if who and (who not in best or score.total > best[who].total):
            best[who] = score
    return best
