"""Write every derived notebook, or say which are not what they should be."""

from course_utils.authoring import hashes, notebook
from course_utils.authoring.derive import derived_text
from course_utils.authoring.project import COMMITTED_PROFILE, EXECUTED, KINDS, Project


def drifted(project: Project, slugs: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the wanted text of each derived file that differs, by its path.

    Args:
        project: The checkout.
        slugs: Chapters to look at; all of them by default.
    """
    wanted = {}
    for kind, slug in project.targets():
        if slugs and slug not in slugs:
            continue
        path = project.notebook(kind, slug)
        text = derived_text(project, kind, slug)
        if not path.exists() or path.read_text("utf-8") != text:
            wanted[project.shown(path)] = text
    return wanted


def orphans(project: Project) -> list[str]:
    """Return the notebooks in the derived folders that no master gives."""
    expected = {project.notebook(kind, slug) for kind, slug in project.targets()}
    there = [path for kind in KINDS for path in (project.root / kind).glob("*.ipynb")]
    return [project.shown(path) for path in sorted(there) if path not in expected]


def sync(project: Project, slugs: tuple[str, ...] = ()) -> list[str]:
    """Write what differs and return its paths."""
    wanted = drifted(project, slugs)
    for name, text in wanted.items():
        notebook.write_atomic(project.root / name, text)
    return list(wanted)


def drift(project: Project) -> list[str]:
    """Return one sentence per derived file that differs from its master."""
    sentences = [
        f"{name} differs from what its master gives; run `make sync`."
        for name in drifted(project)
    ]
    return sentences + [
        f"{name} has no master in book/; delete it or write one."
        for name in orphans(project)
    ]


def stale(project: Project) -> list[str]:
    """Return one sentence per executed notebook whose outputs are not today's."""
    sentences = []
    for kind, slug in project.targets():
        path = project.notebook(kind, slug)
        nb = notebook.read(path) if kind in EXECUTED else None
        if nb is not None and (reason := why_stale(project, nb, COMMITTED_PROFILE)):
            sentences.append(f"{project.shown(path)}: {reason}; run `make execute`.")
    return sentences


def why_stale(project: Project, nb: notebook.Node, profile: str) -> str:
    """Return why a notebook has to be executed again; empty if it has not."""
    if not hashes.stored(nb):
        return "it has not been executed"
    if parts := hashes.changed(project, nb):
        return f"{' and '.join(parts)} changed since it was executed"
    if (ran := nb["metadata"]["fewer_bits"].get("profile")) != profile:
        return f"it was executed in profile {ran}, not {profile}"
    if any(cell["execution_count"] is None for cell in notebook.code_cells(nb)):
        return "some of its cells were not run"
    return ""
