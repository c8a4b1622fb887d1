"""The page that a student gets: points, which checks failed, and their hints.

It shows no input of a check that is not shown, and no text of the submission that a
browser could take for markup.
"""

from html import escape

from course_utils.assignment.judgements import Judgements, levels
from course_utils.assignment.page import page, table
from course_utils.assignment.results import Asked
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
        checks = [c for c in score.line["checks"] if c["question"] == heading]
        failed = [c for c in checks if c["message"]]
        body = "\n".join(map(_failed, failed))
        if checks and not failed:
            body = f"<p>All {len(checks)} checks passed.</p>"
    return f"<h2>{escape(heading)}</h2>\n{body}" if body else ""


def _failed(check: dict) -> str:
    """Return what is said about a failed check."""
    shown = " (not in your notebook)" if check["hidden"] else ""
    name = escape(title(str(check["check"])))
    return (
        f'<p><span class="fault">Failed:</span> {name}{shown}</p>\n'
        f"<pre>{escape(hint(check))}</pre>"
    )


def _judgement(heading: str, rubric: str, score: Score, judged: Judgements) -> str:
    """Return the level of an answer in words, what it shows, and the comment."""
    found = judged.get(str(score.line["sha256"]), heading)
    if not found:
        return f"<p>{WAITS.capitalize()}.</p>" if heading in score.open else ""
    known = levels(rubric)
    text = f"<p>Level {found.level} of {max(known)}: {escape(known[found.level])}</p>"
    return text + (f"\n<pre>{escape(found.comment)}</pre>" if found.comment else "")
