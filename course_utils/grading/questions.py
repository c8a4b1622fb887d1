"""Read an exercise master: one MyST file, one `## ` section per question.

Every code cell of a question carries one tag that says what it is for:

    reference  the solution; its signature and docstring become the stub
    check      visible checks, ending in `run_checks(function, check_a, ...)`
    further    more checks, in neither notebook
    wrong      a named wrong answer; its docstring ends in `Hint: ...`
    right      another correct answer
    equivalent a dict of mutated lines that no check can tell from the reference

Markdown cells tagged `answer` and `rubric` go to instructors and solutions.
"""

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

from course_utils.paths import book_dir

KINDS = ("Recall", "Implement", "Explain", "Break")
HEADING = re.compile(r"^## (\d+)\. (\w+): (.+)$")
CODE_TAGS = ("reference", "check", "further", "wrong", "right", "equivalent")
TEXT_TAGS = ("answer", "rubric")


class MasterError(ValueError):
    """An exercise master that cannot be read; the message names file and question."""


@dataclass(frozen=True)
class Attempt:
    """A written-out answer, wrong or right.

    Attributes:
        name: First line of its docstring.
        hint: Text after `Hint:`; empty for a right answer.
        source: The code.
    """

    name: str
    hint: str
    source: str


@dataclass(frozen=True)
class Question:
    """One question of an exercise master.

    Attributes:
        number: 1, 2, ...
        kind: "recall", "implement", "explain" or "break".
        statement: Markdown without the heading.
        function: Name of the function the reader writes; "" if there is none.
        checks: Source of the visible checks.
        equivalent: Mutated line to the reason why no check can tell it apart.
    """

    number: int
    kind: str
    title: str
    statement: str
    reference: str = ""
    function: str = ""
    checks: str = ""
    further: str = ""
    wrong: tuple[Attempt, ...] = ()
    right: tuple[Attempt, ...] = ()
    equivalent: dict[str, str] = field(default_factory=dict)
    answer: str = ""
    rubric: str = ""

    @property
    def heading(self) -> str:
        """The heading as it stands in the master, without the hashes."""
        return f"{self.number}. {self.kind.capitalize()}: {self.title}"

    @property
    def stub(self) -> str:
        """The reference with its body taken out, for the reader to fill."""
        return stub(self.reference)


@dataclass(frozen=True)
class Master:
    """An exercise master: its front matter, opening cells and questions."""

    slug: str
    title: str
    minutes: int
    intro: str
    shared: str
    questions: tuple[Question, ...]


def masters() -> list[Path]:
    """Return the path of every exercise master, in order."""
    return sorted((book_dir() / "exercises").glob("[0-9][0-9]_*.md"))


def load_master(path: Path) -> Master:
    """Read and check one master.

    Raises: MasterError that names the file and the question.
    """
    # Deriving needs only the heading and the stub, and should start fast.
    import jupytext  # noqa: PLC0415

    notebook = jupytext.reads(Path(path).read_text("utf-8"), fmt="md:myst")
    opening, sections = split(notebook.cells, path.name)
    intro = "\n\n".join(c.source for c in opening if c.cell_type == "markdown")
    shared = "\n\n".join(c.source for c in opening if c.cell_type == "code")
    questions = tuple(_question(cells, path.name) for cells in sections)
    numbers = [q.number for q in questions]
    if numbers != list(range(1, len(numbers) + 1)):
        raise MasterError(
            f"{path.name}: questions are numbered {numbers}; use 1, 2, 3."
        )
    meta = notebook.metadata
    if "title" not in meta or "minutes" not in meta:
        raise MasterError(f"{path.name}: the front matter needs title and minutes.")
    return Master(
        path.stem, meta["title"], int(meta["minutes"]), intro, shared, questions
    )


