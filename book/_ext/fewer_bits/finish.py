"""Last steps on the built folder: the start page, and what no page asks for."""

from pathlib import Path

from sphinx.application import Sphinx

# What Sphinx writes for its own search; everything else in _static is ours.
SEARCH = {
    "documentation_options.js",
    "doctools.js",
    "language_data.js",
    "searchtools.js",
    "sphinx_highlight.js",
}
START = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="{title}: the start page of the book.">
<meta http-equiv="refresh" content="0; url={first}">
<link rel="canonical" href="{first}">
<link rel="icon" href="_static/icon.svg" type="image/svg+xml">
</head>
<body><main><h1>{title}</h1><p><a href="{first}">Open the book</a></p></main></body>
</html>
"""


def finish(app: Sphinx, error: Exception | None) -> None:
    """Write the start page and remove what no page asks for."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    first = f"{app.config.root_doc}.html"
    start = START.format(title=app.config.html_title, first=first)
    (out / "index.html").write_text(start, encoding="utf-8")
    prune(out, keep=SEARCH | {p.name for p in _assets(app)})


def _assets(app: Sphinx) -> list[Path]:
    return [
        path
        for folder in app.config.html_static_path
        for path in (Path(app.srcdir) / folder).iterdir()
    ]


def prune(out: Path, *, keep: set[str]) -> None:
    """Remove static files that are not in `keep`, and sources of plain pages."""
    for path in sorted((out / "_static").rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.name not in keep:
            path.unlink()
    for path in (out / "_sources").rglob("*.md"):
        path.unlink()
    # A note to Sphinx about its own last build and an index for other projects.
    for name in (".buildinfo", "objects.inv", ".buildinfo.bak"):
        (out / name).unlink(missing_ok=True)


def setup(app: Sphinx) -> None:
    """Register the step, after Sphinx and MyST-NB have copied their files."""
    app.connect("build-finished", finish, priority=900)
