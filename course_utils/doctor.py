"""The report that a bug report should carry: `python -m course_utils doctor`.

It examines the machine, changes nothing, contacts no network, and names no user, host
or folder, so it can be pasted into a public issue. Each examination stands alone: what
cannot be found out is said in its line, and the others go on.

This module is a tool above the layers of the package and may import any of them.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import course_utils
from course_utils import needs, paths
from course_utils.measure import provenance
from course_utils.needs import Finding

GB = 1e9


@dataclass(frozen=True)
class Report:
    """Label -> finding, in the order in which they are printed."""

    findings: dict[str, Finding]

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems, one sentence each."""
        return tuple(f.problem for f in self.findings.values() if f.problem)


def _book() -> Finding:
    """Find the version of this code."""
    commit = provenance.commit()
    text = f"course_utils {course_utils.__version__}, commit {commit}"
    return Finding(text)


def _network() -> Finding:
    """Say that nothing was asked of the network."""
    return Finding("not contacted")


def _cache() -> Finding:
    """Find whether the embedded model is ready and whole."""
    embedded = importlib.import_module("course_utils.models.embedded")
    cache = importlib.import_module("course_utils.models.cache")
    folder = embedded.folder()
    if not folder.exists():
        text = "not prepared yet; the first lesson or `python -m course_utils model` "
        return Finding(f"{text}prepares it")
    if not cache.problem(folder):
        size = sum(file.stat().st_size for file in folder.iterdir())
        return Finding(f"{folder.name}, {size / GB:.2f} GB, checked")
    problem = (
        "The cached model is damaged; run `python -m course_utils model`, "
        "which makes it again."
    )
    return Finding("damaged", problem)


@contextmanager
def _hub_not_asked() -> Iterator[None]:
    """Keep the choice of a model from trying the hub, and from remembering this."""
    profile = importlib.import_module("course_utils.models.profile")
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    profile.hub_reachable.cache_clear()
    try:
        yield
    finally:
        profile.hub_reachable.cache_clear()
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


def _profile() -> Finding:
    """Find which profile and model a lesson would use here, and why."""
    profile = importlib.import_module("course_utils.models.profile")
    depends = "HF_HUB_OFFLINE" not in os.environ
    with _hub_not_asked():
        try:
            chosen = profile.current()
        except ValueError as error:  # a variable that asks for what does not exist
            return Finding("cannot be chosen", str(error))
    model = f"{chosen.model} ({chosen.model_reason})"
    fixed = "COURSE_MODEL" in os.environ or chosen.name == "ci"
    if depends and not fixed:
        model = f"one of the hub where it is reachable (not tried), else {chosen.model}"
    return Finding(
        f"{chosen.name} ({chosen.reason}), on {chosen.device}, rules of {chosen.arch}; "
        f"model: {model}"
    )


EXAMINATIONS: dict[str, Callable[[], Finding]] = {
    "Fewer Bits": _book,
    "System": needs.system,
    "Python": needs.python,
    "Device": needs.device,
    "Memory": needs.memory,
    "Disk": needs.disk,
    "Packages": needs.packages,
    "Compiler": needs.compiler,
    "Chromium": needs.chromium,
    "Bubblewrap": needs.bubblewrap,
    "Network": _network,
    "Model cache": _cache,
    "Profile": _profile,
}


def _anonymous(text: str) -> str:
    """Take the folders of this machine out of a line."""
    for folder in (paths.cache_dir(), paths.ROOT, Path.home()):
        text = text.replace(str(folder), "...")
    return text


def examine() -> Report:
    """Examine everything; an examination that fails becomes a line that says so."""
    findings = {}
    for label, examination in EXAMINATIONS.items():
        try:
            found = examination()
        except Exception as error:  # a report must not break on what it reports
            reason = (str(error).splitlines() or ["no reason given"])[0]
            found = Finding(f"not found out ({type(error).__name__}: {reason[:160]})")
        findings[label] = Finding(_anonymous(found.text), _anonymous(found.problem))
    return Report(findings)


def render(report: Report) -> str:
    """Return the report as plain text."""
    width = max(map(len, report.findings))
    lines = [f"{label:<{width}}  {f.text}" for label, f in report.findings.items()]
    if not report.problems:
        return "\n".join([*lines, "", "No problems found."])
    return "\n".join(
        [*lines, "", "Problems:", *(f"- {problem}" for problem in report.problems)]
    )
