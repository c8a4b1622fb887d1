"""How much of an exam the book covers: objective, section, items.

`book/exam/blueprint.yaml` names the domains of the exam with their weights, the
objectives of each, and for each objective the sections that teach it. An objective
counts if one of its sections exists and the bank asks about one of them; without a
section it counts 0. The objectives of a domain count alike, so

    share of a domain = weight * objectives that count / objectives

Sections and ids of items are read as they are written. No key is computed, and torch is
not imported, since the page that shows the table needs neither.
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from course_utils.exam.sections import missing
from course_utils.paths import ROOT, book_dir

BLUEPRINT = ROOT / "book" / "exam" / "blueprint.yaml"
HEAD = {"exam", "source", "date", "domains"}


class BlueprintError(ValueError):
    """A blueprint that cannot be used; the message says where."""


@dataclass(frozen=True)
class Objective:
    """One objective of a domain.

    Attributes:
        sections: Sections that teach it and exist, as "slug#anchor".
        items: Ids of the items about these sections, in order.
        planned: Slug of the chapter that will teach it, or "".
    """

    text: str
    sections: tuple[str, ...]
    items: tuple[str, ...]
    planned: str

    @property
    def counts(self) -> bool:
        """Return whether it is taught and asked about."""
        return bool(self.sections and self.items)


@dataclass(frozen=True)
class Domain:
    """One domain of the exam; `weight` in percent."""

    name: str
    weight: float
    objectives: tuple[Objective, ...]

    @property
    def share(self) -> float:
        """Return the percent of the exam that the book covers here."""
        return (
            self.weight * sum(o.counts for o in self.objectives) / len(self.objectives)
        )


@dataclass(frozen=True)
class Coverage:
    """An exam, where its weights are from, and what the book covers."""

    exam: str
    source: str
    date: str
    domains: tuple[Domain, ...]

    @property
    def share(self) -> float:
        """Return the percent of the whole exam that the book covers."""
        return sum(domain.share for domain in self.domains)


def coverage(
    path: Path = BLUEPRINT, items: dict[str, list[str]] | None = None
) -> Coverage:
    """Return the coverage that a blueprint gives for the sections that exist.

    `items` are ids by section; by default those of the bank.

    Raises: BlueprintError that names the domain or objective; OSError without a file.
    """
    raw = yaml.safe_load(path.read_text("utf-8"))
    if not isinstance(raw, dict) or set(raw) != HEAD:
        raise BlueprintError(f"{path.name} needs {', '.join(sorted(HEAD))}.")
    by_section = items_by_section() if items is None else items
    domains = tuple(_domain(domain, by_section) for domain in raw["domains"])
    if (total := sum(domain.weight for domain in domains)) != 100:
        raise BlueprintError(f"The weights of the domains add up to {total}, not 100.")
    return Coverage(raw["exam"], raw["source"], str(raw["date"]), domains)


def _domain(raw: dict, items: dict[str, list[str]]) -> Domain:
    if not raw.get("objectives") or not raw.get("weight", 0) > 0:
        raise BlueprintError(f"{raw.get('name')}: give a weight and objectives.")
    found = tuple(_objective(o, raw["name"], items) for o in raw["objectives"])
    return Domain(raw["name"], raw["weight"], found)


def _objective(raw: dict, domain: str, items: dict[str, list[str]]) -> Objective:
    if set(raw) - {"text", "sections", "planned"} or not raw.get("text"):
        raise BlueprintError(
            f"{domain}: an objective has text, sections, planned; not {sorted(raw)}."
        )
    sections = raw.get("sections", [])
    for section in sections:
        slug, _, anchor = section.partition("#")
        if not anchor:
            raise BlueprintError(f"{domain}: write {slug} as slug#anchor.")
    found = [section for section in sections if not missing(section)]
    about = [name for section in found for name in items.get(section, [])]
    return Objective(
        raw["text"], tuple(found), tuple(about), str(raw.get("planned", ""))
    )


def items_by_section() -> dict[str, list[str]]:
    """Return the ids of the bank's items by the section they are about."""
    found: dict[str, list[str]] = {}
    for path in sorted((book_dir() / "items").glob("*.yaml")):
        for raw in yaml.safe_load(path.read_text("utf-8")) or []:
            slug = raw.get("chapter", path.stem)
            section = raw["section"]
            whole = section if "#" in section else f"{slug}#{section}"
            found.setdefault(whole, []).append(raw["id"])
    return found
