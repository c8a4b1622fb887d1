"""The built site, a server for it and a browser that reaches nothing else."""

import os
import shutil
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from site_pages import PAGES

from course_utils.authoring.site import build
from course_utils.authoring.site_server import HOST, server
from course_utils.paths import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))

SITE = ROOT / "_build" / "site"
# Where set-up puts the checkers, or where `npm ci` in this folder does.
CHECKERS = (ROOT / ".venv" / "npm", Path(__file__).parent)
LOAD_IMAGES = """() => Promise.all([...document.images].map((image) => {
    image.loading = "eager";
    return image.decode().catch(() => null);
}))"""
WIDGETS_STAND = """() => [...document.querySelectorAll(".widget > div")]
    .every((place) => place.childElementCount)"""
RUN_AXE = """async (rules) => (await axe.run(rules)).violations
    .map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`)"""


# The dark page differs in its colours alone, so only the rules on colour run again.
COLOUR = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
RULES = {"light": {}, "dark": {"runOnly": COLOUR}}


@pytest.fixture(scope="session")
def site() -> Path:
    """The pages of the committed notebooks, built if anything has changed."""
    build(ROOT, SITE)
    return SITE


@pytest.fixture(scope="session")
def base_url(site):
    """The address of a running server for the site."""
    with server(site) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{listening.server_port}"
        listening.shutdown()


@pytest.fixture(scope="session")
def checker():
    """Return a function that finds a file of an npm package."""

    def find(name: str) -> Path:
        for folder in CHECKERS:
            if (path := folder / "node_modules" / name).is_file():
                return path
        pytest.fail(f"{name} is missing: run `make test`, or `npm ci` in tests/site.")

    return find


@pytest.fixture(scope="session")
def browser_type_launch_args():
    """Start Debian's Chromium, which no name but loopback resolves for."""
    found = os.environ.get("CHROME_PATH") or shutil.which("chromium")
    if not found or not shutil.which(found):
        pytest.fail("Chromium is missing: run `make test`, which installs it.")
    rules = f"MAP * ~NOTFOUND, EXCLUDE {HOST}"
    return {
        "executable_path": found,
        "args": ["--no-sandbox", f"--host-resolver-rules={rules}"],
    }


@dataclass
class Visit:
    """What happened while one page was open."""

    requests: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    violations: dict[str, list[str]] = field(default_factory=dict)
    transferred: dict[str, int] = field(default_factory=dict)


@pytest.fixture(scope="session")
def visits(browser, base_url, checker) -> dict[str, Visit]:
    """Every page, opened once and checked in light and in dark."""
    axe = checker("axe-core/axe.min.js").read_text(encoding="utf-8")
    return {name: _visit(browser, f"{base_url}/{name}", axe) for name in PAGES}


def _visit(browser, address: str, axe: str) -> Visit:
    visit = Visit()
    page = browser.new_page(color_scheme="light")
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("requestfailed", lambda request: visit.failures.append(request.url))
    page.on("console", lambda message: visit.messages.append(message.text))
    page.on("pageerror", lambda error: visit.messages.append(str(error)))
    page.on("response", lambda response: _note(visit, response))
    page.goto(address)
    # Late images are part of the page.
    page.evaluate(
        "document.querySelectorAll('img').forEach((i) => i.loading = 'eager')"
    )
    page.wait_for_load_state("networkidle")
    page.evaluate(axe)
    for scheme, rules in RULES.items():
        page.emulate_media(color_scheme=scheme)
        visit.violations[scheme] = page.evaluate(RUN_AXE, rules)
    page.close()
    return visit


def _note(visit: Visit, response) -> None:
    if response.status >= 400:
        visit.failures.append(f"{response.status} {response.url}")
    elif urlsplit(response.url).scheme == "http":
        size = int(response.headers.get("content-length", 0))
        visit.transferred[response.url] = size
