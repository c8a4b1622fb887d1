"""Read a master: a Markdown file with code cells, in the MyST notebook form.

A master opens with a block of front matter between `---` lines. Code cells are
fences that open with three backticks and `{code-cell}`; their first lines may be
options such as `:tags: [shared]`. A line `+++` ends a Markdown cell, and
`+++ {"tags": ["answer"]}` gives tags to the next one.

The cells are the same that jupytext reads (a test holds the two together). This
reader adds the line of each cell, so that a message can name it, refuses what
jupytext lets pass in silence, and starts in a tenth of the time.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from markdown_it import MarkdownIt
from mdit_py_plugins.front_matter import front_matter_plugin
from mdit_py_plugins.myst_blocks import myst_block_plugin

from course_utils.authoring.errors import fault

FRONT_MATTER = {"title", "minutes", "part"}
PARTS = ("beginner", "intermediate", "advanced")
# "varies" says that another processor may give another output; it is never compared.
DISPLAY_TAGS = {
    "varies",
    *("remove-cell", "remove-input", "remove-output", "hide-input", "hide-output"),
    *("raises-exception", "nbval-check-output", "nbval-ignore-output"),
}
LESSON_TAGS = {"shared", *DISPLAY_TAGS}
FIGURE = re.compile(r"figure-[a-z0-9-]+")  # names a figure that a page shows again
EXERCISE_CODE = {
    "shared",
    "reference",
    "check",
    "further",
    "wrong",
    "right",
    "equivalent",
}
EXERCISE_TEXT = {"answer", "rubric"}
INCLUDE = re.compile(r"#\| include: (course_utils(?:\.\w+)+)")


@dataclass(frozen=True)
class Cell:
    """One cell of a master.

    Attributes:
        kind: "markdown" or "code".
        source: Its text, without options.
        tags: Its tags, in order.
        line: Line of the file on which `source` begins, from 1.
    """

    kind: str
    source: str
    tags: tuple[str, ...]
    line: int

    @property
    def include(self) -> str | None:
        """The dotted name that this cell shows, if it is an include."""
        match = INCLUDE.fullmatch(self.source.strip()) if self.kind == "code" else None
        return match[1] if match else None


@dataclass(frozen=True)
class Master:
    """A lesson or exercise master.

    Attributes:
        path: The file.
        exercise: True for an exercise master.
        meta: Its front matter.
        cells: Its cells, in order.
    """

    path: Path
    exercise: bool
    meta: dict[str, str | int]
    cells: tuple[Cell, ...]


def is_display(tag: str) -> bool:
    """Return True for a tag that a notebook keeps."""
    return tag in DISPLAY_TAGS or bool(FIGURE.fullmatch(tag))


def read_master(path: Path) -> Master:
    """Read and check one master.

    Raises: AuthoringError that names the file and the line.
    """
    text = path.read_text("utf-8")
    exercise = path.parent.name == "exercises"
    tokens = _parser().parse(text + "\n")
    meta = _front_matter(tokens, path)
    cells = tuple(_cells(tokens, text.splitlines(), path))
    for cell in cells:
        _check_cell(cell, path, exercise)
    return Master(path, exercise, meta, cells)


def _parser() -> MarkdownIt:
    """Return a parser of blocks; what stands inside a paragraph is left alone."""
    parser = MarkdownIt("commonmark").enable("table")
    return (
        parser.use(front_matter_plugin).use(myst_block_plugin).disable("inline", True)
    )


def _front_matter(tokens: list, path: Path) -> dict[str, str | int]:
    """Return the checked front matter."""
    if not tokens or tokens[0].type != "front_matter":
        raise fault(path, 1, "the file must open with front matter between --- lines.")
    try:
        meta = yaml.safe_load(tokens[0].content)
    except yaml.YAMLError as error:
        raise fault(
            path, 1, "the front matter is not YAML; quote its title."
        ) from error
    if not isinstance(meta, dict) or not str(meta.get("title") or "").strip():
        raise fault(path, 1, "the front matter has no title; add `title: ...`.")
    if not isinstance(meta.get("minutes"), int):
        raise fault(path, 1, "the front matter needs whole `minutes: ...`.")
    if unknown := set(meta) - FRONT_MATTER:
        raise fault(path, 1, f"front matter {sorted(unknown)} is unknown; remove it.")
    if meta.get("part", PARTS[0]) not in PARTS:
        raise fault(path, 1, f"part must be one of {', '.join(PARTS)}.")
    return meta


def _cells(tokens: list, lines: list[str], path: Path) -> list[Cell]:
    """Return the cells in the order of the file."""
    cells: list[Cell] = []
    start, tags, depth = tokens[0].map[1], (), 0

    def flush(stop: int) -> None:
        first = start
        while first < stop and not lines[first].strip():
            first += 1
        source = "\n".join(lines[first:stop]).rstrip()
        if source:
            cells.append(Cell("markdown", source, tags, first + 1))

    for token in tokens[1:]:
        depth += token.nesting
        if depth:
            continue  # a fence inside a list or a quotation belongs to its Markdown
        if token.type == "fence" and token.info.startswith("{code-cell}"):
            flush(token.map[0])
            cells.append(_code_cell(token, path))
            start, tags = token.map[1], ()
        elif token.type == "myst_block_break":
            flush(token.map[0])
            start, tags = token.map[1], _break_tags(token, path)
    flush(len(lines))
    return cells


def _code_cell(token: object, path: Path) -> Cell:
    """Return a code cell, its options read."""
    body = token.content.splitlines()
    line = token.map[0] + 2
    tags: tuple[str, ...] = ()
    while body and body[0].lstrip().startswith(":"):
        tags += _option(body.pop(0), path, line)
        line += 1
    if body and not body[0].strip():
        body.pop(0)
        line += 1
    return Cell("code", "\n".join(body), tags, line)


def _option(text: str, path: Path, line: int) -> tuple[str, ...]:
    """Return the tags of an option line."""
    match = re.fullmatch(r":tags: \[([\w, -]*)\]\s*", text.lstrip())
    if not match:
        raise fault(path, line, f"option {text!r} is unknown; write `:tags: [name]`.")
    return tuple(tag.strip() for tag in match[1].split(",") if tag.strip())


def _break_tags(token: object, path: Path) -> tuple[str, ...]:
    """Return the tags that a `+++` line gives to the next Markdown cell."""
    if not token.content:
        return ()
    try:
        data = json.loads(token.content)
    except json.JSONDecodeError:
        data = None
    if not isinstance(data, dict) or set(data) - {"tags"}:
        wanted = '+++ {"tags": ["answer"]}'
        raise fault(
            path, token.map[0] + 1, f"after +++ only tags may stand: `{wanted}`."
        )
    return tuple(data.get("tags", []))


def _check_cell(cell: Cell, path: Path, exercise: bool) -> None:
    """Refuse tags and `#|` lines that nothing would read."""
    known = LESSON_TAGS if not exercise else EXERCISE_CODE | DISPLAY_TAGS
    if cell.kind == "markdown":
        known = EXERCISE_TEXT if exercise else set()
    for tag in cell.tags:
        if tag not in known and not (cell.kind == "code" and FIGURE.fullmatch(tag)):
            names = ", ".join(sorted(known)) or "none"
            raise fault(
                path,
                cell.line,
                f"tag {tag!r} is unknown; a {cell.kind} cell may have: {names}.",
            )
    if cell.kind == "markdown":
        return
    for offset, line in enumerate(cell.source.splitlines()):
        if line.startswith("#| tags"):
            raise fault(
                path,
                cell.line + offset,
                "`#| tags` is ignored here; write `:tags: [...]`.",
            )
        if line.startswith("#|") and cell.include is None:
            raise fault(
                path,
                cell.line + offset,
                "a `#|` line must be `#| include: course_utils.module.name`, alone in "
                "its cell.",
            )
