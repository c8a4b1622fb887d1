"""The builder and the server, apart from what the pages look like."""

import errno
import gzip
import http.client
import shutil
from urllib.parse import urlsplit

import pytest
from site_pages import LANDING

from course_utils.authoring import site as builder
from course_utils.authoring.site_server import server
from course_utils.paths import ROOT


def contents(folder) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_two_builds_are_equal_to_the_byte(site, tmp_path):
    assert builder.build(ROOT, tmp_path / "elsewhere" / "html")
    first, second = contents(site), contents(tmp_path / "elsewhere" / "html")
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []
    assert "search.html" in first


def test_nothing_is_built_twice(site, monkeypatch):
    monkeypatch.setattr(builder, "_run_jupyter_book", pytest.fail)
    assert builder.build(ROOT, builder.ROOT / "_build" / "site") is False


@pytest.fixture
def small(tmp_path):
    """A checkout of one page."""
    root = tmp_path / "book"
    shutil.copytree(ROOT / "book" / "_ext", root / "book" / "_ext")
    shutil.copytree(ROOT / "book" / "assets", root / "book" / "assets")
    shutil.copy(ROOT / "_config.yml", root)
    shutil.copy(ROOT / "book" / "references.bib", root / "book")
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    (root / "book" / "intro.md").write_text("# A title\n\nA sentence.\n")
    return root


def test_a_changed_page_is_built_and_a_fault_named(small, tmp_path):
    out = tmp_path / "out"
    assert builder.build(small, out, root=small)
    assert not builder.build(small, out, root=small)
    (small / "book" / "intro.md").write_text("# Another\n\n[x](missing.md)\n")
    with pytest.raises(builder.SiteError, match=r"book/intro\.md:3.*missing\.md"):
        builder.build(small, out, root=small)
    # What was there stays readable.
    assert "A title" in (out / "book" / "intro.html").read_text(encoding="utf-8")


def test_pages_are_built_again_for_other_questions(small, tmp_path):
    out = tmp_path / "out"
    items = small / "book" / "items"
    items.mkdir()
    (items / "some.yaml").write_text("[]")
    assert builder.build(small, out, root=small)
    assert not builder.build(small, out, root=small)
    (items / "some.yaml").write_text("[1]")
    assert builder.build(small, out, root=small)


def test_fresh_notebooks_and_their_status_come_first(tmp_path):
    fresh = tmp_path / "notebooks" / "00_start-here.ipynb"
    fresh.parent.mkdir()
    fresh.write_text("{}")
    (tmp_path / "status.json").write_text("{}")
    sources = dict(builder.inputs(tmp_path, ROOT))
    assert sources["notebooks/00_start-here.ipynb"] == fresh
    assert sources["book/measured/status.json"] == tmp_path / "status.json"
    other = "solutions/00_start-here.ipynb"
    assert sources[other] == ROOT / other


def ask(base_url, path, **headers):
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer, answer.read()


def test_server_compresses_text(site, base_url):
    answer, body = ask(base_url, f"/{LANDING}", **{"Accept-Encoding": "gzip, br"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert gzip.decompress(body) == (site / LANDING).read_bytes()


def test_server_asks_again_by_tag(base_url):
    answer, _ = ask(base_url, f"/{LANDING}")
    assert answer.headers["Cache-Control"] == "no-cache"
    again, body = ask(
        base_url, f"/{LANDING}", **{"If-None-Match": answer.headers["ETag"]}
    )
    assert (again.status, body) == (304, b"")


@pytest.mark.parametrize(
    ("path", "kind", "kept"),
    [
        ("/_static/site.js?v=0a1b2c3d", "text/javascript; charset=utf-8", True),
        ("/_static/icon.svg", "image/svg+xml; charset=utf-8", False),
        (
            "/_sources/notebooks/00_start-here.ipynb",
            "application/x-ipynb+json; charset=utf-8",
            False,
        ),
    ],
)
def test_server_knows_types_and_what_may_be_kept(base_url, path, kind, kept):
    answer, _ = ask(base_url, path)
    assert answer.headers["Content-Type"] == kind
    assert ("immutable" in answer.headers["Cache-Control"]) == kept


def test_server_has_no_listing_and_nothing_outside(base_url):
    for path in ("/_static/", "/nothing.html", "/../../pyproject.toml"):
        assert ask(base_url, path)[0].status == 404


def test_server_is_silent_where_a_browser_has_gone(tmp_path, capsys):
    (tmp_path / "index.html").write_text("")
    with server(tmp_path) as listening:
        for error, words in ((BrokenPipeError("gone"), ""), (ValueError("bug"), "bug")):
            try:
                raise error
            except Exception:
                listening.handle_error(None, ("127.0.0.1", 1))
            assert words in (said := capsys.readouterr().err)
            assert bool(said) == bool(words)


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (builder.SiteError("The book has a fault."), 1, "The book has a fault."),
        (OSError(errno.ENOSPC, "full"), 1, "No space left on device: free disk"),
        (KeyboardInterrupt(), 130, "Stopped. Run the same command to go on."),
    ],
)
def test_what_stops_a_build_is_one_sentence(monkeypatch, capsys, error, status, says):
    def stop(*_):
        raise error

    monkeypatch.setattr(builder, "build", stop)
    assert builder.main(["build"]) == status
    said = "".join(capsys.readouterr()).strip()
    assert said.startswith(says)
    assert "\n" not in said


def test_server_refuses_a_folder_without_pages(tmp_path):
    with pytest.raises(ValueError, match="make site"):
        server(tmp_path)
