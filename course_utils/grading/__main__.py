"""Command line of the grading package: `python -m course_utils.grading gate`."""

import argparse
import contextlib
import json
import sys
import time
from dataclasses import asdict

from course_utils.grading.gate import Report, gate_master
from course_utils.grading.kills import read, row, write
from course_utils.grading.questions import MasterError, load_master, masters


def main(arguments: list[str] | None = None) -> int:
    """Run the gate on one chapter or on all; 1 if a question has a gap."""
    parser = argparse.ArgumentParser(prog="python -m course_utils.grading")
    commands = parser.add_subparsers(dest="command", required=True)
    gate = commands.add_parser("gate", help="prove that the checks catch mistakes")
    gate.add_argument(
        "slug", nargs="?", help="a chapter, such as 01_what-is-quantization"
    )
    gate.add_argument("--write", action="store_true", help="update the table of kills")
    gate.add_argument("--json", action="store_true", help="print reports as JSON")
    options = parser.parse_args(arguments)
    paths = [p for p in masters() if options.slug in (None, p.stem)]
    if not paths:
        print(f"No exercises for {options.slug!r} in book/exercises.", file=sys.stderr)
        return 2
    try:
        return _gate(paths, write_table=options.write, as_json=options.json)
    except MasterError as error:
        print(error, file=sys.stderr)
        return 2


def _gate(paths: list, *, write_table: bool, as_json: bool) -> int:
    """Judge every master, print, and write the table if asked."""
    start = time.perf_counter()
    reports = {}
    for path in paths:
        if not as_json:
            print(path.stem)
        progress = None if as_json else _print
        # A check cell may print while it loads something; JSON must stay JSON.
        with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
            reports[path.stem] = gate_master(load_master(path), progress)
    rows = [row(slug, report) for slug, found in reports.items() for report in found]
    passed = all(r.passed for found in reports.values() for r in found)
    if as_json:
        everything = {s: [asdict(r) for r in found] for s, found in reports.items()}
        print(json.dumps({"reports": everything, "rows": rows}))
    else:
        killed, total = (sum(r[k] for r in rows) for k in ("killed", "mutants"))
        print(
            f"{killed} of {total} mutants killed, {time.perf_counter() - start:.0f} s"
        )
    if write_table and passed:
        kept = [r for r in read() if r["chapter"] not in reports]
        print(f"wrote {write(kept + rows)}", file=sys.stderr)
    return 0 if passed else 1


def _print(report: Report, seconds: float) -> None:
    """Print one question of the table, and what is wrong with it."""
    print(
        f"  {report.question:<58} {report.killed}/{report.mutants} killed, "
        f"{report.equivalent} equivalent, {report.wrong_rejected} wrong rejected, "
        f"{report.right_accepted} right accepted, {seconds:.1f} s"
    )
    for problem in report.problems:
        print(f"      {problem}")


if __name__ == "__main__":
    sys.exit(main())
