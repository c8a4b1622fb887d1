"""Derive notebooks from masters.

A lesson master gives one notebook. An exercise master gives two: one with stubs and
without answers, one with both. The same master always gives the same bytes.

Outputs come from the notebook that was there before. A cell keeps its outputs only
if it and every code cell above it are unchanged, because an output below a changed
cell may be the output of the old one.
"""

import ast
from collections.abc import Iterator

from course_utils.authoring import colab, notebook
from course_utils.authoring.cite import Sources
from course_utils.authoring.errors import AuthoringError, fault
from course_utils.authoring.include import included_source
from course_utils.authoring.masters import Cell, Master, is_display, read_master
from course_utils.authoring.normalise import normalise
from course_utils.authoring.notebook import Node
from course_utils.authoring.project import Project
from course_utils.grading.questions import HEADING, stub

SAYING = {"say", "claim"}
HIDDEN = "remove-input"
FOLDED = "hide-input"
COMPARED = "nbval-check-output"
UNCHECKED = {"varies", "nbval-ignore-output"}
# Which cells of an exercise master go where; the other tags go to neither notebook.
TO_BOTH = {"", "shared", "reference", "check"}
TO_SOLUTIONS = {"answer", "rubric"}
PLACEHOLDER = "*Your answer here.*"


def derive(project: Project, kind: str, slug: str, old: Node | None) -> Node:
    """Return one derived notebook.

    Args:
        project: The checkout.
        kind: "notebooks", "exercises" or "solutions".
        slug: The chapter.
        old: The notebook whose outputs may survive.

    Raises: AuthoringError that names file and line.
    """
    path = project.master(kind, slug)
    master = read_master(path)
    sources = Sources.of(project)
    cells = _lesson_cells(master) if kind == "notebooks" else _task_cells(master, kind)
    title = str(master.meta["title"])
    nb = notebook.new_notebook(_titled(title, kind))
    have: set[str] = set()
    for cell in cells:
        try:
            nb["cells"].append(_node(cell, project, sources, frozenset(have), kind))
        except (AuthoringError, SyntaxError) as error:
            raise fault(project.shown(path), cell.line, _sentence(error)) from error
        have |= {cell.include} if cell.include else set()
    _insert_colab(nb["cells"], project)
    notebook.name_cells(nb["cells"])
    if old is not None and kind != "exercises":
        keep_outputs(nb, old)
    return normalise(nb, project.root)


def derived_text(project: Project, kind: str, slug: str) -> str:
    """Return one derived notebook as its file should read."""
    old = notebook.read(project.notebook(kind, slug))
    return notebook.text_of(derive(project, kind, slug, old))


def keep_outputs(nb: Node, old: Node) -> None:
    """Copy outputs from `old` down to the first code cell that differs."""
    cells = [[c for c in n["cells"] if c["cell_type"] == "code"] for n in (nb, old)]
    for new, before in zip(*cells, strict=False):
        # The cell for Colab does nothing here, so its text changes no output.
        if new["source"] != before["source"] and "colab" not in notebook.tags_of(new):
            break
        new["outputs"] = before.get("outputs", [])
        new["execution_count"] = before.get("execution_count")
    for key in ("fewer_bits", "widgets"):
        if key in old["metadata"]:
            nb["metadata"][key] = old["metadata"][key]


def hiding(source: str) -> str:
    """Return the tag that hides a cell which is there for its sentences, or "".

    A cell that only says sentences is left out of the page: they stand in its output.
    One that gathers their numbers first, by assignments, can be unfolded there.
    """
    body = ast.parse(source).body
    if not body or not _says(body[-1]):
        return ""
    if all(map(_says, body)):
        return HIDDEN
    gathers = all(_says(node) or isinstance(node, ast.Assign) for node in body)
    return FOLDED if gathers else ""


def says(source: str) -> bool:
    """Return True if a cell says a sentence, whatever else it does."""
    return any(map(_says, ast.parse(source).body))


def _says(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id in SAYING
    )


def _lesson_cells(master: Master) -> Iterator[Cell]:
    """Yield the cells of a lesson, its title first."""
    first = master.cells[0] if master.cells else None
    if first is None or not first.source.startswith("# "):
        yield Cell("markdown", f"# {master.meta['title']}", (), 1)
    yield from master.cells


def _task_cells(master: Master, kind: str) -> Iterator[Cell]:
    """Yield the cells of an exercise or solution notebook."""
    explain = False
    for cell in master.cells:
        role = next((tag for tag in cell.tags if not is_display(tag)), "")
        if match := HEADING.match(cell.source.partition("\n")[0]):
            explain = match[2] == "Explain"
        if role in TO_BOTH or (role in TO_SOLUTIONS and kind == "solutions"):
            yield cell
        elif role == "answer" and explain:
            yield Cell("markdown", PLACEHOLDER, (), cell.line)


def _node(
    cell: Cell, project: Project, sources: Sources, have: frozenset[str], kind: str
) -> Node:
    """Return the notebook cell that a master cell becomes."""
    tags = tuple(tag for tag in cell.tags if is_display(tag))
    if cell.kind == "markdown":
        text = cell.source
        if "rubric" in cell.tags:
            text = f"**How an answer is judged.**\n\n{text}"
        if kind == "solutions":
            text = text.replace("# Exercises:", "# Solutions:", 1)
        return notebook.new_cell("markdown", sources.resolve(text))
    if cell.include:
        return notebook.new_cell(
            "code", included_source(cell.include, project.code, have), tags
        )
    source = cell.source.rstrip()
    if kind == "exercises" and "reference" in cell.tags:
        return notebook.new_cell("code", stub(source), tags)
    if kind == "exercises" and "check" in cell.tags:
        # The stub has not been filled in, so its checks fail, and are meant to.
        return notebook.new_cell("code", source, (*tags, "raises-exception"))
    node = notebook.new_cell("code", source, (*tags, *_number_tags(source, tags)))
    if hiding(source):
        node["metadata"]["jupyter"] = {"source_hidden": True}
    return node


def _number_tags(source: str, tags: tuple[str, ...]) -> list[str]:
    """Return the tags that a cell gets because it says numbers."""
    extra = [hiding(source)] if hiding(source) else []
    if says(source) and not UNCHECKED.intersection(tags):
        extra.append(COMPARED)
    return [tag for tag in extra if tag not in tags]


def _insert_colab(cells: list[Node], project: Project) -> None:
    """Put Colab's cell before the first code cell, if there is one."""
    for i, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            source = colab.first_cell(project)
            cells.insert(i, notebook.new_cell("code", source, colab.TAGS))
            return


def _titled(title: str, kind: str) -> str:
    """Return the title of a notebook of this kind."""
    return (
        title.replace("Exercises:", "Solutions:", 1) if kind == "solutions" else title
    )


def _sentence(error: Exception) -> str:
    """Return what an error says, in one sentence."""
    if isinstance(error, SyntaxError):
        return f"the code does not parse ({error.msg})."
    return str(error)
