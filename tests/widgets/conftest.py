"""A page that runs one widget on the smallest model the widget protocol allows."""

import os
import shutil

import pytest
from playwright.sync_api import Page

MOUNT = """
async ({ esm, css, state }) => {
  class Model {
    calls = new Map();
    saves = 0;
    constructor(state) { this.state = { ...state }; }
    get(key) { return this.state[key]; }
    set(key, value) {
      if (Object.is(this.state[key], value)) return;
      this.state[key] = value;
      for (const call of this.calls.get(`change:${key}`) ?? []) call(this, value);
    }
    on(event, call) { this.calls.set(event, [...(this.calls.get(event) ?? []), call]); }
    off(event, call) {
      this.calls.set(event, (this.calls.get(event) ?? []).filter((c) => c !== call));
    }
    save_changes() { this.saves += 1; }
  }
  const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
  globalThis.widget = await import(url);
  globalThis.model = new Model(state);
  const style = document.createElement("style");
  style.textContent = css;
  document.head.append(style);
  const el = document.querySelector("main");
  globalThis.unmount = widget.default.render({ model, el });
}
"""

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<title>Widget</title><meta name="viewport" content="width=device-width"><style>
html {{ color-scheme: {scheme}; background: {back}; color: {front}; }}
body {{ font: 16px sans-serif; }}
</style></head><body><main></main></body></html>"""

COLOURS = {"light": ("#ffffff", "#222222"), "dark": ("#121212", "#ced6dd")}


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict) -> dict:
    chromium = os.environ.get("CHROME_PATH") or shutil.which("chromium")
    rule = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    return {
        **browser_type_launch_args,
        "executable_path": chromium,
        "args": ["--no-sandbox", rule],
    }


@pytest.fixture
def mount(page: Page):
    """Return a function that shows a widget and returns the page."""
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)

    def show(widget, *, scheme="light", root=None) -> Page:
        back, front = COLOURS[scheme]
        page.set_content(PAGE.format(scheme=scheme, back=back, front=front))
        if root is not None:  # Sphinx writes this on every page of the book
            page.evaluate(
                "r => document.documentElement.dataset.content_root = r", root
            )
        own = {k: v for k, v in widget.get_state().items() if not k.startswith("_")}
        for unused in ("layout", "tabbable", "tooltip"):
            own.pop(unused, None)
        arguments = {"esm": str(widget._esm), "css": str(widget._css), "state": own}
        page.evaluate(MOUNT, arguments)
        return page

    yield show
    assert errors == []
