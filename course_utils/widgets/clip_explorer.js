// Clip explorer: move the ends of a range and see the error split in two.
//
// The arithmetic is the first part of this file, pure functions that a test holds equal
// to the Python in clip_explorer.py. The second part draws. The weights travel in the
// widget's state; there is no kernel behind this.

const SMALLEST = 5; // percent of the data's range
const BINS = 64;
const SETTINGS = ["bits", "low_percent", "high_percent", "symmetric"];

// Round to nearest, ties to even, as numpy and torch do. Math.round sends ties up.
function roundHalfEven(v) {
  const below = Math.floor(v);
  const rest = v - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

// The grid that covers lo to hi, widened to hold 0.
export function grid(bits, lo, hi, symmetric) {
  if (!Number.isInteger(bits) || bits < 1 || bits > 8) throw new RangeError("bits must be 1 to 8");
  if (symmetric && bits < 2) throw new RangeError("a symmetric grid needs at least 2 bits");
  const half = 2 ** (bits - 1);
  const qmin = symmetric ? 1 - half : 0;
  const qmax = symmetric ? half - 1 : 2 ** bits - 1;
  let low = Math.min(lo, 0);
  let high = Math.max(hi, 0);
  if (symmetric) {
    high = Math.max(-low, high);
    low = -high;
  }
  const scale = (high - low) / (qmax - qmin) || 1;
  return { qmin, qmax, scale, zeroPoint: roundHalfEven(qmin - low / scale) };
}

const least = (values) => values.reduce((a, b) => Math.min(a, b), 0);
const most = (values) => values.reduce((a, b) => Math.max(a, b), 0);

// The error of the values on the grid of a part of their range: inside and beyond it.
export function split(values, bits, lowPercent, highPercent, symmetric) {
  const lo = (least(values) * lowPercent) / 100;
  const hi = (most(values) * highPercent) / 100;
  const { qmin, qmax, scale, zeroPoint } = grid(bits, lo, hi, symmetric);
  let rounding = 0;
  let clipping = 0;
  let clipped = 0;
  for (const v of values) {
    const wanted = roundHalfEven(v / scale) + zeroPoint;
    const code = Math.min(Math.max(wanted, qmin), qmax);
    const error = (code - zeroPoint) * scale - v;
    if (code === wanted) rounding += error * error;
    else {
      clipping += error * error;
      clipped += 1;
    }
  }
  const total = rounding + clipping;
  return {
    rounding, clipping, clipped, total, n: values.length, scale, zeroPoint,
    low: (qmin - zeroPoint) * scale, high: (qmax - zeroPoint) * scale,
    rmse: Math.sqrt(total / values.length),
  };
}

// The percent of both ends that has the least error, the largest of equals.
export function bestPercent(values, bits, symmetric) {
  let best = 100;
  let error = Infinity;
  for (let percent = 100; percent >= SMALLEST; percent -= 1) {
    const { total } = split(values, bits, percent, percent, symmetric);
    if (total < error) [best, error] = [percent, total];
  }
  return best;
}

// Decimals that show the step with three digits.
function decimals(scale) {
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
export function sentence(values, bits, lowPercent, highPercent, symmetric) {
  const now = split(values, bits, lowPercent, highPercent, symmetric);
  const whole = split(values, bits, 100, 100, symmetric);
  const d = decimals(now.scale);
  let head =
    `${bits} bits, grid from ${fixed(now.low, d)} to ${fixed(now.high, d)} in steps of ${fixed(now.scale, d)}, ` +
    `zero point ${now.zeroPoint}. ${now.clipped} of ${now.n} weights lie beyond it. ` +
    `Root mean squared error ${fixed(now.rmse, d + 1)}`;
  if (now.total) {
    const share = (100 * now.rounding) / now.total;
    head += `, ${fixed(share, 0)} % of its square from rounding and ${fixed(100 - share, 0)} % from clipping`;
  }
  return `${head}. With the data's own range it is ${fixed(whole.rmse, d + 1)}.`;
}

// ---------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
const ACCENT = "fill: var(--fb-accent)";
const HATCH = "fb-clip-hatch";

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

function picture(height, label) {
  const svg = document.createElementNS(SVG, "svg");
  const style = "cursor: default; touch-action: auto; margin: 0.25rem 0";
  for (const [name, value] of Object.entries({ class: "fb-line", height, role: "img", "aria-label": label, style })) svg.setAttribute(name, value);
  return svg;
}

function counts(values, low, high) {
  const bins = new Array(BINS).fill(0);
  for (const v of values) bins[Math.min(BINS - 1, Math.floor(((v - low) / (high - low)) * BINS))] += 1;
  return bins;
}

// Bars, the grid as ticks below them, and a shade over what lies beyond the grid. Along
// the line everything is in percent, so nothing is measured when the width changes.
function histogram(svg, values, now, digits) {
  const low = least(values);
  const high = most(values);
  const place = (v) => 2 + (96 * (v - low)) / (high - low);
  const inside = (v) => Math.min(Math.max(place(v), 0), 100);
  svg.replaceChildren();
  const bins = counts(values, low, high);
  const top = Math.max(...bins);
  bins.forEach((count, i) => {
    if (!count) return;
    const h = Math.max(1.5, (96 * count) / top);
    draw("rect", { x: `${2 + (96 * i) / BINS}%`, y: 100 - h, width: `${88 / BINS}%`, height: h, style: ACCENT }, svg);
  });
  for (const [from, to] of [[0, inside(now.low - now.scale / 2)], [inside(now.high + now.scale / 2), 100]]) {
    if (to > from) draw("rect", { x: `${from}%`, y: 0, width: `${to - from}%`, height: 100, fill: "currentColor", opacity: 0.16 }, svg);
  }
  const size = Math.round((now.high - now.low) / now.scale);
  for (let i = 0; i <= size; i += 1) {
    const v = now.low + i * now.scale;
    const zero = Math.abs(v) < now.scale / 2;
    if (place(v) < 0 || place(v) > 100) continue;
    draw("line", { x1: `${place(v)}%`, x2: `${place(v)}%`, y1: 102, y2: zero ? 120 : 112, stroke: "currentColor", "stroke-width": zero ? 2.5 : size > 64 ? 0.5 : 1.2 }, svg);
  }
  draw("text", { x: `${place(0)}%`, y: 133, "text-anchor": "middle" }, svg).textContent = "0";
  const far = (v) => Math.abs(place(v) - place(0)) > 12;
  if (far(low)) draw("text", { x: 0, y: 133 }, svg).textContent = fixed(low, digits);
  if (far(high)) draw("text", { x: "100%", y: 133, "text-anchor": "end" }, svg).textContent = fixed(high, digits);
}

// The squared error of every ratio, clipping upon rounding, and where the range is now.
function curve(svg, parts, s, now) {
  const top = 1.15 * Math.max(parts[parts.length - 1].total, Math.min(...parts.map((p) => p.total)), now.total) || 1;
  const x = (percent) => (1000 * (percent - SMALLEST)) / (100 - SMALLEST);
  const y = (e) => 4 + 86 * (1 - Math.min(e, top) / top);
  const line = (key) => parts.map((p) => `${x(p.percent).toFixed(1)} ${y(key(p)).toFixed(2)}`);
  const total = line((p) => p.total);
  const rounding = line((p) => p.rounding);
  svg.replaceChildren();
  const inner = draw("svg", { x: 0, y: 0, width: "100%", height: 92, viewBox: "0 0 1000 92", preserveAspectRatio: "none" }, svg);
  draw("path", { d: `M0 90L${rounding.join("L")}L1000 90Z`, style: ACCENT, opacity: 0.75 }, inner);
  draw("path", { d: `M${total.join("L")}L${[...rounding].reverse().join("L")}Z`, fill: `url(#${HATCH})` }, inner);
  draw("path", { d: `M${total.join("L")}`, fill: "none", stroke: "currentColor", "stroke-width": 1.5, "vector-effect": "non-scaling-stroke" }, inner);
  draw("path", { d: "M0 90H1000", stroke: "currentColor", "stroke-width": 1, "vector-effect": "non-scaling-stroke" }, inner);
  const pattern = draw("pattern", { id: HATCH, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, draw("defs", {}, svg));
  draw("rect", { width: 2, height: 6, fill: "currentColor" }, pattern);
  const at = (s.low_percent + s.high_percent) / 2;
  draw("circle", { cx: `${x(at) / 10}%`, cy: y(now.total), r: 6, style: ACCENT, stroke: "currentColor", "stroke-width": 1.5 }, svg);
  draw("text", { x: 0, y: 108 }, svg).textContent = `${SMALLEST} %`;
  draw("text", { x: "50%", y: 108, "text-anchor": "middle" }, svg).textContent = "part of the range";
  draw("text", { x: "100%", y: 108, "text-anchor": "end" }, svg).textContent = "100 %";
}

// A labelled slider with its number beside it, which its own value would say twice.
function slider(text, attributes) {
  const input = make("input", { type: "range", step: 1, ...attributes });
  const number = make("span", { class: "fb-number", "aria-hidden": "true" });
  return { input, number, row: make("div", { class: "fb-control" }, make("label", {}, make("span", {}, text), input), number) };
}

function button(text, act) {
  const style = "background: transparent; border: 1px solid currentColor; border-radius: 0.25rem; color: inherit; cursor: pointer; font: inherit; min-height: 2.25rem; padding: 0.2rem 0.8rem; margin: 0.25rem 0.5rem 0.25rem 0";
  const node = make("button", { type: "button", style }, text);
  node.addEventListener("click", act);
  return node;
}

function key() {
  const swatch = (style) => make("span", { class: "fb-swatch", "aria-hidden": "true", style });
  const hatch = "background: repeating-linear-gradient(45deg, currentColor 0 1.5px, transparent 1.5px 4px); margin-left: 1rem";
  return make("p", {}, swatch("background: var(--fb-accent); opacity: 0.75"), "rounding", swatch(hatch), "clipping: squared error against the part of the range");
}

function render({ model, el }) {
  const values = model.get("values");
  const box = make("input", { type: "checkbox" });
  const percent = { min: SMALLEST, max: 100 };
  const control = {
    low_percent: slider("low end", percent),
    high_percent: slider("high end", percent),
    bits: slider("bits", { min: 1, max: 8 }),
  };
  const check = make("div", { class: "fb-control" }, make("label", { class: "fb-check" }, box, make("span", {}, "symmetric (2 bits or more)")));
  const bars = picture(138, "Histogram of the weights, the grid values as ticks below, a shade over what lies beyond the grid");
  const line = picture(112, "Squared error against the part of the range that the grid covers, rounding and clipping upon each other");
  const status = make("p", { role: "status" });
  const rows = make("div", { class: "fb-controls" }, ...Object.values(control).map((c) => c.row), check);
  const both = (value) => change({ low_percent: value, high_percent: value });
  const buttons = make(
    "div", {},
    button("the data's range", () => both(100)),
    button("least error", () => both(bestPercent(values, model.get("bits"), model.get("symmetric")))),
  );
  const root = make("div", { class: "fb-widget", role: "group", "aria-label": "Clip a range and see the error" }, bars, rows, buttons, line, key(), status);
  let changing = false;
  let drawn = {};

  const read = () => Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));

  // The curve of all ratios changes with bits and symmetry alone.
  function curves(s) {
    if (drawn.bits !== s.bits || drawn.symmetric !== s.symmetric) {
      const parts = [];
      for (let p = SMALLEST; p <= 100; p += 1) parts.push({ percent: p, ...split(values, s.bits, p, p, s.symmetric) });
      drawn = { bits: s.bits, symmetric: s.symmetric, parts };
    }
    return drawn.parts;
  }

  function update() {
    const s = read();
    const now = split(values, s.bits, s.low_percent, s.high_percent, s.symmetric);
    for (const [name, c] of Object.entries(control)) {
      c.input.value = s[name];
      c.number.textContent = name === "bits" ? s.bits : `${s[name]} %`;
      if (name !== "bits") c.input.setAttribute("aria-valuetext", `${s[name]} %`);
    }
    control.bits.input.min = s.symmetric ? 2 : 1;
    box.checked = s.symmetric;
    histogram(bars, values, now, Math.min(decimals(now.scale), 3));
    curve(line, curves(s), s, now);
    status.textContent = sentence(values, s.bits, s.low_percent, s.high_percent, s.symmetric);
  }

  // Take over a change, and move what it makes impossible.
  function change(next) {
    const s = { ...read(), ...next };
    if (s.symmetric && s.bits < 2) s.bits = 2;
    changing = true;
    for (const name of SETTINGS) model.set(name, s[name]);
    changing = false;
    model.save_changes();
    update();
  }

  for (const [name, c] of Object.entries(control)) c.input.addEventListener("input", () => change({ [name]: c.input.valueAsNumber }));
  box.addEventListener("change", () => change({ symmetric: box.checked }));
  const fromPython = () => {
    if (!changing && !(model.get("symmetric") && model.get("bits") < 2)) update();
  };
  for (const name of SETTINGS) model.on(`change:${name}`, fromPython);
  update();
  el.append(root);
  return () => SETTINGS.forEach((name) => model.off(`change:${name}`, fromPython));
}

export default { render };
