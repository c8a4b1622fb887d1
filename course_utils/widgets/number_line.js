// A number line with the grid of a quantizer: move the value, see where it lands.
//
// The arithmetic is the first part of this file, pure functions that a test holds equal
// to the Python in number_line.py. The second part draws. There is no kernel behind
// this: the same file runs in JupyterLab, in Colab and on a static page.

const LIMIT = 4; // lo and hi move between -LIMIT and LIMIT
const RANGE_STEP = 0.05;
const X_PER_UNIT = 200; // x moves in steps of 1 / 200

// Round to nearest, ties to even, as numpy and torch do. Math.round sends ties up.
export function roundHalfEven(v) {
  const below = Math.floor(v);
  const rest = v - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

// The grid that covers lo to hi with 2 ** bits codes. The range is widened to hold 0,
// so that 0 is a grid value. A symmetric grid has its zero point at code 0 and leaves
// the lowest code unused.
export function grid(bits, lo, hi, symmetric) {
  if (!Number.isInteger(bits) || bits < 1 || bits > 8) throw new RangeError("bits must be 1 to 8");
  if (symmetric && bits < 2) throw new RangeError("a symmetric grid needs at least 2 bits");
  if (!(lo <= hi)) throw new RangeError("lo must not be above hi");
  const half = 2 ** (bits - 1);
  const qmin = symmetric ? 1 - half : 0;
  const qmax = symmetric ? half - 1 : 2 ** bits - 1;
  let low = Math.min(lo, 0);
  let high = Math.max(hi, 0);
  if (symmetric) {
    high = Math.max(-low, high);
    low = -high;
  }
  // A range of zeros has no step; any step rebuilds it, and 1 never divides by 0.
  const scale = (high - low) / (qmax - qmin) || 1;
  const zeroPoint = roundHalfEven(qmin - low / scale);
  const points = [];
  for (let code = qmin; code <= qmax; code += 1) points.push((code - zeroPoint) * scale);
  return { qmin, qmax, scale, zeroPoint, points };
}

// The code of x and the value it stands for. Beyond the grid the code saturates.
export function nearest(x, bits, lo, hi, symmetric) {
  const { qmin, qmax, scale, zeroPoint } = grid(bits, lo, hi, symmetric);
  const wanted = roundHalfEven(x / scale) + zeroPoint;
  const code = Math.min(Math.max(wanted, qmin), qmax);
  const value = (code - zeroPoint) * scale;
  const error = value - x;
  return { code, value, error, errorSteps: error / scale, scale, maxError: scale / 2, saturated: code !== wanted };
}

// Decimals that show the step with three digits.
export function decimals(scale) {
  let digits = 2;
  for (let unit = 1; scale < unit && digits < 6; unit /= 10) digits += 1;
  return digits;
}

// A number with fixed decimals, and no minus before a zero.
function fixed(v, digits) {
  const text = v.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text;
}

// What the picture shows, in words. The status line of the widget.
export function sentence(x, bits, lo, hi, symmetric) {
  const { points } = grid(bits, lo, hi, symmetric);
  const at = nearest(x, bits, lo, hi, symmetric);
  const d = decimals(at.scale);
  const inside = Math.abs(at.error) <= at.maxError * (1 + 1e-9);
  return (
    `${points.length} grid values from ${fixed(points[0], d)} to ${fixed(points[points.length - 1], d)}, ` +
    `${fixed(at.scale, d)} apart. x = ${fixed(x, 3)} gets code ${at.code}, which stands for ${fixed(at.value, d)}. ` +
    `The error is ${fixed(at.error, d)}, or ${fixed(at.errorSteps, 2)} steps` +
    (inside
      ? `; inside the range it is never more than half a step, ${fixed(at.maxError, d)}.`
      : ": x lies beyond the last grid value, and the code cannot follow.")
  );
}

// ---------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function draw(tag, attributes, parent) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.append(node);
  return node;
}

// The stretch of the line that is shown: the range and the grid with room beside them.
// It does not depend on x, so the line stands still while x is dragged.
function shown(lo, hi, points) {
  const low = Math.min(lo, 0, points[0]);
  const high = Math.max(hi, 0, points[points.length - 1]);
  const room = 0.25 * (high - low);
  return { low: Math.floor((low - room) * 20) / 20, high: Math.ceil((high + room) * 20) / 20 };
}

