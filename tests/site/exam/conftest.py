"""The bank, the places where the pages are, and a console that stays silent."""

import threading

import pytest
from fewer_bits import exam_practice

from course_utils.authoring.site_server import HOST, server


@pytest.fixture(scope="session")
def bank():
    return exam_practice.bank()


@pytest.fixture(scope="session")
def under_prefix(site, tmp_path_factory):
    """A host on which the book is not at the top."""
    top = tmp_path_factory.mktemp("host")
    (top / "index.html").write_text("")
    (top / "fewer-bits").symlink_to(site)
    with server(top) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{listening.server_port}/fewer-bits"
        listening.shutdown()


@pytest.fixture(params=["http", "prefix", "file"])
def start(request, site, base_url):
    """Where the pages are: at the top of a host, below it, or in a folder."""
    if request.param == "prefix":
        return request.getfixturevalue("under_prefix")
    return base_url if request.param == "http" else site.as_uri()


@pytest.fixture(autouse=True)
def silence(page):
    """Every test fails on what the console or the page complains about."""
    found = []
    page.on("console", lambda message: found.append(message.text))
    page.on("pageerror", lambda error: found.append(str(error)))
    yield
    assert found == []
