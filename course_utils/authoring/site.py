"""Build the published book, and show it on this machine.

    python -m course_utils.authoring.site build --notebooks DIR --out DIR
    python -m course_utils.authoring.site serve DIR

`build` copies what pages are made of into a folder of its own, runs Jupyter Book on
that copy with warnings as errors, and puts the result in place in one step. Nothing
is executed: the pages show the outputs that the notebooks hold. Two builds of the same
input are equal to the byte, and a build whose input has not changed is not repeated.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from course_utils.authoring.errors import one_sentence
from course_utils.authoring.site_server import serve
from course_utils.paths import ROOT

KINDS = ("notebooks", "exercises", "solutions")
CONFIGURATION = ("_config.yml", "_toc.yml")
# Folders of book/ that pages are not made of.
NOT_PAGES = {"lessons", "exercises", "items", "texts", "__pycache__"}
# What the exam pages compute from while they are written.
COMPUTED_FROM = (
    "book/items/*.yaml",
    "book/lessons/*.md",
    "course_utils/exam/*.py",
    "course_utils/widgets/quiz.js",
)
# What decides how a page looks, besides its text.
TOOLS = ("jupyter-book", "sphinx", "myst-nb", "myst-parser", "latex2mathml", "pygments")
FIXED = {"SOURCE_DATE_EPOCH": "1767225600", "PYTHONHASHSEED": "0", "TZ": "UTC"}
LAST_LINES = 40


class SiteError(RuntimeError):
    """The book could not be built; the text says why."""


def build(notebooks_dir: Path, out: Path, *, root: Path = ROOT) -> bool:
    """Build the book into `out`; return False if nothing has changed since.

    Args:
        notebooks_dir: Where executed notebooks are: `notebooks/NAME.ipynb` and
            `solutions/NAME.ipynb`, with `status.json`. The committed notebook is
            used for every one that is not there.
        out: Folder for the pages; beside it a folder `work` is used meanwhile.
        root: The checkout.

    Raises:
        SiteError: If a page is missing or Jupyter Book reports a warning.
    """
    out = out.absolute()
    sources = dict(inputs(notebooks_dir.absolute(), root))
    read = [path for pattern in COMPUTED_FROM for path in sorted(root.glob(pattern))]
    digest = digest_of(sources | {str(p.relative_to(root)): p for p in read})
    stamp = out.parent / f".{out.name}.inputs"
    if out.is_dir() and stamp.is_file() and stamp.read_text() == digest:
        return False
    print("Building the pages ...", flush=True)
    stamp.unlink(missing_ok=True)
    work = out.parent / "work" / out.name
    if work.exists():
        shutil.rmtree(work)
    _stage(sources, work / "src")
    made = _run_jupyter_book(work / "src", work / "jb")
    if out.exists():
        shutil.rmtree(out)
    made.rename(out)
    shutil.rmtree(work)
    stamp.write_text(digest)
    return True


def inputs(notebooks_dir: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file the pages are made of: its place in the book, and the file."""
    for name in CONFIGURATION:
        yield name, root / name
    for path in sorted((root / "book").rglob("*")):
        parts = path.relative_to(root).parts
        if path.is_file() and not NOT_PAGES & set(parts[1:]):
            yield "/".join(parts), path
    # What a fresh execution took goes with its notebooks.
    if (fresh := notebooks_dir / "status.json").is_file():
        yield "book/measured/status.json", fresh
    for kind in KINDS:
        for path in sorted((root / kind).glob("*.ipynb")):
            yield f"{kind}/{path.name}", executed(path, notebooks_dir)


def executed(committed: Path, notebooks_dir: Path) -> Path:
    """Return the fresh execution of a notebook, or the notebook itself."""
    fresh = notebooks_dir / committed.parent.name / committed.name
    return fresh if fresh.is_file() else committed


def digest_of(sources: dict[str, Path]) -> str:
    """Return a hash over the sources, the builder and the tools it runs."""
    total = hashlib.sha256(sys.version.encode())
    for tool in TOOLS:
        total.update(f"{tool} {version(tool)}\n".encode())
    total.update(Path(__file__).read_bytes())
    for place, path in sources.items():
        total.update(f"{place}\n".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _stage(sources: dict[str, Path], work: Path) -> None:
    """Copy the sources into a folder of their own."""
    for place, path in sources.items():
        target = work / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _run_jupyter_book(work: Path, jb_dir: Path) -> Path:
    """Run Jupyter Book on the staged sources; return the folder of pages."""
    command = [
        *(sys.executable, "-c", "from jupyter_book.cli.main import main; main()"),
        *("build", str(work), "--path-output", str(jb_dir)),
        *("-W", "--keep-going", "--all", "-q"),
    ]
    done = subprocess.run(  # the command is ours, without a shell
        command,
        env=os.environ | FIXED,
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    pages = jb_dir / "_build" / "html"
    if done.returncode or not (pages / "index.html").is_file():
        # Readers know the files by their place in the checkout.
        text = done.stdout.replace(f"{work}/", "")
        lines = [line for line in text.splitlines() if line.strip()]
        raise SiteError(
            "The book has a fault; Jupyter Book says:\n"
            + "\n".join(lines[-LAST_LINES:])
        )
    return pages


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m course_utils.authoring.site", description=__doc__.split("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("build", help="build the pages")
    making.add_argument("--notebooks", type=Path, default=ROOT)
    making.add_argument("--out", type=Path, default=ROOT / "_build" / "html")
    showing = commands.add_parser("serve", help="show built pages in a browser")
    showing.add_argument("folder", type=Path, nargs="?", default=ROOT / "_build/html")
    showing.add_argument("--port", type=int, default=8000)
    chosen = parser.parse_args(arguments)
    if chosen.command == "serve":
        return serve(chosen.folder, port=chosen.port)
    try:
        changed = build(chosen.notebooks, chosen.out)
    except (SiteError, OSError) as error:
        text = one_sentence(error) if isinstance(error, OSError) else error
        print(text, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command to go on.")
        return 130
    print("Built." if changed else "Nothing has changed.")
    print(f"Open {chosen.out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