// A labelled slider with its number beside it.
function slider(text, attributes) {
  const input = make("input", { type: "range", ...attributes });
  // The slider announces its own value; the number beside it would be read twice.
  const number = make("span", { class: "fb-number", "aria-hidden": "true" });
  const row = make("div", { class: "fb-control" }, make("label", {}, make("span", {}, text), input), number);
  return { input, number, row };
}

function controls() {
  const range = { min: -LIMIT, max: LIMIT, step: RANGE_STEP };
  const box = make("input", { type: "checkbox" });
  const label = make("label", { class: "fb-check" }, box, make("span", {}, "symmetric (2 bits or more)"));
  return {
    x: slider("value x", { step: 1 / X_PER_UNIT }),
    bits: slider("bits", { min: 1, max: 8, step: 1 }),
    lo: slider("low end", range),
    hi: slider("high end", range),
    symmetric: { input: box, row: make("div", { class: "fb-control" }, label) },
  };
}

function readout() {
  const names = { code: "code", value: "stands for", error: "error", errorSteps: "error in steps", scale: "step", maxError: "half a step" };
  const list = make("dl", { class: "fb-readout" });
  const cells = {};
  for (const [key, name] of Object.entries(names)) {
    cells[key] = make("dd", { "data-key": key });
    list.append(make("div", {}, make("dt", {}, name), cells[key]));
  }
  return { list, cells };
}

// Coordinates along the line are percentages, so nothing has to be measured or redrawn
// when the width changes, and text keeps its size on a phone.
function picture(svg, state, { low, high }) {
  const { points, scale, qmin } = grid(state.bits, state.lo, state.hi, state.symmetric);
  const at = nearest(state.x, state.bits, state.lo, state.hi, state.symmetric);
  const part = (v) => (v - low) / (high - low);
  const place = (v) => `${100 * part(v)}%`;
  const digits = Math.min(decimals(scale), 3);
  svg.replaceChildren();
  draw("rect", { class: "fb-cell", x: place(at.value - scale / 2), y: 54, width: `${(100 * scale) / (high - low)}%`, height: 24 }, svg);
  draw("line", { class: "fb-range", x1: place(state.lo), y1: 66, x2: place(state.hi), y2: 66 }, svg);
  const ticks = draw("svg", { x: 0, y: 54, width: "100%", height: 24, viewBox: "0 0 1000 24", preserveAspectRatio: "none" }, svg);
  const path = points.map((p) => `M${(1000 * part(p)).toFixed(2)} 4v16`).join("");
  draw("path", { class: "fb-tick", d: path, "stroke-width": points.length > 64 ? 0.6 : 1.2 }, ticks);
  draw("path", { class: "fb-tick", d: `M0 12H1000M${1000 * part(0)} 0v24`, "stroke-width": 2 }, ticks);
  draw("line", { class: "fb-way", x1: place(state.x), y1: 32, x2: place(at.value), y2: 66 }, svg);
  draw("circle", { class: "fb-hit", cx: place(at.value), cy: 66, r: 6 }, svg);
  draw("circle", { class: "fb-point", cx: place(state.x), cy: 28, r: 9 }, svg);
  const near = part(state.x);
  const side = near < 0.12 ? "start" : near > 0.88 ? "end" : "middle";
  draw("text", { x: place(state.x), y: 12, "text-anchor": side }, svg).textContent = `x = ${fixed(state.x, 3)}`;
  // Codes under every grid value as long as they have room, else under the outer two.
  draw("text", { x: 0, y: 94 }, svg).textContent = "code";
  const every = points.length <= 8 ? 1 : points.length - 1;
  points.forEach((p, i) => {
    if (i % every) return;
    draw("text", { x: place(p), y: 94, "text-anchor": "middle" }, svg).textContent = qmin + i;
  });
  const marks = new Set([points[0], points[points.length - 1]]);
  if (part(0) - part(points[0]) > 0.18 && part(points[points.length - 1]) - part(0) > 0.18) marks.add(0);
  for (const v of marks) draw("text", { x: place(v), y: 112, "text-anchor": "middle" }, svg).textContent = fixed(v, v === 0 ? 0 : digits);
}

