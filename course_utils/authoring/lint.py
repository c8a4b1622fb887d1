"""Everything that is checked in the text of a master.

An error fails `make lint`; a warning is shown. Each finding is one sentence with its
file and line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from course_utils.authoring.cite import CITATION, GLOSSARY, Sources
from course_utils.authoring.errors import AuthoringError
from course_utils.authoring.lint_code import Raw, code_findings, include_findings
from course_utils.authoring.masters import Cell, Master, read_master
from course_utils.authoring.numbers import typed_numbers
from course_utils.authoring.project import Project
from course_utils.authoring.prose import mask

PARAGRAPH_LINES = 5

_ORNAMENT = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b50\u2b55\ufe0f]|[\u2500-\u259f]"
)
_EXCLAMATION = re.compile(r"!(?!\[)")
_DIRECTIVE = re.compile(r"^ {0,3}(?:`{3,}|~{3,}|:{3,})\{([\w:-]+)\}", re.M)
_ROLE = re.compile(r"\{([\w:-]+)\}`")


@dataclass(frozen=True)
class Finding:
    """One fault, its place, and whether it fails the lint."""

    path: str
    line: int
    sentence: str
    error: bool = True

    def __str__(self) -> str:
        """Return `file:line: sentence`."""
        kind = "" if self.error else "warning: "
        return f"{self.path}:{self.line}: {kind}{self.sentence}"


def lint(project: Project) -> list[Finding]:
    """Return every finding in every master."""
    sources = Sources.of(project)
    found: list[Finding] = []
    for path in project.lessons + project.exercises:
        shown = project.shown(path)
        try:
            master = read_master(path)
        except AuthoringError as error:
            found.append(_from_error(error, shown))
            continue
        for line, sentence, is_error in _master(master, sources, project):
            found.append(Finding(shown, line, sentence, is_error))
    return found


def _from_error(error: AuthoringError, shown: str) -> Finding:
    """Turn the error of a reader, `path:line: sentence`, into a finding."""
    match = re.match(r".*?:(\d+): (.*)", str(error), re.S)
    return (
        Finding(shown, int(match[1]), match[2])
        if match
        else Finding(shown, 1, str(error))
    )


def _master(master: Master, sources: Sources, project: Project) -> Iterator[Raw]:
    """Yield the findings of one master."""
    yield from _title(master)
    for cell in master.cells:
        if cell.kind == "markdown":
            yield from _prose(cell.source, cell.line)
            yield from _plain_markdown(cell)
            yield from _links(cell, sources)
            yield from _paragraphs(cell)
        else:
            yield from code_findings(cell, master, project, _prose)
    yield from include_findings(master)


def _title(master: Master) -> Iterator[Raw]:
    """A lesson may repeat its title as a heading, but not contradict it."""
    first = master.cells[0] if master.cells else None
    if master.exercise or first is None or not first.source.startswith("# "):
        return
    heading = first.source.partition("\n")[0].removeprefix("# ").strip()
    if heading != str(master.meta["title"]).strip():
        yield first.line, "the first heading differs from the title in front.", True


def _prose(text: str, line: int) -> Iterator[Raw]:
    """Numbers without a source and ornament, in text that a reader sees."""
    for offset, number in typed_numbers(text):
        how = "say it from a cell, cite it on this line, or put it in code or maths."
        yield line + offset, f"{number!r} has no source; {how}", True
    shown = mask(text)
    for match in _ORNAMENT.finditer(shown):
        sentence = f"remove the ornament U+{ord(match[0]):04X}."
        yield line + shown.count("\n", 0, match.start()), sentence, True
    for match in _EXCLAMATION.finditer(shown):
        where = line + shown.count("\n", 0, match.start())
        yield where, "end the sentence with a period, not an exclamation mark.", True


def _plain_markdown(cell: Cell) -> Iterator[Raw]:
    """Only what Jupyter, Colab and GitHub render as well."""
    prose = mask(cell.source)
    how = "write plain Markdown, such as `> **Note.** ...`."
    for match in _DIRECTIVE.finditer(cell.source):
        line = cell.line + cell.source.count("\n", 0, match.start())
        yield line, f"the directive {{{match[1]}}} shows only on pages; {how}", True
    for match in _ROLE.finditer(cell.source):
        if prose[match.start()] == "{":
            line = cell.line + cell.source.count("\n", 0, match.start())
            yield line, f"the role {{{match[1]}}} shows only on pages; {how}", True
    if "{glue" in prose:
        yield cell.line, "glue is not used here; show the number with `say`.", True


def _links(cell: Cell, sources: Sources) -> Iterator[Raw]:
    """Unknown citations and glossary terms."""
    prose = mask(cell.source, links=False)
    for pattern in (CITATION, GLOSSARY):
        for match in pattern.finditer(cell.source):
            if prose[match.start()] != "[":
                continue
            try:
                sources.resolve(match[0])
            except AuthoringError as error:
                yield cell.line + prose.count("\n", 0, match.start()), str(error), True


def _paragraphs(cell: Cell) -> Iterator[Raw]:
    """Long paragraphs; lists, tables and code are no paragraphs."""
    start, length = cell.line, 0
    for number, line in enumerate([*mask(cell.source).splitlines(), ""]):
        if line.strip() and not re.match(r"\s*([-*+|>#]|\d+\.)", line):
            start, length = (start, length + 1) if length else (cell.line + number, 1)
            continue
        if length > PARAGRAPH_LINES:
            how = f"a paragraph has {length} lines; {PARAGRAPH_LINES} read better."
            yield start, how, False
        length = 0
