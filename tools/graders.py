"""Our grader beside Otter and nbgrader: hostile work, honest work and speed.

    python tools/graders.py [attacks] [honest] [numpy] [torch] [record]

Each rival runs in its own environment (`environments/`), inside bubblewrap. A part
that is not named is taken from the last run; `record` measures nothing. When there are
all, the record `graders` and the tables `graders-attacks` and `graders-honest`
are written.
"""

import argparse
import hashlib
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

from course_utils.measure import hardware, provenance, records
from course_utils.paths import ROOT

# The submissions are fixtures of the tests.
sys.path.insert(0, str(ROOT / "tests" / "grading"))

import graders_sandbox as sandbox
import graders_speed
from graders_attacks import AIMED
from graders_ours import Ours
from graders_rivals import LATE, Nbgrader, Otter, Rival, version
from hostile import ATTACKS, HONEST
from test_grading_gate import GOOD, SHARED

from course_utils.grading.gate import prepare
from course_utils.grading.judge import Assignment, assignment
from course_utils.grading.questions import Master, Question, load_master, masters

ENVIRONMENTS = ROOT / "_build" / "environments"
KEPT = ROOT / "_build" / "graders.json"
CHAPTERS = {"numpy": "00_start-here", "torch": "09_gptq"}
PACKAGES = {"otter": "otter-grader", "nbgrader": "nbgrader"}
GRADERS = ("ours", "otter", "nbgrader")
FULL = 3.0
TOY = Master("toy", "One function", 1, "", SHARED, (GOOD,))
Row = dict[str, object]


def chapter(slug: str) -> tuple[Assignment, Master]:
    """Return the exercises of a chapter."""
    master = load_master(next(p for p in masters() if p.stem == slug))
    return assignment(master), master


def attacks() -> list[Row]:
    """Grade every hostile submission with all three; one row each."""
    task = Assignment("toy", (prepare(GOOD, SHARED),), {GOOD.heading: FULL})
    rows = []
    with Ours(task) as ours:
        rivals = [
            kind(ENVIRONMENTS / kind.name, task, TOY) for kind in (Otter, Nbgrader)
        ]
        for name, (source, earned) in (ATTACKS | AIMED).items():
            cells = _cells(source)
            # Ours alone first, so that its limits on time meet no busy machine.
            verdicts = [ours.grade(cells), *_both(rivals, cells)]
            row: Row = {"submission": name, "earned": earned}
            for grader, verdict in zip(GRADERS, verdicts, strict=True):
                row |= {grader: verdict.points, f"{grader} outside": verdict.outside}
            rows.append(row)
            print(row, flush=True)
        for rival in rivals:
            rival.close()
    return rows


def slice_() -> records.Slice:
    """Return what the tests repeat: our grader on the submissions aimed at others."""
    task = Assignment("toy", (prepare(GOOD, SHARED),), {GOOD.heading: FULL})
    chosen = {name: ATTACKS[name] for name in ("honest", "wrong")} | AIMED
    with Ours(task) as ours:
        points = {
            re.sub(r"[^a-z]+", "_", name): ours.grade(_cells(source)).points
            for name, (source, _) in chosen.items()
        }
    description = "Points of our grader on honest work, wrong work and aimed attacks."
    return records.Slice(description=description, values=points, tolerance=0.0)


def _cells(source: str) -> list[str]:
    """Return the cells: an attack, and the honest answer after it if it has one."""
    if HONEST not in source:
        return [source]
    return [source.replace(HONEST, ""), HONEST]


def _both(rivals: list[Rival], cells: list[str]) -> list:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda rival: rival.grade(cells), rivals))


def honest_work(master: Master, task: Assignment) -> dict[str, list[str]]:
    """Return named submissions: all right, one thing wrong, one answer, none."""
    coded = [t.question for t in task.trials]
    shared = [master.shared]
    found = {
        "reference": shared + [q.reference for q in coded],
        "partial": [*shared, coded[0].reference],
        "empty": shared + [q.stub for q in coded],
    }
    for question in coded:
        for attempt in (*question.wrong, *question.right):
            kind = "right" if attempt in question.right else "wrong"
            name = f"{kind}, {question.number}: {attempt.name}"
            found[name] = shared + [
                attempt.source if q is question else _reference(q) for q in coded
            ]
    return found


def _reference(question: Question) -> str:
    return question.reference


def honest() -> list[Row]:
    """Grade honest work with ours and `otter run`; one row a submission."""
    rows = []
    for slug in CHAPTERS.values():
        task, master = chapter(slug)
        rival = Otter(ENVIRONMENTS / "otter", task, master)
        names = {f"q{t.question.number}": t.question.heading for t in task.trials}
        with Ours(rival.task) as ours, ThreadPoolExecutor(2) as pool:
            work = honest_work(master, task)
            theirs = pool.map(rival.by_question, work.values())
            for (name, cells), scores in zip(work.items(), theirs, strict=True):
                mine = ours.by_question(cells)
                apart = [
                    f"{q}: {mine[h]:g} and {scores.get(q)}"
                    for q, h in names.items()
                    if mine[h] != scores.get(q)
                ]
                rows.append(
                    {
                        "chapter": slug,
                        "submission": name,
                        "ours": sum(mine.values()),
                        "otter": sum(scores.values()),
                        "of": sum(rival.task.points.values()),
                        "questions": len(names),
                        "different": "; ".join(apart),
                    }
                )
                print(rows[-1], flush=True)
        rival.close()
    return rows


