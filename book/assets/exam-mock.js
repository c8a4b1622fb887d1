// The mock exam: set up, answer against the clock, go back, hand in.
"use strict";
(() => {
  const { logic, record, view } = globalThis.fewerBitsExam;
  const { bank, make, button, buttons, labelled, ticked, select, progress } = view;
  const COUNTS = [20, 40, 60];
  const PACES = [[1, "as in the exam"], [1.5, "half as much again"], [2, "twice as much"]];
  const SEEDS = 1e6;
  const kept = view.keep(view.MOCK);
  const known = new Map(bank.items.map((item) => [item.id, item]));

  // The saved exam, null without one, false if it does not fit these questions.
  function stored() {
    const text = kept.read();
    if (text === null) return null;
    try {
      const exam = JSON.parse(text);
      return logic.validExam(exam, bank.items) ? exam : false;
    } catch { return false; }
  }

  const save = (exam) => kept.write(exam && JSON.stringify(exam));
  const UNFIT = "The exam that was begun here does not fit the questions of this edition; start a new one.";

  function setUp(here, onStart) {
    const counts = COUNTS.filter((n) => n <= bank.items.length);
    const count = select(counts.map((n) => [n, `${n} questions`]));
    count.value = counts.at(-1);
    const pace = select(PACES);
    const seed = make("input", { type: "number", min: "1", max: SEEDS, step: "1", required: "" });
    seed.value = 1 + Math.floor(Math.random() * SEEDS);
    const said = make("p", { role: "status" });
    const tell = () => {
      const valid = seed.checkValidity();
      const minutes = logic.minutesFor(bank.exam, Number(count.value), Number(pace.value));
      said.textContent = valid
        ? `You have ${minutes} minutes.`
        : `Type a seed: a whole number from 1 to ${SEEDS}.`;
      return valid;
    };
    const form = make("form", { novalidate: "" },
      make("div", { class: "exam-fields" }, labelled("Length", count),
        labelled("Time", pace), labelled("Seed", seed)),
      said, buttons(make("button", { type: "submit" }, "Start the mock exam")));
    form.addEventListener("input", tell);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!tell()) return seed.focus();
      const wanted = { count: Number(count.value), seed: Number(seed.value), pace: Number(pace.value) };
      onStart(logic.begin(bank, wanted, Date.now()));
    });
    tell();
    view.fill(here, form);
    return count;
  }

  // An exam being answered, on the page.
  class Sitting {
    constructor(here, exam, judging, onEnd) {
      Object.assign(this, { exam, judging, onEnd });
      this.time = make("p", { role: "timer", class: "exam-time" });
      this.said = make("p", { role: "status", class: "unseen" });
      this.state = make("p");
      this.slot = make("div", { class: "exam-question" });
      this.nav = make("nav", { class: "exam-overview", "aria-label": "Questions of this exam" });
      this.before = logic.timeLeft(exam, Date.now());
      view.fill(here, this.time, this.said, this.state, this.slot, this.nav);
      save(exam);
      this.ask();
      this.ticking = setInterval(() => this.tick(), 1000);
      this.tick();
    }

    focus() { this.asked.focus(); }

    end(late) {
      clearInterval(this.ticking);
      this.onEnd(this.exam, late);
    }

    tick() {
      const left = logic.timeLeft(this.exam, Date.now());
      this.time.textContent = `Time left: ${logic.clock(left)}`;
      // The clock itself is silent; a screen reader hears a few warnings.
      const warning = logic.warning(this.before, left);
      if (warning) this.said.textContent = warning;
      this.before = left;
      if (left === 0) this.end(true);
    }

    isOpen(id) {
      return !logic.answered(known.get(id), this.exam.answers[id], this.judging.readNumber);
    }

    open() { return this.exam.form.filter(({ id }) => this.isOpen(id)).length; }

    go(to) {
      this.exam.at = to;
      save(this.exam);
      this.ask();
      this.focus();
    }

    // How far the exam is, and a list of all questions to jump to one.
    update() {
      const { form, flags, seed, at } = this.exam;
      this.state.textContent = `${form.length - this.open()} of ${form.length} answered, `
        + `${flags.length} flagged. Seed ${seed}.`;
      const items = form.map(({ id }, i) => {
        const states = [this.isOpen(id) ? "" : "answered", flags.includes(id) ? "flagged" : ""].filter(Boolean);
        const name = [`Question ${i + 1}`, ...states].join(", ");
        const jump = button(String(i + 1), () => this.go(i), { "aria-label": name, class: states.join(" ") });
        if (i === at) jump.setAttribute("aria-current", "step");
        return make("li", {}, jump);
      });
      this.nav.replaceChildren(make("ol", {}, ...items));
    }

    flag(id) {
      const { exam } = this;
      const box = make("input", { type: "checkbox" });
      box.checked = exam.flags.includes(id);
      box.addEventListener("change", () => {
        exam.flags = box.checked ? [...exam.flags, id] : exam.flags.filter((other) => other !== id);
      });
      return ticked(box, "Flag this question to come back to it");
    }

    ask() {
      const { form, answers, at } = this.exam;
      const { id, instance, order } = form[at];
      const item = logic.asked(known.get(id), instance);
      const place = `Question ${at + 1} of ${form.length}.`;
      this.asked = view.question(item, { place, name: "mock", order, given: answers[id] });
      this.out = make("div", { role: "status", class: "exam-verdict" });
      const back = button("Previous question", () => this.go(at - 1));
      back.disabled = at === 0;
      const on = make("button", { type: "submit" }, "Next question");
      on.disabled = at === form.length - 1;
      const end = button("Hand in", () => this.confirm());
      this.asked.form.append(this.flag(id), buttons(back, on, end), this.out);
      this.asked.form.addEventListener("submit", () => { if (!on.disabled) this.go(at + 1); });
      this.listen(item);
      view.fill(this.slot, this.asked.form);
      this.update();
    }

    // Keep every answer as it is given.
    listen(item) {
      const { exam, asked, out } = this;
      asked.form.addEventListener("input", () => {
        exam.answers[item.id] = asked.answer();
        save(exam);
      });
      // A number that cannot be read counts as no answer; better to hear it now.
      asked.form.addEventListener("change", () => {
        const unread = item.kind === "numeric" && asked.answer().trim() && this.isOpen(item.id);
        out.textContent = unread ? view.request(item) : "";
        save(exam);
        this.update();
      });
    }

    confirm() {
      const flagged = this.exam.flags.length ? `, ${this.exam.flags.length} flagged` : "";
      const open = this.open();
      const text = `${open} ${open === 1 ? "question has" : "questions have"} no answer${flagged}. Hand in? `;
      const stay = button("Go on", () => { this.out.replaceChildren(); this.focus(); });
      this.out.replaceChildren(text, buttons(button("Hand in now", () => this.end(false)), stay));
      stay.focus();
    }
  }

  // The part of the page: choosing an exam, the exam, its report.
  class Mock {
    constructor(place, judging) {
      this.judging = judging;
      this.said = make("p", { role: "status" });
      this.here = make("div");
      place.append(view.storageNote(), this.said, this.here);
      this.show();
      addEventListener("storage", (event) => { if (event.key === view.MOCK) this.show(); });
    }

    show() {
      const exam = stored();
      clearInterval(this.sitting?.ticking);
      this.said.textContent = exam === false ? UNFIT : "";
      if (!exam) this.choose();
      else if (exam.finished !== null) this.report(exam);
      else this.begin(exam); // if its time is over by now, its first tick ends it
    }

    choose() {
      return setUp(this.here, (exam) => {
        this.said.textContent = "";
        this.begin(exam).focus();
      });
    }

    begin(exam) {
      this.sitting = new Sitting(this.here, exam, this.judging, (...end) => this.finish(...end));
      return this.sitting;
    }

    finish(exam, late) {
      const other = stored();
      // Another tab may have handed in the same exam; it is recorded once.
      if (other?.finished && other.started === exam.started) return this.report(other).focus();
      exam.finished = late ? exam.ends : Date.now();
      save(exam);
      const score = logic.score(exam, bank, this.judging);
      progress.change((all) => record.recordExam(all, exam, score));
      this.report(exam).focus();
    }

    report(exam) {
      const again = button("New mock exam", () => { save(null); this.choose().focus(); });
      const nodes = view.report(exam, this.judging);
      view.fill(this.here, ...nodes, buttons(again));
      return nodes[0];
    }
  }

  view.show("mock", (place, judging) => new Mock(place, judging));
})();
