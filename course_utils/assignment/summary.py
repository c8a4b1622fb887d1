"""The page for the instructor: scores, failed checks, what is slow, what is odd."""

import io
import re
from collections import Counter, defaultdict
from html import escape

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from course_utils.assignment.page import page, table
from course_utils.assignment.results import Graded
from course_utils.assignment.tally import Score
from course_utils.assignment.words import title
from course_utils.report.style import METHOD_COLOURS, figure

MOST_ROWS = 30
SLOWEST = 10
BINS = 20
COLOUR = METHOD_COLOURS["gguf"]


def summary(graded: Graded, every: list[Score], best: dict[str, Score]) -> str:
    """Return the summary page of a graded folder."""
    asked = graded.asked
    counted = list(best.values()) if asked.students else every
    parts = [_opening(graded, every, counted)]
    if counted:
        parts.append(_histogram(counted, sum(asked.points.values())))
        parts.append(_failures(every))
    parts += [_slowest(every), _odd(graded, every, best)]
    return page(f"{asked.title}: summary", "\n".join(parts))


def _opening(graded: Graded, every: list[Score], counted: list[Score]) -> str:
    """Return what was graded, and how far."""
    errors = sum(bool(s.line["error"]) for s in every)
    waits = sum(len(s.open) for s in every)
    said = [f"{len(every)} submissions, of which {errors} could not be graded."]
    if graded.asked.students:
        said.append(
            f"{len(counted)} of {len(graded.asked.students)} students handed in. Of "
            "several submissions of one student, the one with most points counts."
        )
    if counted:
        totals = [s.total for s in counted]
        of = sum(graded.asked.points.values())
        said.append(f"The median is {np.median(totals):g} of {of:g} points.")
    if waits:
        said.append(f"{waits} answers are not judged yet and count as nothing so far.")
    return "".join(f"<p>{escape(text)}</p>" for text in said)


def _histogram(counted: list[Score], of: float) -> str:
    totals = np.array([score.total for score in counted])
    fig, ax = figure(height=2.6)
    ax.hist(totals, bins=np.linspace(0, of, BINS + 1), color=COLOUR)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel(f"points, of {of:g}")
    ax.set_ylabel("submissions")
    low, middle, high = np.percentile(totals, [25, 50, 75])
    alt = (
        f"Histogram of the points of {len(totals)} submissions: a quarter has at most "
        f"{low:g}, half at most {middle:g}, three quarters at most {high:g} of {of:g}."
    )
    return f"<h2>Scores</h2>\n{_drawn(fig, alt)}"


def _failures(every: list[Score]) -> str:
    """Return how many submissions failed each check, the most first."""
    graded = [s for s in every if not s.line["error"]]
    found = Counter(
        f"{c['question'].partition('.')[0]}: {title(c['check'])}"
        for score in graded
        for c in score.line["checks"]
        if c["message"]
    )
    if not found:
        return "<h2>Failed checks</h2>\n<p>None.</p>"
    shown = found.most_common(MOST_ROWS)
    names, counts = [n for n, _ in shown][::-1], [c for _, c in shown][::-1]
    fig, ax = figure(height=0.8 + 0.24 * len(shown))
    ax.barh(names, counts, color=COLOUR)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel(f"submissions that failed, of {len(graded)}")
    ax.set_ylabel("question: check")
    alt = f"Bars: {shown[0][0]} failed most often, in {shown[0][1]} submissions."
    rest = _rest(len(found) - len(shown), "checks")
    return f"<h2>Failed checks</h2>\n{_drawn(fig, alt)}{rest}"


def _slowest(every: list[Score]) -> str:
    rows = sorted(every, key=lambda s: -s.line["seconds"])[:SLOWEST]
    cells = [[s.line["submission"], s.line["seconds"]] for s in rows]
    return f"<h2>Slowest</h2>\n{table(['File', 'Seconds'], cells)}"


def _odd(graded: Graded, every: list[Score], best: dict[str, Score]) -> str:
    """Return what a person should look at; whoever is missing is always there."""
    remarks = [
        [s.line["submission"], said]
        for s in every
        for said in [s.line["error"], *s.line["remarks"]]
        if said
    ]
    same = defaultdict(list)
    for score in every:
        if score.line["sha256"]:
            same[score.line["sha256"]].append(score.line["submission"])
    equal = [[", ".join(n), "equal to the byte"] for n in same.values() if len(n) > 1]
    often = Counter(s.line["student"] for s in every if s.line["student"])
    several = [
        [who, f"{n} submissions; {best[who].line['submission']} counts"]
        for who, n in often.items()
        if n > 1
    ]
    absent = [s.id for s in graded.asked.students if s.id not in often]
    rows = [[", ".join(absent), "handed in nothing"]] if absent else []
    kinds = (remarks, equal, several)
    rows += [row for kind in kinds for row in kind[:MOST_ROWS]]
    if not rows:
        return "<h2>To look at</h2>\n<p>Nothing.</p>"
    left = sum(max(0, len(kind) - MOST_ROWS) for kind in kinds)
    shown = table(["What", "Why"], rows)
    return f"<h2>To look at</h2>\n{shown}{_rest(left, 'lines')}"


def _rest(n: int, what: str) -> str:
    return f"<p>{n} more {what} are in results.jsonl.</p>" if n > 0 else ""


def _drawn(fig: Figure, alt: str) -> str:
    """Return a figure as SVG with a text for those who do not see it."""
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "fewer-bits", "svg.fonttype": "path"}):
        fig.savefig(out, format="svg", metadata={"Date": None}, bbox_inches="tight")
    svg = out.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.S)
    # On a phone its letters would be too small to read; there it scrolls.
    drawn = f'<figure role="img" aria-label="{escape(alt)}">{svg}</figure>'
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Figure">'
        f'<div style="min-width: 34rem">{drawn}</div></div>'
    )
