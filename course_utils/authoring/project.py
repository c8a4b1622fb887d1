"""Where the masters and the derived files of one checkout are.

Every step of the pipeline takes a `Project`, so a test can run it on a small one.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

from course_utils import paths
from course_utils.authoring.errors import AuthoringError

KINDS = ("notebooks", "exercises", "solutions")
EXECUTED = ("notebooks", "solutions")
COMMITTED_PROFILE = "ci"  # in which the committed notebooks are executed


@dataclass(frozen=True)
class Project:
    """One checkout.

    Attributes:
        root: Its top folder.
        code: The folder that holds `course_utils`; the root in a real checkout.
    """

    root: Path = paths.ROOT
    code: Path = field(default=paths.ROOT)

    @property
    def book(self) -> Path:
        """The folder of what people write."""
        return self.root / "book"

    @property
    def lessons(self) -> list[Path]:
        """Every lesson master, in order."""
        return sorted((self.book / "lessons").glob("[0-9][0-9]_*.md"))

    @property
    def exercises(self) -> list[Path]:
        """Every exercise master, in order."""
        return sorted((self.book / "exercises").glob("[0-9][0-9]_*.md"))

    def master(self, kind: str, slug: str) -> Path:
        """Return the master that a derived notebook comes from."""
        folder = "lessons" if kind == "notebooks" else "exercises"
        return self.book / folder / f"{slug}.md"

    def targets(self) -> list[tuple[str, str]]:
        """Return (kind, slug) of every notebook that the masters give, by chapter."""
        lessons = [("notebooks", path.stem) for path in self.lessons]
        tasks = [
            (k, p.stem) for p in self.exercises for k in ("exercises", "solutions")
        ]
        return sorted(lessons + tasks, key=lambda t: (t[1], KINDS.index(t[0])))

    def notebook(self, kind: str, slug: str) -> Path:
        """Return the path of a derived notebook."""
        return self.root / kind / f"{slug}.ipynb"

    def shown(self, path: Path) -> str:
        """Return a path as messages show it, relative to the root."""
        return str(
            path.relative_to(self.root) if path.is_relative_to(self.root) else path
        )

    @cached_property
    def repository(self) -> tuple[str, str]:
        """URL and branch of the public repository, from `_config.yml`."""
        path = self.root / "_config.yml"
        if not path.exists():
            raise AuthoringError("_config.yml is missing; Colab's first cell needs it.")
        place = (yaml.safe_load(path.read_text("utf-8")) or {}).get("repository") or {}
        if not place.get("url"):
            raise AuthoringError("_config.yml has no repository.url; write it there.")
        return place["url"].rstrip("/"), place.get("branch", "main")
