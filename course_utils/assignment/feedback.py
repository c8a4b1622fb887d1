"""The page that a student gets: points, which checks failed, and their hints.

It shows no input of a check that is not shown, and no text of the submission that a
browser could take for markup.

A student's code can keep what a hidden check passed to it and put it into the error of
a later check. So from the first hidden check on, of every check only the hint is shown.
"""

from html import escape

from course_utils.assignment.judgements import Judgements, levels
from course_utils.assignment.page import page, table
from course_utils.assignment.results import Asked, Line
from course_utils.assignment.tally import Score
from course_utils.assignment.words import hint, title

WAITS = "not judged yet"


def feedback(score: Score, asked: Asked, judged: Judgements) -> str:
    """Return the feedback page of one submission."""
    line = score.line
    of = sum(asked.points.values())
    parts = [f"<p>{escape(str(line['student'] or line['submission']))}</p>"]
    if line["error"]:
        parts.append(f'<p class="fault">Not graded: {escape(str(line["error"]))}</p>')
    rows = [
        [heading, WAITS if points is None else points, asked.points[heading]]
        for heading, points in score.points.items()
    ]
    parts.append(table(["Question", "Points", "of"], rows))
    waits = " of what is judged so far" if score.open else ""
    parts.append(f"<p>Together {score.total:g} of {of:g} points{waits}.</p>")
    parts += [_question(heading, score, asked, judged) for heading in asked.points]
    return page(f"{asked.title}: feedback", "\n".join(part for part in parts if part))


def _question(heading: str, score: Score, asked: Asked, judged: Judgements) -> str:
    """Return what is said about one question; "" if there is nothing to say."""
    if rubric := asked.rubrics.get(heading):
        body = _judgement(heading, rubric, score, judged)
    else:
        said = [(c, t) for c, t in _said(score.line) if c["question"] == heading]
        body = "\n".join(_failed(check, text) for check, text in said if text)
        if said and not body:
            body = f"<p>All {len(said)} checks passed.</p>"
    return f"<h2>{escape(heading)}</h2>\n{body}" if body else ""


def _said(line: Line) -> list[tuple[dict, str]]:
    """Return each check with what the student reads of it, in the order of the run."""
    found, told = [], False
    for check in line["checks"]:
        told = told or check["hidden"]
        found.append((check, hint(check | {"hidden": told})))
    return found


def _failed(check: dict, text: str) -> str:
    """Return what is said about a failed check."""
    shown = " (not in your notebook)" if check["hidden"] else ""
    name = escape(title(str(check["check"])))
    return (
        f'<p><span class="fault">Failed:</span> {name}{shown}</p>\n'
        f"<pre>{escape(text)}</pre>"
    )


def _judgement(heading: str, rubric: str, score: Score, judged: Judgements) -> str:
    """Return the level of an answer in words, what it shows, and the comment."""
    found = judged.get(str(score.line["sha256"]), heading)
    if not found:
        return f"<p>{WAITS.capitalize()}.</p>" if heading in score.open else ""
    known = levels(rubric)
    text = f"<p>Level {found.level} of {max(known)}: {escape(known[found.level])}</p>"
    return text + (f"\n<pre>{escape(found.comment)}</pre>" if found.comment else "")
