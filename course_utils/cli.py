"""The command line: `python -m course_utils COMMAND`.

One table, `COMMANDS`, holds every command: its help, its arguments, and the function
that does it. To add one, write the three and add a row. The functions import what they
need when they are called, so that `--help` answers at once.

An error that a user can do something about is one sentence on stderr and exit status
1; an interrupt is status 130. `--traceback` shows where an error came from.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Parser = argparse.ArgumentParser
Arguments = argparse.Namespace
# What a user can act on; any other exception is a bug and keeps its traceback.
EXPECTED = (ValueError, OSError, RuntimeError, ImportError)


@dataclass(frozen=True)
class Command:
    """A sub-command: one line of help, its arguments, what it does."""

    summary: str
    arguments: Callable[[Parser], None]
    run: Callable[[Arguments], int]


def _progress(line: str) -> None:
    """Show a line of progress at once, apart from a command's result."""
    print(line, file=sys.stderr, flush=True)


def _no_arguments(parser: Parser) -> None:
    """Add nothing: the command has no arguments."""


def _doctor(arguments: Arguments) -> int:  # noqa: ARG001 -- the table's signature
    from course_utils import doctor  # noqa: PLC0415

    report = doctor.examine()
    print(doctor.render(report))
    return 1 if report.problems else 0


def _model(arguments: Arguments) -> int:  # noqa: ARG001 -- the table's signature
    from course_utils.models import embedded  # noqa: PLC0415

    print(f"The embedded model is ready: {embedded.prepare(progress=_progress)}")
    return 0


def _measure_arguments(parser: Parser) -> None:
    from course_utils.measure import tasks  # noqa: PLC0415

    names = ", ".join(tasks.TASKS)
    parser.add_argument("name", metavar="NAME", help=f"one of: {names}")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--fresh", action="store_true", help="forget the steps of an interrupted run"
    )
    how.add_argument(
        "--slice",
        action="store_true",
        help="only repeat the record's slice and compare it with the record",
    )


def _measure(arguments: Arguments) -> int:
    from course_utils.measure import tasks  # noqa: PLC0415

    name = arguments.name
    if not arguments.slice:
        path = tasks.measure(name, say=_progress, fresh=arguments.fresh)
        print(f"Written: {path}")
        return 0
    moved = tasks.check_slice(name)
    print("\n".join(moved) or f"The slice of {name} agrees with its record.")
    return 1 if moved else 0


# argparse names the function when it refuses a value, hence these two names.
def number(text: str) -> float:
    """Return the number that an argument spells, whole where it is whole."""
    value = float(text)
    return int(value) if value.is_integer() else value


def group(text: str) -> int | None:
    """Return the group size that an argument names; see `footprint`."""
    return {"row": None, "matrix": 0}[text] if text in ("row", "matrix") else int(text)


# Option -> argument of `footprint`, how it is read, default, help. The defaults are
# those of `footprint`, whose module is not imported for a question about usage.
MEMORY_SETTINGS: dict[str, tuple[str, Callable[[str], float | None], int, str]] = {
    "--bits": ("bits", number, 4, "of a linear weight"),
    "--group": ("group_size", group, 64, "weights per scale; or `row`, `matrix`"),
    "--scale-bits": ("scale_bits", number, 16, "of a scale"),
    "--zero-bits": ("zero_bits", number, 0, "of a zero point"),
    "--keep-bits": ("keep_bits", number, 16, "of every other parameter"),
    "--context": ("context", int, 8192, "tokens of each sequence"),
    "--batch": ("batch", int, 1, "sequences at once"),
    "--kv-bits": ("kv_bits", number, 16, "of a number in the key-value cache"),
    "--rank": ("rank", int, 0, "of LoRA adapters on every linear layer"),
}


def _memory_arguments(parser: Parser) -> None:
    parser.add_argument(
        "name", metavar="MODEL", help="a model's name; an unknown one lists them"
    )
    for option, (name, kind, default, words) in MEMORY_SETTINGS.items():
        parser.add_argument(
            option,
            dest=name,
            type=kind,
            default=default,
            metavar="N",
            help=f"{words} (default: {default})",
        )
    parser.add_argument(
        "--training", action="store_true", help="with gradients and AdamW of adapters"
    )
    parser.add_argument("--json", action="store_true", help="sizes in bytes, as JSON")


def _memory(arguments: Arguments) -> int:
    from course_utils import memory_report  # noqa: PLC0415

    settings = {name: getattr(arguments, name) for name, *_ in MEMORY_SETTINGS.values()}
    settings["training"] = arguments.training
    found = memory_report.answer(arguments.name, **settings)
    show = memory_report.as_json if arguments.json else memory_report.render
    print(show(found))
    return 0


