// Practice: which questions, one at a time, its verdict at once.
"use strict";
(() => {
  const { logic, record, view } = globalThis.fewerBitsExam;
  const { bank, make, button, buttons, spaced, inline, sectionLink, ticked, select, progress } = view;
  const DIFFICULTIES = [["1", "Easy"], ["2", "Medium"], ["3", "Hard"]];
  const KINDS = [["single", "One choice"], ["multiple", "Several choices"], ["numeric", "A number"],
    ["table", "A table to read"], ["bug", "Code with a fault"]];
  const ALL = "all";
  const STATES = [[ALL, "All"], ["new", "Not answered yet"], ["wrong", "Wrong last time"]];

  // What a question is called here: by what it shows, else by how it is answered.
  const kindOf = (item) => (["table", "bug"].includes(item.style) ? item.style : item.kind);

  // Boxes of which none ticked means all.
  function boxes(legend, options) {
    const inputs = options.map(([value]) => make("input", { type: "checkbox", value }));
    const set = make("fieldset", {}, make("legend", {}, legend),
      make("div", { class: "exam-boxes" }, ...options.map(([, text], i) => ticked(inputs[i], text))));
    const chosen = () => inputs.filter((input) => input.checked).map((input) => input.value);
    return { set, has: (value) => !chosen().length || chosen().includes(value) };
  }

  // Wrong last time first, then new ones, then the rest, longest ago first.
  function ordered(items) {
    const entries = progress.read().items;
    const rank = ({ id }) => (entries[id]?.right === false ? 0 : entries[id] ? 2 : 1);
    const date = ({ id }) => entries[id]?.date ?? "";
    return [...items].sort((a, b) => rank(a) - rank(b) || date(a).localeCompare(date(b)));
  }

  function filters() {
    const titles = bank.chapters.map(({ slug, title }) => [slug, title]);
    const chapter = boxes("Chapters (none ticked: all)", titles);
    const difficulty = boxes("Difficulty (none ticked: all)", DIFFICULTIES);
    const kind = boxes("Kind of question (none ticked: all)", KINDS);
    const state = select(STATES);
    const fits = {
      [ALL]: () => true,
      new: (item) => !progress.read().items[item.id],
      wrong: (item) => progress.read().items[item.id]?.right === false,
    };
    const chosen = () => bank.items.filter((item) => chapter.has(item.chapter)
      && difficulty.has(String(item.difficulty)) && kind.has(kindOf(item)) && fits[state.value](item));
    const rows = [chapter.set, difficulty.set, kind.set, view.labelled("Questions", state)];
    return { rows, chosen };
  }

  // A list of questions, asked one after the other.
  class Sitting {
    constructor(here, list, judging) {
      Object.assign(this, { here, list, judging });
      this.results = new Map(); // id -> right at the first answer of this sitting
      this.ask(0);
    }

    ask(at) {
      const { length } = this.list;
      const drawn = Math.floor(Math.random() * logic.instances(this.list[at]));
      const item = logic.asked(this.list[at], drawn);
      const asked = view.question(item, { place: `Question ${at + 1} of ${length}.`, name: "practice" });
      const out = make("div", { role: "status", class: "exam-verdict" });
      const last = at + 1 === length;
      const next = button(last ? "Finish" : "Next question", () => (last ? this.finish() : this.ask(at + 1)));
      const reveal = button("Show the answer", () => this.reveal(item, asked.form, out));
      asked.form.append(buttons(make("button", { type: "submit" }, "Check"), next, reveal), out);
      this.listen(item, asked, out);
      view.fill(this.here, asked.form);
      asked.focus();
    }

    listen(item, asked, out) {
      const { judge, readNumber } = this.judging;
      const { form } = asked;
      let misses = 0;
      form.addEventListener("submit", () => {
        const answer = asked.answer();
        if (!logic.answered(item, answer, readNumber)) return out.replaceChildren(view.request(item));
        const { right, notes } = judge(item, item.kind === "numeric" ? readNumber(answer) : answer, misses);
        if (!right) misses += 1;
        form.dataset.right = right;
        const verdict = make("strong", {}, right ? "Correct." : "Not yet.");
        out.replaceChildren(verdict, ...spaced(notes), ...sectionLink(item));
        this.note(item, right);
      });
      // A verdict belongs to the answer it judged.
      form.addEventListener("input", () => {
        delete form.dataset.right;
        out.replaceChildren();
      });
    }

    reveal(item, form, out) {
      this.note(item, false);
      delete form.dataset.right;
      out.replaceChildren(make("strong", {}, "Right:"), " ", ...inline(view.key(item)), ".",
        ...spaced(view.because(item)), ...sectionLink(item));
    }

    // Later answers follow a hint, so the first one is what is remembered.
    note({ id }, right) {
      if (this.results.has(id)) return;
      this.results.set(id, right);
      progress.change((kept) => record.record(kept, id, right, Date.now()));
    }

    finish() {
      const wrong = this.list.filter(({ id }) => this.results.get(id) === false);
      const right = this.results.size - wrong.length;
      const head = make("h2", { tabindex: "-1" },
        `${right} of ${this.results.size} answered were right at the first try`);
      const again = button(`Practise the ${wrong.length} that were not`, () =>
        new Sitting(this.here, wrong, this.judging));
      view.fill(this.here, head, ...(wrong.length ? [buttons(again)] : []));
      head.focus();
    }
  }

  function render(place, judging) {
    const { rows, chosen } = filters();
    const count = make("p", { role: "status" });
    const start = make("button", { type: "submit" }, "Start practice");
    const form = make("form", { novalidate: "" }, ...rows, count, buttons(start));
    const here = make("div", { class: "exam-question" });
    place.append(view.storageNote(), form, here);

    const tell = () => {
      const { length } = chosen();
      count.textContent = length === 1 ? "1 question." : `${length} questions.`;
      start.disabled = !length;
    };
    form.addEventListener("input", tell);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      new Sitting(here, ordered(chosen()), judging);
    });
    progress.watch(tell);
  }

  view.show("practice", render);
})();
