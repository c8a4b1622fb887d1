// Questions that check themselves: one choice, several choices, or a number.
//
// A question is a form with a fieldset, so the keyboard works as in any form: Tab, the
// arrow keys, Space, Enter. Nothing is drawn at random and nothing is sent anywhere.

const SAME = 1e-9; // slack of the limit itself: 1 % of 3.9375 is not exact in binary

// Read a number as people write it. null: no number. A comma may be a decimal comma or a
// thousands separator; "1,000" could be either, so it is asked again.
export function readNumber(text) {
  const plain = text.trim().replace(/\u2212/g, "-");
  if (/,\d{3}$/.test(plain) || !/^[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?$/i.test(plain)) return null;
  return Number(plain.replace(",", "."));
}

// Judge an answer. For a choice `answer` is one true or false per choice; for a number
// it is the number. `tries` counts the earlier wrong answers to this question.
export function judge(item, answer, tries = 0) {
  return item.kind === "numeric" ? judgeNumber(item, answer, tries) : judgeChoice(item, answer);
}

function judgeNumber(item, answer, tries) {
  const right = Math.abs(answer - item.value) <= item.tolerance * Math.abs(item.value) * (1 + SAME);
  if (right) return { right, notes: [item.explanation] };
  const notes = [slip(answer / item.value, item.tolerance)];
  // The explanation holds the answer, so the first miss does not show it.
  if (tries > 0) notes.push(item.explanation);
  return { right, notes };
}

// Name the slip that a ratio gives away.
function slip(ratio, tolerance) {
  const is = (factor) => Math.abs(ratio / factor - 1) <= tolerance;
  if (is(8) || is(1 / 8)) return "You are off by a factor of 8: bits or bytes?";
  if (is(-1)) return "The size is right and the sign is not.";
  if (tolerance < 0.03 && (is(2 ** 30 / 1e9) || is(1e9 / 2 ** 30))) return "GB is 1e9 bytes, GiB is 2^30 bytes: which one is asked for?";
  return "";
}

function judgeChoice(item, answer) {
  const chosen = item.choices.filter((choice, i) => answer[i]);
  const wrong = chosen.filter((choice) => !choice.correct);
  const missing = item.choices.some((choice, i) => choice.correct && !answer[i]);
  const right = wrong.length === 0 && !missing;
  const notes = (right ? chosen : wrong).map((choice) => choice.why);
  if (right) notes.push(item.explanation);
  else if (wrong.length === 0) notes.push("What you chose is right, but something is missing.");
  else if (item.kind === "multiple" && missing) notes.push("Something right is missing too.");
  return { right, notes };
}

// ---------------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Text in which `backticks` mark code.
function inline(text) {
  return text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
}

// The address of a target on the book's pages. "slug#anchor" names a lesson; anything that
// looks like a file is an address from this page. In a notebook there is no page to go to,
// and a link would close the notebook: null.
function address(target) {
  if (/^https?:/i.test(target)) return target;
  if (/^[a-z][a-z0-9+.-]*:/i.test(target)) return null; // javascript: and the like
  const root = document.documentElement.dataset.content_root;
  if (root === undefined) return null;
  const [slug, anchor] = target.split("#");
  if (/[/.]/.test(slug)) return target;
  return `${root}notebooks/${slug}.html${anchor ? `#${anchor}` : ""}`;
}

function linked(target, text) {
  const href = target && address(target);
  return href ? make("a", { href }, text) : make("span", {}, text);
}

// The fields of a question, and functions to read them: the answer, or a request.
function choiceFields(item) {
  const type = item.kind === "multiple" ? "checkbox" : "radio";
  const inputs = item.choices.map((choice, i) => make("input", { type, name: "choice", value: i }));
  const rows = item.choices.map((choice, i) =>
    make("label", { class: "fb-choice" }, inputs[i], make("span", {}, ...inline(choice.text))));
  const answer = () => {
    const picked = inputs.map((input) => input.checked);
    return picked.includes(true) ? { answer: picked } : { request: "Choose an answer first." };
  };
  return { rows, answer };
}

function numberField(item) {
  const input = make("input", { type: "text", inputmode: "decimal", autocomplete: "off", name: "number" });
  const name = item.unit ? `Answer in ${item.unit}` : "Answer";
  const rows = [make("label", { class: "fb-answer" }, make("span", {}, name), input)];
  const answer = () => {
    const number = readNumber(input.value);
    if (number === null) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    return number === null ? { request: "Type a number such as 3.5 or 2e9, without separators." } : { answer: number };
  };
  return { rows, answer };
}

function feedback(item, { right, notes }) {
  const said = notes.filter(Boolean).flatMap((note) => [" ", ...inline(note)]);
  const nodes = [make("strong", {}, right ? "Correct." : "Not yet."), ...said];
  if (item.section) nodes.push(" Section: ", linked(item.section, item.section_title || item.section), ".");
  return nodes;
}

// One question. `onChecked(right)` is called for every answer that was judged.
function question(item, number, onChecked) {
  const { rows, answer } = item.kind === "numeric" ? numberField(item) : choiceFields(item);
  const hint = item.kind === "multiple" ? " Choose all that apply." : "";
  const legend = make("legend", {}, `${number}. `, ...inline(item.text), hint);
  const out = make("div", { role: "status", class: "fb-feedback" });
  const form = make("form", { novalidate: "" },
    make("fieldset", {}, legend, ...rows, make("button", { type: "submit" }, "Check")), out);
  let misses = 0;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = answer();
    if (given.request) return out.replaceChildren(given.request);
    const verdict = judge(item, given.answer, misses);
    if (!verdict.right) misses += 1;
    form.dataset.right = verdict.right;
    out.replaceChildren(...feedback(item, verdict));
    onChecked(verdict.right);
  });
  // A verdict belongs to the answer it judged.
  form.addEventListener("input", () => {
    delete form.dataset.right;
    out.replaceChildren();
  });
  return form;
}

// Where to go on, by the number right at the first try: later tries follow a hint.
function route(routes, first, total) {
  const found = routes.find(({ min, max }) => min <= first && first <= max);
  if (!found) return [];
  return [`${first} of ${total} right at the first try. `, linked(found.href, found.text)];
}

function render({ model, el }) {
  const items = model.get("items");
  const progress = make("p", { class: "fb-progress" });
  const next = make("p", { role: "status" });
  const now = new Map(); // id -> right at the last check
  const first = new Map(); // id -> right at the first check

  function count() {
    const right = [...now.values()].filter(Boolean).length;
    progress.textContent = `${now.size} of ${items.length} answered, ${right} right`;
    if (now.size < items.length) return;
    const early = [...first.values()].filter(Boolean).length;
    next.replaceChildren(...route(model.get("routes"), early, items.length));
  }

  const forms = items.map((item, i) =>
    question(item, i + 1, (right) => {
      now.set(item.id, right);
      if (!first.has(item.id)) first.set(item.id, right);
      model.set("solved", Object.fromEntries(now));
      model.save_changes();
      count();
    }));
  count();
  el.append(make("div", { class: "fb-widget fb-quiz", role: "group", "aria-label": "Quiz" }, ...forms, progress, next));
}

export default { render };
