"""Directives that show measured results, so that no table is typed.

    ```{record-table} embedded-model
    :columns: quantity, value, unit, n, spread
    ```

(with `:ending: ratio, kl` only the quantities whose names end so)
shows `book/measured/embedded-model.json`: the values of a record, or the rows of a
file that is a list of rows. `{record-note}` gives the sentence that says what it was
measured on. `{status-table}` shows `book/measured/status.json`, which every execution
of a notebook writes, `{chapter-table}` its sums, chapter by chapter, and
`{status-note}` the versions it names.
"""

import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

Row = dict[str, object]

NOT_YET = "Not yet measured."
NOTHING = "-"
CHAPTER_COLUMNS = [
    *("chapter", "notebooks, s", "solutions, s"),
    *("together, s", "peak memory (MiB)"),
]


def text_of(value: object) -> str:
    """Return a value as a reader wants it: four significant digits, no nulls."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return f"{int(value):,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return f"{text_of(value['low'])} to {text_of(value['high'])} ({value['kind']})"
    return str(value)


def rows_of(data: list[Row] | dict) -> list[Row]:
    """Return the rows of a measured file: its values, or the list that it is."""
    if isinstance(data, list):
        return data
    return [
        {"quantity": key.replace("_", " "), **value}
        for key, value in data["values"].items()
    ]


def status_rows(status: dict) -> list[Row]:
    """Return one row per notebook."""
    return [
        {
            "notebook": name,
            "last green run": entry["date"],
            "seconds": entry["seconds"],
            "peak memory (MiB)": entry["peak_mib"],
            "profile": entry["profile"],
            "Python": entry["python"],
        }
        for name, entry in sorted(status["executions"].items())
    ]


def chapter_rows(status: dict) -> list[Row]:
    """Return one row per chapter: seconds are added up, of memory the peak counts."""
    chapters: dict[str, dict[str, dict]] = {}
    for name, entry in sorted(status["executions"].items()):
        kind, _, slug = name.partition("/")
        chapters.setdefault(slug, {})[kind] = entry
    return [
        {
            "chapter": slug,
            **{f"{kind}, s": found[kind]["seconds"] for kind in found},
            "together, s": round(sum(e["seconds"] for e in found.values()), 1),
            "peak memory (MiB)": max(e["peak_mib"] for e in found.values()),
        }
        for slug, found in sorted(chapters.items())
    ]


def version_sentences(status: dict) -> list[str]:
    """Return one sentence per set of versions that executions used."""
    users: dict[str, list[str]] = {}
    for name, entry in sorted(status["executions"].items()):
        versions = ", ".join(f"{k} {v}" for k, v in sorted(entry["versions"].items()))
        users.setdefault(versions, []).append(name)
    if len(users) == 1:
        return [f"All with {versions}." for versions in users]
    return [f"{', '.join(names)}: {versions}." for versions, names in users.items()]


def table_of(rows: list[Row], columns: list[str]) -> nodes.table:
    """Return a table; columns of numbers are set to the right."""
    numeric = {c for c in columns if all(_is_number(row.get(c)) for row in rows)}
    table = nodes.table(classes=["measured", "colwidths-auto"])
    group = nodes.tgroup(cols=len(columns))
    group += [nodes.colspec(colwidth=1) for _ in columns]
    head, body = nodes.thead(), nodes.tbody()
    head += _row({c: c for c in columns}, columns, numeric)
    body += [_row(row, columns, numeric) for row in rows]
    group += [head, body]
    table += group
    return table


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) or value is None


def _row(values: Row, columns: list[str], numeric: set[str]) -> nodes.row:
    row = nodes.row()
    for column in columns:
        entry = nodes.entry(classes=["number"] if column in numeric else [])
        value = values.get(column)
        entry += value if isinstance(value, nodes.Node) else _cell(text_of(value))
        row += entry
    return row


def _cell(text: str) -> nodes.paragraph:
    return nodes.paragraph("", text)


class Measured(SphinxDirective):
    """What the directives share: reading a file of `book/measured/`."""

    def read(self, name: str) -> list[Row] | dict | None:
        """Return the content of a measured file, or None if there is none yet."""
        path = Path(self.env.srcdir) / "book" / "measured" / f"{name}.json"
        self.env.note_dependency(str(path))
        if not path.is_file():
            return None
        return json.loads(path.read_text(encoding="utf-8"))

    def sentence(self, text: str) -> list[nodes.Node]:
        """Return one paragraph."""
        return [_cell(text)]


class RecordTable(Measured):
    """Show the values of a record, or rows."""

    required_arguments = 1
    option_spec = {  # noqa: RUF012
        "columns": directives.unchanged,
        "ending": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Return the table, or a sentence if nothing was measured."""
        if (data := self.read(self.arguments[0])) is None:
            return self.sentence(NOT_YET)
        rows = rows_of(data)
        if ends := self._list("ending"):
            rows = [row for row in rows if str(row["quantity"]).endswith(tuple(ends))]
        return [table_of(rows, self._list("columns") or list(rows[0]))]

    def _list(self, option: str) -> list[str]:
        """Return the entries of an option, without spaces."""
        return [x.strip() for x in self.options.get(option, "").split(",") if x.strip()]


class RecordNote(Measured):
    """Say what a record was measured on and with."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the sentence; nothing for no record, whose table says so."""
        record = self.read(self.arguments[0])
        if not isinstance(record, dict):
            return []
        versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
        device = record["device"]
        return self.sentence(
            f"Measured on {record['date']}: {device['name']} ({device['threads']} "
            f"threads, {device['os']}), {versions}. Again with: {record['command']}"
        )


class StatusTable(Measured):
    """Show each notebook's last green run."""

    def run(self) -> list[nodes.Node]:
        """Return the table, or a sentence if nothing was executed."""
        status = self.read("status")
        if not isinstance(status, dict) or not status["executions"]:
            return self.sentence("No execution is on record yet.")
        rows = status_rows(status)
        return [table_of(rows, list(rows[0]))]


class ChapterTable(Measured):
    """Show what the notebooks of each chapter take together."""

    def run(self) -> list[nodes.Node]:
        """Return the table, or a sentence if nothing was executed."""
        status = self.read("status")
        if not isinstance(status, dict) or not status["executions"]:
            return self.sentence("No execution is on record yet.")
        return [table_of(chapter_rows(status), CHAPTER_COLUMNS)]


class StatusNote(Measured):
    """Say which versions the executions used."""

    def run(self) -> list[nodes.Node]:
        """Return one paragraph per set of versions."""
        status = self.read("status")
        if not isinstance(status, dict):
            return []
        return [_cell(sentence) for sentence in version_sentences(status)]


def setup(app: Sphinx) -> None:
    """Register the directives."""
    app.add_directive("record-table", RecordTable)
    app.add_directive("record-note", RecordNote)
    app.add_directive("status-table", StatusTable)
    app.add_directive("chapter-table", ChapterTable)
    app.add_directive("status-note", StatusNote)
