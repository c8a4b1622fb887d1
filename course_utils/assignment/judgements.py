"""Points that a person gives to answers in words, by the levels of a rubric.

    graded/manual.json      sha256 of the file -> heading -> {level, comment}

The key is the file's content, so a judgement stays with the answer it was given to.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

FILE = "manual.json"
ROW = re.compile(r"^\|\s*(\d)\s*\|\s*(.+?)\s*\|\s*$", re.MULTILINE)
LONGEST_COMMENT = 4000


@dataclass(frozen=True)
class Judgement:
    """A level, and a comment that may be empty."""

    level: int
    comment: str = ""


def levels(rubric: str) -> dict[int, str]:
    """Return level -> what an answer of it shows."""
    return {int(level): text for level, text in ROW.findall(rubric)}


def checked(judgement: Judgement, rubric: str) -> Judgement:
    """Return a judgement that fits its rubric.

    Raises: ValueError that says what does not.
    """
    known = levels(rubric)
    if judgement.level not in known:
        raise ValueError(f"the level must be one of {', '.join(map(str, known))}.")
    if len(judgement.comment) > LONGEST_COMMENT:
        raise ValueError(f"a comment has at most {LONGEST_COMMENT} signs.")
    return judgement


def share(judgement: Judgement, rubric: str) -> float:
    """Return the share of a question's points that a level is worth."""
    return judgement.level / max(levels(rubric))


class Judgements:
    """The judgements of a graded folder; each is on disk as soon as it is given."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._all = self._read()

    def _read(self) -> dict[str, dict[str, dict]]:
        """Return what is on disk. Raises: ValueError if it is anything else."""
        if not self.path.exists():
            return {}
        try:
            found = json.loads(self.path.read_text("utf-8"))
            for one in (j for of_file in found.values() for j in of_file.values()):
                Judgement(int(one["level"]), str(one["comment"]))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"{self.path} cannot be read ({error}).") from None
        return found

    def get(self, sha256: str, heading: str) -> Judgement | None:
        """Return a judgement; None if there is none yet."""
        found = self._all.get(sha256, {}).get(heading)
        return Judgement(int(found["level"]), str(found["comment"])) if found else None

    def put(self, sha256: str, heading: str, judgement: Judgement) -> None:
        """Keep a judgement, beside what another page may have kept meanwhile."""
        self._all = self._read()
        kept = {"level": judgement.level, "comment": judgement.comment}
        self._all.setdefault(sha256, {})[heading] = kept
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self._all, indent=1) + "\n", encoding="utf-8")
        new.replace(self.path)