def _assignment_arguments(parser: Parser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _make_arguments(actions.add_parser("make", help="what is handed out, and its key"))
    _grade_arguments(actions.add_parser("grade", help="grade what was handed in"))
    _report_arguments(actions.add_parser("report", help="feedback, plots, gradebooks"))


def _make_arguments(parser: Parser) -> None:
    parser.add_argument("chapter", metavar="SLUG", help="such as 09_gptq")
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--questions", metavar="N,N", help="their numbers (default: all)"
    )
    parser.add_argument("--points", metavar="P,P", help="of each (default: 1)")
    parser.add_argument("--title", help="default: that of the chapter's exercises")
    parser.add_argument(
        "--secret", metavar="FILE", help="draw versions, values and cases from it"
    )
    parser.add_argument(
        "--students", metavar="CSV", help="a column `id`; draw for each student"
    )
    parser.add_argument(
        "--gradescope", action="store_true", help="let Otter build an archive too"
    )


def _grade_arguments(parser: Parser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="the notebooks handed in")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--private", metavar="DIR", help="the private half that `make` wrote"
    )
    what.add_argument(
        "--chapter", metavar="SLUG", help="the published exercises, one point each"
    )
    parser.add_argument(
        "--out", default="graded", metavar="DIR", help="for results (default: graded)"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--workers", type=int, metavar="N", help="default: all cores")
    how.add_argument("--cluster", default="", metavar="ADDRESS", help="of Dask")


def _report_arguments(parser: Parser) -> None:
    parser.add_argument("folder", metavar="GRADED", help="what `grade` wrote")
    parser.add_argument(
        "--enter", action="store_true", help="give points to answers in words first"
    )
    parser.add_argument(
        "--fill", metavar="CSV", help="a gradebook exported from Canvas or Moodle"
    )


def _assignment(arguments: Arguments) -> int:
    act = {"make": _make, "grade": _grade, "report": _report}
    return act[arguments.action](arguments)


def _make(arguments: Arguments) -> int:
    from course_utils.assignment import make  # noqa: PLC0415

    made = make.plan_of(
        arguments.chapter,
        questions=arguments.questions,
        points=arguments.points,
        title=arguments.title,
        secret=arguments.secret,
        students=arguments.students,
    )
    out = Path(arguments.out)
    names = make.make(made, out, gradescope=arguments.gradescope, say=_progress)
    print(f"{len(names)} notebooks: hand out {out / 'handout.zip'}")
    print(f"Keep {out / 'private'} to yourself.")
    return 0


def _grade(arguments: Arguments) -> int:
    from course_utils.assignment import batch, plan  # noqa: PLC0415

    folder, out = Path(arguments.folder), Path(arguments.out)
    private = arguments.private
    made = plan.read(Path(private)) if private else plan.whole(arguments.chapter)
    lines = batch.grade_folder(
        folder,
        made,
        out,
        workers=arguments.workers,
        cluster=arguments.cluster,
        say=_progress,
    )
    print(f"{len(lines)} submissions: {out / batch.TABLE} and {out / batch.RESULTS}")
    return 0


def _report(arguments: Arguments) -> int:
    from course_utils.assignment import manual, report  # noqa: PLC0415

    folder = Path(arguments.folder)
    fill = Path(arguments.fill) if arguments.fill else None
    if arguments.enter:
        manual.serve(folder, say=_progress)
    paths = report.write(folder, fill, say=_progress)
    print("\n".join(f"Written: {path}" for path in paths))
    return 0


COMMANDS = {
    "doctor": Command(
        "the report that a bug report should carry", _no_arguments, _doctor
    ),
    "model": Command(
        "prepare the embedded model, if it is not ready", _no_arguments, _model
    ),
    "measure": Command(
        "measure something and write its record", _measure_arguments, _measure
    ),
    "memory": Command(
        "count the memory that a model needs", _memory_arguments, _memory
    ),
    "assignment": Command(
        "make, grade and report exercises of a class",
        _assignment_arguments,
        _assignment,
    ),
}


def _parser() -> Parser:
    """Build the parser from the table."""
    parser = argparse.ArgumentParser(
        prog="python -m course_utils", description="Tools of the book Fewer Bits."
    )
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error came from"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        summary = command.summary
        sub = commands.add_parser(name, help=summary, description=f"{name}: {summary}.")
        command.arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command].run(arguments)
    except KeyboardInterrupt:
        _progress("Interrupted; the same command goes on where this one stopped.")
        return 130
    except EXPECTED as error:
        if arguments.traceback:
            raise
        _progress(f"{arguments.command}: {error or type(error).__name__}")
        return 1
