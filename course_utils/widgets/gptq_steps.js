// GPTQ on a small slice of a layer: step through its columns and see what moves.
//
// The arithmetic is the first part of this file, pure functions that a test holds equal
// to the Python in gptq_slice.py, to the last bit. The second part draws. The weights
// and the matrix of the inputs travel in the widget's state.

const SETTINGS = ["bits", "damping", "compensate", "step"];
const BITS = [2, 3, 4, 8];
const DAMPING = [0, 0.001, 0.01, 0.1, 1, 10, 100];

// Round to nearest, ties to even, as numpy and torch do. Math.round sends ties up.
export function roundHalfEven(v) {
  const below = Math.floor(v);
  const rest = v - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

// The grid of a row: its range, widened to hold 0, with 2 ** bits codes from 0 on.
export function grid(row, bits) {
  const low = Math.min(0, ...row);
  const high = Math.max(0, ...row);
  const scale = (high - low) / (2 ** bits - 1) || 1;
  return { scale, zeroPoint: roundHalfEven(-low / scale), qmax: 2 ** bits - 1 };
}

export function damped(hessian, damping) {
  let mean = 0;
  hessian.forEach((row, i) => (mean += row[i]));
  const extra = damping * (mean / hessian.length);
  return hessian.map((row, i) => row.map((value, j) => (i === j ? value + extra : value)));
}

// The inverse of a positive definite matrix, by elimination.
export function inverse(matrix) {
  const n = matrix.length;
  const rows = matrix.map((row, i) => [...row, ...matrix.map((_, j) => (i === j ? 1 : 0))]);
  for (let k = 0; k < n; k += 1) {
    const pivot = rows[k][k];
    if (!(pivot > 0)) throw new RangeError("the matrix has no inverse; give a damping above 0");
    rows[k] = rows[k].map((value) => value / pivot);
    for (let i = 0; i < n; i += 1) {
      if (i === k) continue;
      const factor = rows[i][k];
      rows[i] = rows[i].map((value, j) => value - factor * rows[k][j]);
    }
  }
  return rows.map((row) => row.slice(n));
}

// The sum over rows of e H e', where e is the change of a row.
export function lost(weights, now, hessian) {
  let total = 0;
  weights.forEach((before, r) => {
    const e = now[r].map((value, j) => value - before[j]);
    hessian.forEach((row, i) => row.forEach((value, j) => (total += e[i] * value * e[j])));
  });
  return total;
}

// The slice before the first column and after each one.
export function states(weights, hessian, bits, damping, compensate) {
  const grids = weights.map((row) => grid(row, bits));
  const now = weights.map((row) => [...row]);
  const codes = weights.map(() => []);
  const copy = (rows) => rows.map((row) => [...row]);
  const found = [{ step: 0, weights: copy(now), codes: copy(codes), loss: 0 }];
  let hinv = inverse(damped(hessian, damping));
  for (let c = 0; c < hessian.length; c += 1) {
    const d = hinv[c][c];
    grids.forEach(({ scale, zeroPoint, qmax }, r) => {
      const code = Math.min(Math.max(roundHalfEven(now[r][c] / scale) + zeroPoint, 0), qmax);
      const value = (code - zeroPoint) * scale;
      const error = (now[r][c] - value) / d;
      now[r][c] = value;
      codes[r].push(code);
      if (compensate) for (let j = c + 1; j < hessian.length; j += 1) now[r][j] -= error * hinv[c][j];
    });
    const left = hinv;
    hinv = left.map((row) => row.map((value, j) => value - (row[c] * left[c][j]) / d));
    found.push({ step: c + 1, weights: copy(now), codes: copy(codes), loss: lost(weights, now, hessian) });
  }
  return found;
}

// A number with fixed decimals, and no minus before a zero.
function fixed(v, digits) {
  const text = v.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text;
}

// A number of any size with three digits, in units of one millionth.
export function small(value) {
  const millionths = 1e6 * value;
  return `${fixed(millionths, millionths >= 100 ? 0 : millionths >= 10 ? 1 : 2)} millionths`;
}

// What the picture shows, in words. The status line of the widget.
export function sentence(weights, hessian, { bits, damping, compensate, step }) {
  const n = hessian.length;
  const { loss } = states(weights, hessian, bits, damping, compensate)[step];
  const rounded = states(weights, hessian, bits, damping, false)[step].loss;
  const text = `${step} of ${n} columns have codes of ${bits} bits. `;
  if (!compensate) return `${text}Round to nearest: the output has lost ${small(loss)}.`;
  const part = step && rounded > 0 ? `, ${fixed((100 * loss) / rounded, 0)} % of what rounding to nearest has lost here (${small(rounded)})` : "";
  const rest = step < n ? `. Free columns left: ${n - step}${step ? "; their weights have moved" : ""}` : "";
  return `${text}The output has lost ${small(loss)}${part}${rest}.`;
}

// ---------------------------------------------------------------------------------

const PAUSE = 900; // milliseconds between two columns while it plays
const SHOWN = 0.75; // a bar across half a cell is a move of this many steps

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const labelled = (text, control) => make("div", { class: "fb-control fb-select" }, make("label", {}, make("span", {}, text), control));

function select(values, word) {
  const input = make("select", {});
  const show = (value) => {
    const list = values.includes(value) ? values : [...values, value].sort((a, b) => a - b);
    input.replaceChildren(...list.map((v) => make("option", { value: v }, word(v))));
    input.value = value;
  };
  return { input, show };
}

// A cell for each weight: its value, its code once it has one, and how far it moved.
function picture(body, weights, state, bits) {
  body.replaceChildren(...weights.map((row, r) => {
    const { scale } = grid(row, bits);
    return make("tr", {}, ...row.map((before, c) => {
      const done = c < state.step;
      const now = state.weights[r][c];
      const moved = (now - before) / scale;
      const width = Math.min(Math.abs(moved) / SHOWN, 1) * 50;
      const bar = make("span", { class: "fb-moved", "aria-hidden": "true" });
      bar.style.width = `${width}%`;
      bar.style.left = moved < 0 ? `${50 - width}%` : "50%";
      const code = make("span", { class: "fb-code" }, done ? `code ${state.codes[r][c]}` : "free");
      return make("td", { class: done ? "fb-done" : "fb-free" }, fixed(now, 3), code, bar);
    }));
  }));
}

function bar(name) {
  const fill = make("span", { class: "fb-fill" });
  const number = make("span", { class: "fb-number" });
  return { row: make("div", { class: "fb-lost" }, make("span", {}, name), make("span", { class: "fb-track", "aria-hidden": "true" }, fill), number), fill, number };
}

function render({ model, el }) {
  const weights = model.get("weights");
  const hessian = model.get("hessian");
  const n = hessian.length;
  const slider = make("input", { type: "range", min: 0, max: n, step: 1 });
  const count = make("span", { class: "fb-number", "aria-hidden": "true" });
  const bits = select(BITS, String);
  const damping = select(DAMPING, String);
  const box = make("input", { type: "checkbox" });
  const button = (text) => make("button", { type: "button" }, text);
  const [over, back, next, play] = ["start over", "back", "next column", "play"].map(button);
  const controls = make("div", { class: "fb-controls" },
    make("div", { class: "fb-control" }, make("label", {}, make("span", {}, "columns"), slider), count),
    make("div", { class: "fb-control" }, make("label", { class: "fb-check" }, box, make("span", {}, "let free weights make up for it"))),
    labelled("bits", bits.input), labelled("damping", damping.input));
  const body = make("tbody", {});
  const heads = hessian.map((_, c) => make("th", { scope: "col" }, String(c)));
  const table = make("table", {}, make("caption", {}, "Each row of weights has one grid. The bar in a cell is how far the weight has moved."), make("thead", {}, make("tr", {}, ...heads)), body);
  const scroll = make("div", { class: "fb-scroll", tabindex: 0, role: "region", "aria-label": "The weights of the slice" }, table);
  const bars = [bar("so far"), bar("round to nearest")];
  const status = make("p", { role: "status" });
  const buttons = make("div", { class: "fb-buttons" }, over, back, next, play);
  const root = make("div", { class: "fb-widget fb-gptq", role: "group", "aria-label": "GPTQ column by column" }, controls, buttons, scroll, ...bars.map((b) => b.row), status);
  const read = () => Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));
  let timer = null;

  // Everything on the screen follows from the settings in the model.
  function update() {
    const s = read();
    const ours = states(weights, hessian, s.bits, s.damping, s.compensate);
    const plain = states(weights, hessian, s.bits, s.damping, false);
    slider.value = s.step;
    slider.setAttribute("aria-valuetext", `${s.step} of ${n}`);
    count.textContent = `${s.step} of ${n}`;
    bits.show(s.bits);
    damping.show(s.damping);
    box.checked = s.compensate;
    for (const b of [over, back]) b.disabled = s.step === 0;
    next.disabled = s.step === n;
    play.textContent = timer ? "stop" : "play";
    heads.forEach((head, c) => head.classList.toggle("fb-now", c === s.step - 1));
    picture(body, weights, ours[s.step], s.bits);
    const most = Math.max(ours[n].loss, plain[n].loss) || 1;
    for (const [i, list] of [ours, plain].entries()) {
      bars[i].fill.style.width = `${Math.min((100 * list[s.step].loss) / most, 100)}%`;
      bars[i].number.textContent = small(list[s.step].loss);
    }
    status.textContent = sentence(weights, hessian, s);
  }

  function change(next) {
    for (const [name, value] of Object.entries(next)) model.set(name, value);
    model.save_changes();
    update();
  }

  function stop() {
    clearInterval(timer);
    timer = null;
  }

  function go(step) {
    stop();
    change({ step: Math.min(Math.max(step, 0), n) });
  }

  function tick() {
    const step = model.get("step") + 1;
    if (step >= n) stop();
    change({ step });
  }

  slider.addEventListener("input", () => go(slider.valueAsNumber));
  over.addEventListener("click", () => go(0));
  back.addEventListener("click", () => go(model.get("step") - 1));
  next.addEventListener("click", () => go(model.get("step") + 1));
  play.addEventListener("click", () => {
    if (timer) return go(model.get("step"));
    timer = setInterval(tick, PAUSE);
    return change({ step: model.get("step") === n ? 0 : model.get("step") });
  });
  bits.input.addEventListener("change", () => change({ bits: Number(bits.input.value) }));
  damping.input.addEventListener("change", () => change({ damping: Number(damping.input.value) }));
  box.addEventListener("change", () => change({ compensate: box.checked }));

  for (const name of SETTINGS) model.on(`change:${name}`, update);
  update();
  el.append(root);
  return () => {
    stop();
    SETTINGS.forEach((name) => model.off(`change:${name}`, update));
  };
}

export default { render };