function render({ model, el }) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ class: "fb-line", height: 118, role: "img", "aria-label": "The range as a thick line, the grid values as ticks, the value x, and the grid value it gets" })) svg.setAttribute(name, value);
  const control = controls();
  const { list, cells } = readout();
  const status = make("p", { role: "status" });
  const rows = make("div", { class: "fb-controls" }, ...Object.values(control).map((c) => c.row));
  const root = make("div", { class: "fb-widget", role: "group", "aria-label": "Round a value to a grid" }, svg, rows, list, status);
  let line = { low: -1, high: 1 };
  let changing = false;

  const read = () => ({
    bits: model.get("bits"), lo: model.get("lo"), hi: model.get("hi"),
    x: model.get("x"), symmetric: model.get("symmetric"),
  });

  // Everything on the screen follows from the five values of the model.
  function update() {
    const s = read();
    const { points } = grid(s.bits, s.lo, s.hi, s.symmetric);
    const at = nearest(s.x, s.bits, s.lo, s.hi, s.symmetric);
    const d = decimals(at.scale);
    line = shown(s.lo, s.hi, points);
    control.bits.input.min = s.symmetric ? 2 : 1;
    control.x.input.min = line.low;
    control.x.input.max = line.high;
    control.symmetric.input.checked = s.symmetric;
    for (const name of ["x", "bits", "lo", "hi"]) {
      control[name].input.value = s[name];
      control[name].number.textContent = name === "bits" ? s.bits : fixed(s[name], name === "x" ? 3 : 2);
    }
    picture(svg, s, line);
    for (const [key, cell] of Object.entries(cells))
      cell.textContent = key === "code" ? at.code : fixed(at[key], key === "errorSteps" ? 2 : d);
    status.textContent = sentence(s.x, s.bits, s.lo, s.hi, s.symmetric);
  }

  // Take over a change, and move what it makes impossible.
  function change(next) {
    const s = { ...read(), ...next };
    if (s.symmetric && s.bits < 2) s.bits = 2;
    if (s.lo >= s.hi) {
      const fits = (v) => Math.round(Math.min(Math.max(v, -LIMIT), LIMIT) * 100) / 100;
      if ("lo" in next) s.lo = Math.min(s.lo, LIMIT - RANGE_STEP);
      if ("hi" in next) s.hi = Math.max(s.hi, RANGE_STEP - LIMIT);
      if ("lo" in next) s.hi = fits(s.lo + RANGE_STEP);
      else s.lo = fits(s.hi - RANGE_STEP);
    }
    const { low, high } = shown(s.lo, s.hi, grid(s.bits, s.lo, s.hi, s.symmetric).points);
    s.x = Math.min(Math.max(s.x, low), high);
    changing = true;
    for (const [name, value] of Object.entries(s)) model.set(name, value);
    changing = false;
    model.save_changes();
    update();
  }

  for (const name of ["x", "bits", "lo", "hi"])
    control[name].input.addEventListener("input", (event) => change({ [name]: event.target.valueAsNumber }));
  control.symmetric.input.addEventListener("change", (event) => change({ symmetric: event.target.checked }));

  function follow(event) {
    const box = svg.getBoundingClientRect();
    const x = line.low + ((event.clientX - box.left) / box.width) * (line.high - line.low);
    change({ x: Math.round(x * X_PER_UNIT) / X_PER_UNIT });
  }
  svg.addEventListener("pointerdown", (event) => {
    svg.setPointerCapture(event.pointerId);
    follow(event);
  });
  svg.addEventListener("pointermove", (event) => {
    if (svg.hasPointerCapture(event.pointerId)) follow(event);
  });

  const watched = "bits lo hi x symmetric".split(" ").map((name) => `change:${name}`);
  // A change from Python arrives value by value, and halfway lo may lie above hi.
  const fromPython = () => {
    const s = read();
    if (!changing && s.lo <= s.hi && !(s.symmetric && s.bits < 2)) update();
  };
  for (const name of watched) model.on(name, fromPython);
  update();
  el.append(root);
  return () => watched.forEach((name) => model.off(name, fromPython));
}

export default { render };
