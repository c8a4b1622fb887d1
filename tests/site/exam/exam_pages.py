"""The pages of practice, mock exam and progress, and how to answer on them."""

import json
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

PRACTICE, MOCK, PROGRESS = (
    f"book/exam/{name}.html" for name in ("practice", "mock", "progress")
)
SEED = 7
# What the browser keeps.
KEPT = "localStorage.getItem('fewer-bits:progress')"
EXAM = "localStorage.getItem('fewer-bits:mock-exam')"
CELLS = "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"


def plain(text: str) -> str:
    return text.replace("`", "")


def place_exists(site, start, page_url, href) -> bool:
    """Say whether a link leads to a file of the site and an id in it."""
    address, anchor = urldefrag(urljoin(page_url, href))
    assert address.startswith(f"{start}/")
    path = site / unquote(urlsplit(address[len(start) + 1 :]).path)
    return path.is_file() and f'id="{anchor}"' in path.read_text("utf-8")


def fixed(bank, **wanted):
    """The first question with these fields whose numbers no seed draws."""
    return next(
        i
        for i in bank["items"]
        if "instances" not in i and all(i[k] == v for k, v in wanted.items())
    )


def tick_and_start(page, *labels):
    for label in labels:
        page.get_by_label(label, exact=True).check()
    page.get_by_role("button", name="Start practice").click()


def begin_mock(page, start, count=20):
    page.goto(f"{start}/{MOCK}")
    page.get_by_label("Seed").fill(str(SEED))
    page.get_by_label("Length").select_option(str(count))
    page.get_by_role("button", name="Start the mock exam").click()
    return json.loads(page.evaluate(EXAM))


def as_asked(bank, entry):
    item = next(i for i in bank["items"] if i["id"] == entry["id"])
    return {**item, **[{}, *item.get("instances", [])][entry["instance"]]}


def give(page, item, *, right=True):
    """Answer the mock question on the page by mouse."""
    field = page.locator("[name=mock]")
    if item["kind"] == "numeric":
        field.fill(f"{item['value'] * (1 if right else 3):.6e}")
        return
    for i, choice in enumerate(item["choices"]):
        if choice["correct"] == right:
            page.locator(f"[name=mock][value='{i}']").check()
            if item["kind"] == "single":
                return
