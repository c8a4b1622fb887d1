// The report of a mock exam: the score, by domain, what is missing, what was wrong.
"use strict";
(() => {
  const { logic, record, view } = globalThis.fewerBitsExam;
  const { bank, make, inline, spaced, sectionLink, table } = view;

  const interval = (right, of) => record.wilson(right, of).map(record.percent);
  const points = (number) => number.toFixed(1);

  function domainRows(domains) {
    const found = new Map(domains.map((d) => [d.name, d]));
    return bank.domains.filter(({ name }) => found.has(name)).map(({ name, weight, share }) => {
      const { right, of } = found.get(name);
      const [low, high] = interval(right, of);
      return [name, right, of, record.percent(right / of), `${low} to ${high}`, weight, points(share)];
    });
  }

  const HEAD = ["Domain", "right", "n", "%", "95 % interval, %", "weight in the exam, %",
    "covered by the book, %"];

  // The domains of the exam that no question of the book belongs to.
  function missing() {
    const gone = bank.domains.filter((d) => d.share === 0);
    const names = gone.map((d) => `${d.name} (${d.weight} %)`).join(", ");
    const weight = gone.reduce((sum, d) => sum + d.weight, 0);
    return `Missing: ${names}. They are ${weight} % of the exam, and this book has no question on them. `
      + `Of the other domains it covers a part; together ${points(bank.exam.share)} % of the exam.`;
  }

  // The text, table or code of a question, what was said, why not, and what is right.
  function explain(number, { item, given, answer }, judge) {
    const unit = item.unit ? ` ${item.unit}` : "";
    const chosen = () => item.choices.filter((_, i) => answer[i]).map((c) => c.text).join("; ");
    const yours = !given ? "none" : item.kind === "numeric" ? `${answer}${unit}` : chosen();
    const why = given ? judge(item, answer, 0).notes : [];
    const notes = [...new Set([...why, ...view.because(item)])];
    return make("li", { value: number }, make("p", {}, ...inline(item.text)), ...view.shown(item),
      make("p", {}, make("strong", {}, "Your answer:"), " ", ...inline(yours)),
      make("p", {}, make("strong", {}, "Right:"), " ", ...inline(view.key(item))),
      make("p", {}, ...spaced(notes), ...sectionLink(item)));
  }

  // Return the report as nodes; the first is a heading that can take the focus.
  function report(exam, judging) {
    const { results, domains, right, of } = logic.score(exam, bank, judging);
    const [low, high] = interval(right, of);
    const late = exam.finished >= exam.ends ? "The time is over. " : "";
    const wrong = results.map((result, i) => [i + 1, result]).filter(([, r]) => !r.right);
    const nodes = [
      make("h2", { tabindex: "-1" }, `Result: ${right} of ${of} right`),
      make("p", {}, `${late}${record.percent(right / of)} % right; the 95 % interval is ${low} to ${high} %. `
        + `Seed ${exam.seed}, ${exam.minutes} minutes.`),
      table("Right answers by domain", HEAD, domainRows(domains)),
      make("p", { class: "exam-missing" }, missing()),
    ];
    if (wrong.length) {
      nodes.push(make("h2", {}, "What was not right"),
        make("ol", { class: "exam-wrong" }, ...wrong.map(([n, r]) => explain(n, r, judging.judge))));
    }
    return nodes;
  }

  view.report = report;
})();
