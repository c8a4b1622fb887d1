"""Speeds and page scores, printed; never part of the tests.

    make bench

Ratios are taken within one run, because machines differ and are noisy.
"""

import subprocess
import sys
from pathlib import Path
from statistics import median

import graders_memory
import graders_speed

from course_utils.grading.judge import assignment
from course_utils.grading.questions import load_master, masters
from course_utils.measure import quantizer_pairs, quantizing_speed

ROOT = Path(__file__).parent.parent
WARM_UP, TURNS = 2, 15
MIB = 2**20
# An exercise in numpy and one in torch, and how many submissions of each.
CLASSES = (("00_start-here", 200), ("09_gptq", 200), ("00_start-here", 5000))


def quantizers() -> None:
    """Time our quantizers and production code on the first layers of the model."""
    measurement = quantizing_speed.Measurement()
    weights = measurement.weights[: 3 * quantizing_speed.SLICE_MATRICES]
    for pair in measurement.pairs:
        turns = [
            (
                quantizer_pairs.seconds(pair.ours, weights),
                quantizer_pairs.seconds(pair.theirs, weights),
            )
            for _ in range(WARM_UP + TURNS)
        ][WARM_UP:]
        ours, theirs = (median(column) for column in zip(*turns, strict=True))
        ratio = median(a / b for a, b in turns)
        print(
            f"{pair.key}, three layers: ours {1e3 * ours:.1f} ms, {pair.library} "
            f"{1e3 * theirs:.1f} ms, ratio {ratio:.2f}"
        )


def grading() -> None:
    """Time our grader on classes of submissions, with the memory of all processes."""
    for slug, n in CLASSES:
        master = load_master(next(p for p in masters() if p.stem == slug))
        with graders_memory.watching() as peak:
            each = graders_speed.ours(slug, master, assignment(master), n)
        print(
            f"{slug}, {n} submissions: {n * each:.0f} s, {1e3 * each:.0f} ms each; "
            f"runner {peak.runner / MIB:.0f} MiB, workers and sandboxes "
            f"{peak.others / MIB:.0f} MiB",
            flush=True,
        )


def run(title: str, *command: str) -> None:
    """Run one bench script of the tests and show what it prints."""
    print(f"\n{title}", flush=True)
    subprocess.run([sys.executable, *command], cwd=ROOT, check=False)


def main() -> None:
    """Run every bench."""
    quantizers()
    print("\nGrading")
    grading()
    quiet = ("-m", "pytest", "-q", "-s", "--no-header")
    run(
        "Widget: from input event to answer",
        *quiet,
        "tests/widgets/bench_number_line.py",
    )
    run("Pages: Lighthouse, desktop, median of 3", "tests/site/lighthouse.py")


if __name__ == "__main__":
    main()
