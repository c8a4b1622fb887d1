// Progress: by chapter, ready or not, out to a file, in from a file, erased.
"use strict";
(() => {
  const { record, view } = globalThis.fewerBitsExam;
  const { bank, make, button, buttons, labelled, table, progress } = view;

  const interval = (exam) => record.wilson(exam.right, exam.of).map(record.percent);

  function readyNodes(now) {
    const { met, passed, last } = record.readiness(now);
    const found = `${passed} of ${record.READY.exams} exams are there`;
    const state = met ? "The rule is met" : "The rule is not met yet";
    const nodes = [make("p", { class: "exam-ready" }, `${state}: ${found}.`)];
    for (const exam of last) {
      const [low] = interval(exam);
      const share = record.percent(exam.right / exam.of);
      nodes.push(make("p", {}, `${exam.date.slice(0, 10)}: ${share} % of ${exam.of} questions; `
        + `the lower end of the 95 % interval is ${low} %.`));
    }
    const share = bank.exam.share.toFixed(1);
    nodes.push(make("p", {}, `The rule speaks for the ${share} % of the exam `
      + `(${bank.exam.name}) that this book covers.`));
    return nodes;
  }

  function tables(now) {
    const rows = record.summary(now, bank.chapters, bank.items).map((c) =>
      [c.title, c.answered, c.of, record.percent(c.answered / c.of), c.right]);
    const head = ["Chapter", "answered", "of", "%", "right"];
    const nodes = [table("Questions answered, and right when last asked", head, rows)];
    if (!now.exams.length) return [...nodes, make("p", {}, "No mock exam so far.")];
    const exams = now.exams.toReversed().map((e) => [e.date.slice(0, 10), e.right, e.of,
      record.percent(e.right / e.of), interval(e).join(" to "), e.minutes, e.seed]);
    const columns = ["Date", "right", "of", "%", "95 % interval, %", "minutes", "seed"];
    return [...nodes, table("Mock exams, the latest first", columns, exams)];
  }

  const plural = (n, one, many) => (n === 1 ? `1 ${one}` : `${n} ${many}`);

  // Take in a file; return what to say. The file's words are shown nowhere.
  async function take(file) {
    if (file.size > record.MOST_BYTES) return record.SAID.big;
    let other;
    try { other = record.read(await file.text()); } catch (error) { return error.message; }
    progress.change((mine) => record.merge(mine, other));
    const strange = record.unknown(other, bank.items).length;
    const said = `Imported: ${plural(Object.keys(other.items).length, "question", "questions")} and `
      + `${plural(other.exams.length, "mock exam", "mock exams")}.`;
    if (!strange) return said;
    return `${said} ${plural(strange, "question is", "questions are")} not in this edition: kept, and not counted.`;
  }

  function render(place) {
    const ready = make("div");
    const shown = make("div");
    const said = make("p", { role: "status" });
    const asking = make("div", { role: "group", "aria-label": "Erase progress" });
    const file = make("input", { type: "file", accept: ".json,application/json" });
    const erase = button("Erase progress", () => {
      const stay = button("Keep it", () => close("Nothing was erased."));
      said.textContent = "";
      const ask = "Erase all progress in this browser, and a mock exam that was begun?";
      asking.replaceChildren(make("p", {}, ask),
        buttons(button("Erase it", () => {
          progress.erase();
          view.keep(view.MOCK).erase();
          close("Progress is erased.");
        }), stay));
      stay.focus();
    });

    function close(text) {
      asking.replaceChildren();
      said.textContent = text;
      erase.focus();
    }

    file.addEventListener("change", async () => {
      const [picked] = file.files;
      if (!picked) return;
      said.textContent = await take(picked);
      file.value = ""; // the same file may be chosen again
    });

    place.append(view.storageNote(), make("p", {}, record.RULE), ready, shown,
      buttons(button("Export progress", view.download), erase), asking,
      labelled("Import progress", file), said);
    progress.watch(() => {
      const now = progress.read();
      ready.replaceChildren(...readyNodes(now));
      view.fill(shown, ...tables(now));
    });
  }

  view.show("progress", render);
})();
