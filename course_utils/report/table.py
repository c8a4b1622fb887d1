"""Small tables that a screen reader can read: caption, scoped headers, formats."""

import html
from collections.abc import Mapping, Sequence

from course_utils.report.publish import publish
from course_utils.report.say import fill
from course_utils.report.units import typed_number

MAX_ROWS = 400


def table(
    rows: Sequence[Sequence | Mapping], columns: Mapping[str, str], caption: str
) -> None:
    """Show `rows` as a table. The first column names the row.

    Args:
        rows: One sequence in the order of `columns`, or one mapping by column name,
            per row.
        columns: Header and format of each column, for example
            {"method": "", "perplexity": ".2f"}.
        caption: What the table shows.

    Raises:
        ValueError: If a row does not fit the columns, a float has no format, or the
            caption is empty or holds a typed number with a unit.
    """
    if not caption.strip():
        raise ValueError("The table has no caption; say in one line what it shows.")
    if typed := typed_number(caption):
        raise ValueError(
            f"{typed!r} is typed in the caption {caption!r}; move it to a cell."
        )
    cells = [_formatted(row, columns) for row in rows]
    headers = list(columns)
    numeric = [bool(spec) for spec in columns.values()]
    publish(
        {
            "text/html": _html(cells, headers, numeric, caption),
            "text/plain": _markdown(cells, headers, numeric, caption),
        }
    )


def data_table(data: Mapping[str, Sequence] | Sequence[Mapping]) -> str:
    """Return the data of a figure as an HTML table.

    Floats are shown with four significant digits.

    Raises: ValueError if the columns differ in length or there are too many rows.
    """
    columns = dict(data) if isinstance(data, Mapping) else _columns(data)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"The columns of data must have one length, got {lengths}.")
    if max(lengths.values()) > MAX_ROWS:
        raise ValueError(
            f"The data table has {max(lengths.values())} rows and {MAX_ROWS} are "
            "allowed; pass the points as drawn, binned or thinned."
        )
    cells = [
        [_four_digits(value) for value in row]
        for row in zip(*columns.values(), strict=True)
    ]
    # A column of text stands left, as in `table`; numbers stand right.
    numeric = [not isinstance(values[0], str) for values in columns.values()]
    return _html(cells, list(columns), numeric, "")


def _columns(rows: Sequence[Mapping]) -> dict[str, list]:
    """Return one list per column of a list of rows."""
    if not rows:
        raise ValueError("The data of a figure is empty; pass what was plotted.")
    names = list(rows[0])
    for number, row in enumerate(rows):
        if list(row) != names:
            raise ValueError(f"Row {number} of data has {list(row)}, not {names}.")
    return {name: [row[name] for row in rows] for name in names}


def _formatted(row: Sequence | Mapping, columns: Mapping[str, str]) -> list[str]:
    """Return the cells of one row as text."""
    values = [row.get(name) for name in columns] if isinstance(row, Mapping) else row
    known = not isinstance(row, Mapping) or set(row) == set(columns)
    if len(values) != len(columns) or not known:
        raise ValueError(f"The row {row!r} does not fit the columns {list(columns)}.")
    return [
        fill(f"{{cell:{spec}}}", {"cell": value})
        for value, spec in zip(values, columns.values(), strict=True)
    ]


def _four_digits(value: object) -> str:
    value = value.item() if hasattr(value, "item") else value  # numpy or torch
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _html(
    cells: list[list[str]], headers: list[str], numeric: list[bool], caption: str
) -> str:
    """Return the table as HTML; the first cell of a row is its header."""
    right = [' style="text-align:right"' if n else "" for n in numeric]
    head = "".join(
        f'<th scope="col"{align}>{html.escape(name)}</th>'
        for name, align in zip(headers, right, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row"{right[0]}>{html.escape(row[0])}</th>'
        + "".join(
            f"<td{align}>{html.escape(cell)}</td>"
            for cell, align in zip(row[1:], right[1:], strict=True)
        )
        + "</tr>"
        for row in cells
    )
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _markdown(
    cells: list[list[str]], headers: list[str], numeric: list[bool], caption: str
) -> str:
    """Return the table as Markdown, for readers of the plain text."""
    rule = ["---:" if n else "---" for n in numeric]
    lines = [headers, rule, *cells]
    return "\n".join([caption, "", *("| " + " | ".join(x) + " |" for x in lines)])
