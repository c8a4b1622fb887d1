"""The frame of a page that stands alone: no script, nothing from elsewhere."""

from collections.abc import Iterable
from html import escape

STYLE = """
:root { color-scheme: light dark; --ground: light-dark(#fff, #14181f);
  --raised: light-dark(#f4f6f9, #1c222c); --line: light-dark(#d5dbe3, #3d4857);
  --text: light-dark(#1b2330, #e3e8ef); --quiet: light-dark(#545f70, #a3aebd);
  --link: light-dark(#17549b, #8fbdf5); --fault: light-dark(#a02424, #ff9d94); }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 46rem; line-height: 1.55;
  background: var(--ground); color: var(--text); font-family: system-ui, sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line);
  text-align: left; vertical-align: top; font-weight: 400; }
thead th { font-weight: 600; overflow-wrap: normal; }
a { color: var(--link); }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { white-space: pre-wrap; margin: .3rem 0 0; padding: .6rem;
  background: var(--raised); font-size: .9rem; }
.fault { color: var(--fault); } .quiet { color: var(--quiet); }
figure { margin: 1rem 0; } figure svg { width: 100%; height: auto; }
label, legend { display: block; padding: .3rem 0; } legend { font-weight: 600; }
textarea { width: 100%; min-height: 5rem; font: inherit; }
button { min-height: 2.5rem; padding: .3rem 1rem; font: inherit; }
fieldset { border: 1px solid var(--line); margin: 1rem 0; min-width: 0; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"


def page(title: str, body: str) -> str:
    """Return a whole page; `body` is HTML of ours, `title` is text."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table of texts and numbers; all of it is escaped."""
    first = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    lines = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>'
        f"<thead><tr>{first}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>"
    )


def _cell(value: object) -> str:
    if isinstance(value, (int, float)):
        return f'<td class="number">{value:.6g}</td>'
    return f"<td>{escape(str(value))}</td>"