def stub(source: str) -> str:
    """Keep signature and docstring of the first function, drop its body.

    Raises: MasterError if there is no function or no docstring.
    """
    node = function_in(source)
    if not ast.get_docstring(node):
        raise MasterError(f"{node.name}: a reference needs a docstring.")
    head = source.splitlines()[: node.body[0].end_lineno]
    return "\n".join([*head, "    # Your code here.", "    raise NotImplementedError"])


def function_in(source: str) -> ast.FunctionDef:
    """Return the first function that a cell defines."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            return node
    raise MasterError("the cell defines no function.")


def split(cells: list, name: str) -> tuple[list, list[list]]:
    """Return the opening cells and one list of cells per question."""
    opening, sections = [], []
    for cell in cells:
        if cell.cell_type == "markdown":
            starts = [
                line for line in cell.source.splitlines() if line.startswith("## ")
            ]
            inside = starts and not cell.source.startswith("## ")
            if inside or len(starts) > 1:
                raise MasterError(f"{name}: put +++ on a line before {starts[-1]!r}.")
            if starts:
                sections.append([])
        (sections[-1] if sections else opening).append(cell)
    return opening, sections


def _question(cells: list, name: str) -> Question:
    """Build one question from its cells."""
    first, _, rest = cells[0].source.partition("\n")
    match = HEADING.match(first)
    if not match or match[2] not in KINDS:
        raise MasterError(
            f"{name}: heading {first!r} should read '## N. {'|'.join(KINDS)}: title'."
        )
    parts = {tag: [] for tag in (*CODE_TAGS, *TEXT_TAGS)}
    statement = [rest.strip()]
    where = f"{name}, question {match[1]}"
    for cell in cells[1:]:
        tag = _tag(cell, where)
        (parts[tag] if tag else statement).append(cell.source)
    try:
        return _build(match, "\n\n".join(statement).strip(), parts)
    except (MasterError, SyntaxError) as error:
        raise MasterError(f"{where}: {error}") from error


def _tag(cell: object, where: str) -> str:
    """Return the one tag of a cell; "" for plain Markdown."""
    known = CODE_TAGS if cell.cell_type == "code" else TEXT_TAGS
    tags = cell.metadata.get("tags", [])
    if not tags and cell.cell_type == "markdown":
        return ""
    if len(tags) != 1 or tags[0] not in known:
        raise MasterError(f"{where}: a {cell.cell_type} cell has tags {tags}; {known}.")
    return tags[0]


def _build(match: re.Match, statement: str, parts: dict[str, list[str]]) -> Question:
    """Check the parts of a question and put them together."""
    kind = match[2].lower()
    needed = (
        ["answer", "rubric"] if kind == "explain" else ["answer", "reference", "check"]
    )
    if missing := [tag for tag in needed if not parts[tag]]:
        raise MasterError(f"no {' or '.join(missing)} cell.")
    if len(parts["reference"]) > 1 or len(parts["equivalent"]) > 1:
        raise MasterError("more than one reference or equivalent cell.")
    reference = "".join(parts["reference"])
    return Question(
        number=int(match[1]),
        kind=kind,
        title=match[3].strip(),
        statement=statement,
        reference=reference,
        function=function_in(reference).name if reference else "",
        checks="\n\n".join(parts["check"]),
        further="\n\n".join(parts["further"]),
        wrong=tuple(attempt(source) for source in parts["wrong"]),
        right=tuple(attempt(source) for source in parts["right"]),
        equivalent=ast.literal_eval("".join(parts["equivalent"]) or "{}"),
        answer="\n\n".join(parts["answer"]),
        rubric="\n\n".join(parts["rubric"]),
    )


def attempt(source: str) -> Attempt:
    """Read the name and the hint from the docstring of a written-out answer."""
    text = ast.get_docstring(function_in(source)) or ""
    if not text:
        raise MasterError("a wrong or right answer needs a docstring that names it.")
    name = text.splitlines()[0].strip().rstrip(".")
    _, _, hint = text.partition("Hint:")
    return Attempt(name, " ".join(hint.split()), source)