def speed(kind: str) -> dict[str, list[float]]:
    """Return seconds a submission, for each grader and round."""
    slug = CHAPTERS[kind]
    return graders_speed.measure(slug, *chapter(slug), ENVIRONMENTS)


def values(kept: dict) -> dict[str, records.Value]:
    """Return the values of the record."""
    rows, found = kept["attacks"], {}
    n = len(rows)
    found["hostile_submissions"] = records.exact(n, "")
    for g in GRADERS:
        points = [(row[g], row["earned"]) for row in rows]
        counts = {
            "as_earned": sum(p == e for p, e in points),
            # A forged grade: every point, without an answer that is worth them.
            "full_unearned": sum(p == FULL > e for p, e in points),
            "more_than_earned": sum(p is not None and p > e for p, e in points),
            "less_than_earned": sum(p is not None and p < e for p, e in points),
            "no_result": sum(p is None for p, e in points),
            "changed_outside": sum(
                row[f"{g} outside"] not in ("", LATE) for row in rows
            ),
        }
        found |= {f"{g}_{k}": records.exact(v, "", n=n) for k, v in counts.items()}
    rows = kept["honest"]
    compared = sum(row["questions"] for row in rows)
    different = sum(bool(row["different"]) for row in rows)
    found["honest_submissions"] = records.exact(len(rows), "", n=compared)
    found["honest_different"] = records.exact(different, "", n=len(rows))
    for kind in CHAPTERS:
        ours = kept[kind]["ours"]
        for g, seconds in kept[kind].items():
            found[f"{kind}_{g}_seconds"] = records.repeated(seconds, "s")
            if g != "ours":
                ratios = [t / o for t, o in zip(seconds, ours, strict=True)]
                found[f"{kind}_{g}_ratio"] = records.repeated(ratios, "")
    return found


def record(kept: dict) -> records.Record:
    """Return the record, with where it came from."""
    described = hardware.describe("cpu")
    versions = {
        package: version(ENVIRONMENTS / name, package)
        for name, package in PACKAGES.items()
    }
    return records.Record(
        name="graders",
        title="Our grader beside Otter and nbgrader",
        command="make graders",
        date=datetime.now(UTC).date().isoformat(),
        commit=provenance.commit(),
        device=described["device"],
        versions=described["versions"] | versions,
        model=None,
        inputs_sha256=provenance.inputs_sha256(_inputs()),
        values=values(kept),
        slice=slice_(),
        notes=[
            "Seconds are wall time over submissions, with two processes at a time but "
            "for nbgrader, whose database takes one. They hold the start of each "
            f"grader. Ours: {graders_speed.OURS} submissions; the others: "
            f"{graders_speed.THEIRS}. A ratio is that of one round.",
            "The rivals ran inside bubblewrap, on honest work too.",
        ],
    )


def _inputs() -> dict[str, str]:
    """Return the hash of every file that a result depends on."""
    files = [
        *sorted((ROOT / "course_utils" / "grading").rglob("*.py")),
        *sorted((ROOT / "tools").glob("graders*.py")),
        *(ROOT / "environments" / f"{name}.yml" for name in PACKAGES),
        *(ROOT / "book" / "exercises" / f"{slug}.md" for slug in CHAPTERS.values()),
        ROOT / "tests" / "grading" / "hostile.py",
    ]
    return {
        str(p.relative_to(ROOT)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in files
    }


PARTS = {"attacks": attacks, "honest": honest}
PARTS |= {kind: partial(speed, kind) for kind in CHAPTERS}
RECORD = "record"


def main(argv: list[str] | None = None) -> int:
    """Run the parts that are named, keep them, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = ", ".join([*PARTS, RECORD])
    parser.add_argument("parts", nargs="*", help=f"{known}; all by default")
    chosen = parser.parse_args(argv).parts or list(PARTS)
    missing = [
        n for n in PACKAGES if not (ENVIRONMENTS / n / "bin" / "python").exists()
    ]
    if unknown := set(chosen) - {*PARTS, RECORD}:
        parser.error(f"there is no part {min(unknown)!r}; choose from {known}")
    if missing:
        print(
            f"graders: build them with `python3.11 tools/environment.py {missing[0]}`.",
            file=sys.stderr,
        )
        return 1
    kept = sandbox.read_json(KEPT) or {}
    for part in (part for part in chosen if part != RECORD):
        kept[part] = PARTS[part]()
        records.write_json(KEPT, kept)
    if kept.keys() >= PARTS.keys():
        folder = records.measured_dir()
        records.write_json(folder / "graders-attacks.json", kept["attacks"])
        records.write_json(folder / "graders-honest.json", kept["honest"])
        print(records.write("graders", record(kept)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
