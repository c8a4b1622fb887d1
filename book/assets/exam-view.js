// What the exam pages share: the questions of the page, elements, and what is stored.
"use strict";
(() => {
  const exam = globalThis.fewerBitsExam;
  const { record } = exam;
  const bank = JSON.parse(document.getElementById("exam-bank").textContent);

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  function button(text, onClick, attributes = {}) {
    const node = make("button", { type: "button", ...attributes }, text);
    node.addEventListener("click", onClick);
    return node;
  }

  const buttons = (...nodes) => make("div", { class: "exam-buttons" }, ...nodes);

  // Text in which `backticks` mark code.
  const inline = (text) => text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
  const spaced = (notes) => notes.filter(Boolean).flatMap((note) => [" ", ...inline(note)]);

  function sectionLink(item) {
    if (!item.section) return [];
    const [slug, anchor] = item.section.split("#");
    const href = `${document.documentElement.dataset.content_root}notebooks/${slug}.html#${anchor}`;
    return [" Section: ", make("a", { href }, item.section_title), "."];
  }

  // A form control with its label above it.
  const labelled = (text, control) => make("label", { class: "exam-field" }, make("span", {}, text), control);

  // A box with its label beside it.
  const ticked = (input, ...text) => make("label", { class: "exam-choice" }, input, make("span", {}, ...text));

  function select(options) {
    return make("select", {}, ...options.map(([value, text]) => make("option", { value }, text)));
  }

  const NUMBER = /^[-\u2212+]?[\d.,]+( %| to [\d.,]+)?$/;

  // A table; the first cell of a row names the row. `caption` may be empty.
  function table(caption, head, rows) {
    const numbers = head.map((_, i) => i > 0 && rows.every((row) => NUMBER.test(row[i])));
    const cell = (tag, scope, i, text) => make(tag,
      { ...(scope && { scope }), ...(numbers[i] && { class: "number" }) }, ...inline(String(text)));
    const row = (cells) => make("tr", {}, ...cells.map((text, i) =>
      (i ? cell("td", "", i, text) : cell("th", "row", i, text))));
    return make("div", { class: "scroll" }, make("table", {},
      ...(caption ? [make("caption", {}, caption)] : []),
      make("thead", {}, make("tr", {}, ...head.map((text, i) => cell("th", "col", i, text)))),
      make("tbody", {}, ...rows.map(row))));
  }

  // Show `nodes` in `place`. The page's script looks at wide blocks on a resize only;
  // one that scrolls must be reachable by keyboard.
  function fill(place, ...nodes) {
    place.replaceChildren(...nodes);
    dispatchEvent(new Event("resize"));
  }

  // A browser may forbid storage; then everything lasts as long as the page.
  function keep(key) {
    let memory = null;
    let lasting = true;
    return {
      get lasting() { return lasting; },
      // From here on nothing in the browser is overwritten.
      detach() { lasting = false; },
      read() {
        if (!lasting) return memory;
        try { return localStorage.getItem(key); } catch { lasting = false; return memory; }
      },
      write(text) {
        memory = text;
        if (!lasting) return;
        try {
          if (text === null) localStorage.removeItem(key); else localStorage.setItem(key, text);
        } catch { lasting = false; }
      },
      erase() {
        memory = null;
        try { localStorage.removeItem(key); lasting = true; } catch { lasting = false; }
      },
    };
  }

  const PROGRESS = "fewer-bits:progress";
  const MOCK = "fewer-bits:mock-exam";
  const FILE = "fewer-bits-progress.json";
  const UNREAD = "This browser holds progress that this edition of the book cannot read. "
    + "It is left as it is, and nothing is stored until Erase on the page Progress removes it.";
  const NOT_STORED = "This browser stores nothing for this page, so progress is lost when it is closed. "
    + "Export it first.";
  const kept = keep(PROGRESS);
  const watchers = [];
  const tell = () => watchers.forEach((watcher) => watcher());
  let unread = "";

  const progress = {
    get lasting() { return kept.lasting; },
    // Why what the browser holds is left alone, in a sentence.
    get unread() { return unread; },
    read() {
      const text = kept.read();
      if (text === null) return record.empty();
      try { return record.read(text); } catch {
        unread = UNREAD;
        kept.detach();
        return record.empty();
      }
    },
    // What another tab has stored meanwhile is read first, so it is not lost.
    change(step) { kept.write(JSON.stringify(step(progress.read()))); tell(); },
    erase() { kept.erase(); unread = ""; tell(); },
    watch(watcher) { watchers.push(watcher); watcher(); },
  };
  addEventListener("storage", tell);

  function download() {
    const text = JSON.stringify(progress.read(), null, 1);
    const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    make("a", { href, download: FILE }).click();
    setTimeout(() => URL.revokeObjectURL(href), 1000);
  }

  // A sentence and a button where nothing is stored; it comes when storing fails.
  function storageNote() {
    const note = make("div", { role: "status" });
    progress.read(); // finds out whether the browser stores anything
    progress.watch(() => {
      if (progress.lasting || note.childElementCount) return;
      note.append(make("p", {}, progress.unread || NOT_STORED), buttons(button("Export progress", download)));
    });
    return note;
  }

  exam.view = {
    bank, MOCK, make, button, buttons, inline, spaced, sectionLink, labelled, ticked, select,
    table, fill, keep, progress, download, storageNote,
  };
})();
