"""Exports of the bank: `python -m course_utils.exam moodle|anki|form OUT`.

An error is one sentence on stderr and exit status 1.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

EXPECTED = (ValueError, ImportError)


def moodle(arguments: argparse.Namespace) -> str:
    """Write the bank as Moodle XML and say so."""
    from course_utils.exam import moodle as exporter  # noqa: PLC0415 -- torch
    from course_utils.exam.bank import load_bank  # noqa: PLC0415

    n = exporter.write(load_bank(arguments.seed), arguments.out)
    return f"{arguments.out}: {n} questions"


def anki(arguments: argparse.Namespace) -> str:
    """Write the glossary as an Anki deck and say so."""
    from course_utils.exam import anki as exporter  # noqa: PLC0415
    from course_utils.exam.glossary import terms  # noqa: PLC0415

    return f"{arguments.out}: {exporter.write(terms(), arguments.out)} cards"


def form(arguments: argparse.Namespace) -> str:
    """Write a form drawn by a seed as JSON, or as Moodle XML, and say so."""
    from course_utils.exam import moodle as exporter  # noqa: PLC0415
    from course_utils.exam.bank import to_page  # noqa: PLC0415
    from course_utils.exam.forms import form as draw  # noqa: PLC0415

    questions = draw(arguments.seed, arguments.questions, chapters=arguments.chapter)
    if arguments.out.suffix == ".xml":
        # Categories are chapters, so each stands once.
        exporter.write(sorted(questions, key=lambda q: q.chapter), arguments.out)
    else:
        shown = [to_page(question) for question in questions]
        text = json.dumps(shown, indent=1, ensure_ascii=False)
        arguments.out.write_text(text + "\n", "utf-8")
    return f"{arguments.out}: {len(questions)} questions of seed {arguments.seed}"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser("python -m course_utils.exam", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    for run in (moodle, anki, form):
        command = commands.add_parser(run.__name__, help=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("out", type=Path, metavar="OUT", help="file to write")
        if run is not anki:
            command.add_argument(
                "--seed", type=int, default=0, help="draws the numbers"
            )
        if run is form:
            command.add_argument("--questions", type=int, default=20, metavar="N")
            command.add_argument(
                "--chapter", action="append", default=[], help="a slug"
            )
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = parser().parse_args(words)
    try:
        print(arguments.run(arguments))
    except OSError as error:
        said = f"Cannot use {error.filename}: {error.strerror}."
        print(said, file=sys.stderr)
        return 1
    except EXPECTED as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
