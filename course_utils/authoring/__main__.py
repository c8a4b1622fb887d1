"""The commands of the pipeline; the Makefile wraps them.

sync [slugs] [--check]    derive notebooks, or only say which differ
check              drift and stale outputs
execute [slugs]    run the committed notebooks that are stale
        --fresh --out DIR    run all of them into DIR
lint               check the text of the masters
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from course_utils.authoring import sync
from course_utils.authoring.errors import AuthoringError, one_sentence
from course_utils.authoring.project import COMMITTED_PROFILE, Project


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    project = Project()
    try:
        return options.run(project, options)
    except AuthoringError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(one_sentence(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What is finished is kept; run the same command to go on.")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m course_utils.authoring")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("sync", help="derive notebooks/, exercises/, solutions/")
    one.add_argument("slugs", nargs="*", help="chapters; all by default")
    one.add_argument("--check", action="store_true", help="only say what differs")
    one.set_defaults(run=_sync)
    commands.add_parser("check", help="drift and stale outputs").set_defaults(
        run=_check
    )
    commands.add_parser("lint", help="text of the masters").set_defaults(run=_lint)
    one = commands.add_parser("execute", help="run the notebooks that are stale")
    one.add_argument("slugs", nargs="*", help="chapters; all by default")
    one.add_argument("--fresh", action="store_true", help="run all of them into --out")
    one.add_argument("--out", type=Path, help="folder of a fresh execution")
    one.set_defaults(run=_execute)
    return parser


def _sync(project: Project, options: argparse.Namespace) -> int:
    if options.check:
        return _report(
            sync.drift(project), "Every derived file is what its master gives."
        )
    written = sync.sync(project, tuple(options.slugs))
    for name in written:
        print(f"wrote {name}")
    if not written:
        print("Every derived file was up to date.")
    return 0


def _check(project: Project, options: argparse.Namespace) -> int:
    del options
    faults = sync.drift(project) + sync.stale(project)
    return _report(faults, "Derived files and outputs are up to date.")


def _lint(project: Project, options: argparse.Namespace) -> int:
    del options
    from course_utils.authoring.lint import lint  # noqa: PLC0415 (sync starts faster)

    findings = lint(project)
    for finding in findings:
        print(finding)
    errors = sum(finding.error for finding in findings)
    print(f"{errors} errors, {len(findings) - errors} warnings in the masters.")
    return int(errors > 0)


def _execute(project: Project, options: argparse.Namespace) -> int:
    # nbclient takes two seconds to import, and the other commands do not need it.
    from course_utils.authoring.execute import (  # noqa: PLC0415
        Plan,
        execute,
        overview,
        table,
    )

    if options.fresh != (options.out is not None):
        raise AuthoringError("--fresh and --out DIR belong together; give both.")
    if options.fresh:
        out = options.out.resolve()
        profile = os.environ.get("COURSE_PROFILE", "")
        plan = Plan(out, out / "status.json", profile)
    else:
        measured = project.book / "measured" / "status.json"
        plan = Plan(project.root, measured, COMMITTED_PROFILE)
    _stop_on_signals()
    start = time.monotonic()
    slugs = tuple(options.slugs)
    results = execute(project, plan, slugs)
    if known := overview(project, plan, slugs, results):
        print(table(known))
    failed = sum(isinstance(result, str) for result in results.values())
    seconds = time.monotonic() - start
    print(f"{len(results) - failed} executed, {failed} failed, {seconds:.0f} s.")
    return int(failed > 0)


def _stop_on_signals() -> None:
    """Let SIGTERM and SIGHUP do what Ctrl-C does, so that no kernel is left running."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        # `nohup` ignores SIGHUP on purpose.
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def _report(faults: list[str], good: str) -> int:
    """Print the faults, or that there are none."""
    for sentence in faults:
        print(sentence)
    if not faults:
        print(good)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
