// One question as a form, the judge of its answer, and how a part of a page starts.
"use strict";
(() => {
  const exam = globalThis.fewerBitsExam;
  const { bank, make, inline, labelled, ticked, table } = exam.view;

  // The fields of a question. `given` is an earlier answer, `order` that of the choices.
  function fields(item, name, order, given) {
    if (item.kind === "numeric") {
      const input = make("input", { type: "text", inputmode: "decimal", autocomplete: "off", name });
      input.value = given ?? "";
      const label = item.unit ? `Answer in ${item.unit}` : "Answer";
      return { rows: [labelled(label, input)], answer: () => input.value };
    }
    const type = item.kind === "multiple" ? "checkbox" : "radio";
    const inputs = item.choices.map((_, i) => {
      const input = make("input", { type, name, value: i });
      input.checked = Boolean(given?.[i]);
      return input;
    });
    const rows = order.map((i) => ticked(inputs[i], ...inline(item.choices[i].text)));
    return { rows, answer: () => inputs.map((input) => input.checked) };
  }

  // The table or the code that a question is about.
  function shown(item) {
    const nodes = [];
    if (item.table) nodes.push(table("", item.table.columns, item.table.rows));
    if (item.code) nodes.push(make("div", { class: "highlight" }, make("pre", {}, item.code)));
    return nodes;
  }

  // One question as a form that has no buttons yet. Its fieldset can take the focus.
  function question(item, { place, name, order = [...item.choices.keys()], given }) {
    const { rows, answer } = fields(item, name, order, given);
    const hint = item.kind === "multiple" ? " Choose all that apply." : "";
    const legend = make("legend", {}, make("span", { class: "exam-place" }, `${place} `),
      ...inline(item.text), hint);
    const set = make("fieldset", { tabindex: "-1" }, legend, ...shown(item), ...rows);
    const form = make("form", { novalidate: "" }, set);
    form.addEventListener("submit", (event) => event.preventDefault());
    return { form, answer, focus: () => set.focus() };
  }

  // What asks for an answer that can be judged.
  const request = (item) => (item.kind === "numeric"
    ? "Type a number such as 3.5 or 2e9, without separators." : "Choose an answer first.");

  // What is right, as text with backticks.
  function key(item) {
    if (item.kind !== "numeric") return item.choices.filter((c) => c.correct).map((c) => c.text).join("; ");
    const unit = item.unit ? ` ${item.unit}` : "";
    return `${Number(item.value.toPrecision(4))}${unit}`;
  }

  // Why it is right: what the right choices say, and the explanation.
  const because = (item) => [...item.choices.filter((c) => c.correct).map((c) => c.why), item.explanation];

  // The quiz's module travels as text, since a page in a folder may not load a module.
  async function loadJudge() {
    const address = URL.createObjectURL(new Blob([bank.judge], { type: "text/javascript" }));
    const { judge, readNumber } = await import(address);
    URL.revokeObjectURL(address);
    return { judge, readNumber };
  }

  // Show a part of the page in its place, once answers can be judged.
  async function show(part, render) {
    const place = document.getElementById(`exam-${part}`);
    try {
      const judging = bank.judge ? await loadJudge() : null;
      place.replaceChildren();
      render(place, judging);
    } catch (error) {
      place.textContent = `This part could not start (${error.message}).`;
      console.error(error);
    }
  }

  Object.assign(exam.view, { question, shown, request, key, because, show });
})();
