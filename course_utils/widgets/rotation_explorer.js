// Rotation explorer: turn two channels of an input and see the step of their grid.
//
// The arithmetic is the first part of this file, pure functions that a test holds equal
// to the Python in rotation_explorer.py. The second part draws. The points travel in
// the widget's state; there is no kernel behind this.

const SETTINGS = ["angle", "bits"];
const MOST_DEGREES = 90;

// Round to nearest, ties to even, as numpy and torch do. Math.round sends ties up.
function roundHalfEven(v) {
  const below = Math.floor(v);
  const rest = v - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

// The points turned about 0.
export function turn(pairs, angle) {
  const c = Math.cos((angle * Math.PI) / 180);
  const s = Math.sin((angle * Math.PI) / 180);
  return pairs.map(([a, b]) => [c * a - s * b, s * a + c * b]);
}

// Peak, step and error of the turned points on one symmetric grid.
export function turned(pairs, angle, bits) {
  const v = turn(pairs, angle).flat();
  const qmax = 2 ** (bits - 1) - 1;
  const largest = v.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const step = largest / qmax;
  let squares = 0;
  let errors = 0;
  for (const x of v) {
    const error = roundHalfEven(x / step) * step - x;
    squares += x * x;
    errors += error * error;
  }
  return { peak: largest / Math.sqrt(squares / v.length), step, rmse: Math.sqrt(errors / v.length) };
}

// The whole degree with the least error, the smallest of equals.
export function bestAngle(pairs, bits) {
  let best = 0;
  for (let angle = 1; angle <= MOST_DEGREES; angle += 1) {
    if (turned(pairs, angle, bits).rmse < turned(pairs, best, bits).rmse) best = angle;
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
export function sentence(pairs, angle, bits) {
  const now = turned(pairs, angle, bits);
  const start = turned(pairs, 0, bits);
  const d = decimals(now.step);
  return (
    `Turned by ${angle} degrees, ${bits} bits: the largest value is ${fixed(now.peak, 2)} times the root mean square, ` +
    `the step ${fixed(now.step, d)}, the root mean squared error ${fixed(now.rmse, d + 1)}. ` +
    `As it is they are ${fixed(start.peak, 2)}, ${fixed(start.step, d)} and ${fixed(start.rmse, d + 1)}.`
  );
}

// ---------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
const ACCENT = "fill: var(--fb-accent)";

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

function picture(box, label, style) {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = { class: "fb-line", viewBox: box, role: "img", "aria-label": label, style: `cursor: default; touch-action: auto; margin: 0.25rem auto; ${style}` };
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value);
  return svg;
}

// The points, the square that the grid covers, and its lines.
function scatter(svg, pairs, angle, now, bits) {
  const reach = Math.max(...pairs.map(([a, b]) => Math.hypot(a, b)));
  const at = (v) => (96 * v) / reach;
  const qmax = 2 ** (bits - 1) - 1;
  const edge = at(now.step * qmax);
  svg.replaceChildren();
  for (let q = -qmax; q <= qmax; q += 1) {
    const v = at(q * now.step);
    const style = { stroke: "currentColor", "stroke-width": q === 0 ? 1 : 0.4, opacity: q === 0 ? 1 : 0.5 };
    draw("line", { x1: v, x2: v, y1: -edge, y2: edge, ...style }, svg);
    draw("line", { y1: v, y2: v, x1: -edge, x2: edge, ...style }, svg);
  }
  draw("rect", { x: -edge, y: -edge, width: 2 * edge, height: 2 * edge, fill: "none", stroke: "currentColor", "stroke-width": 1.5 }, svg);
  for (const [a, b] of turn(pairs, angle)) draw("circle", { cx: at(a).toFixed(2), cy: (-at(b)).toFixed(2), r: 2.2, style: ACCENT }, svg);
}

// The error at every angle, and where the points are now.
function curve(svg, errors, angle) {
  const top = 1.1 * Math.max(...errors);
  const x = (degrees) => 4 + (392 * degrees) / MOST_DEGREES;
  const y = (e) => 84 - (78 * e) / top;
  svg.replaceChildren();
  draw("path", { d: "M4 84H396", stroke: "currentColor", "stroke-width": 1 }, svg);
  draw("path", { d: `M${errors.map((e, i) => `${x(i).toFixed(1)} ${y(e).toFixed(2)}`).join("L")}`, fill: "none", stroke: "currentColor", "stroke-width": 1.5 }, svg);
  draw("circle", { cx: x(angle), cy: y(errors[angle]), r: 5, style: ACCENT, stroke: "currentColor", "stroke-width": 1.5 }, svg);
  for (const [degrees, anchor] of [[0, "start"], [45, "middle"], [90, "end"]]) {
    draw("text", { x: x(degrees), y: 100, "text-anchor": anchor }, svg).textContent = `${degrees}\u00b0`;
  }
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

function render({ model, el }) {
  const pairs = model.get("pairs");
  const control = { angle: slider("angle", { min: 0, max: MOST_DEGREES }), bits: slider("bits", { min: 2, max: 8 }) };
  const points = picture("-100 -100 200 200", "Tokens as points of two channels, turned, in the square that their grid covers", "max-width: 20rem; overflow: hidden");
  const line = picture("0 0 400 104", "Root mean squared error against the angle", "max-width: 30rem");
  const status = make("p", { role: "status" });
  const rows = make("div", { class: "fb-controls" }, ...Object.values(control).map((c) => c.row));
  const buttons = make(
    "div", {},
    button("as it is", () => change({ angle: 0 })),
    button("least error", () => change({ angle: bestAngle(pairs, model.get("bits")) })),
  );
  const caption = make("p", {}, "Error against the angle:");
  const root = make("div", { class: "fb-widget", role: "group", "aria-label": "Turn two channels and see their grid" }, points, rows, buttons, caption, line, status);
  let changing = false;
  let drawn = {};

  // The curve of all angles changes with the bits alone.
  function errors(bits) {
    if (drawn.bits !== bits) {
      const all = [];
      for (let angle = 0; angle <= MOST_DEGREES; angle += 1) all.push(turned(pairs, angle, bits).rmse);
      drawn = { bits, all };
    }
    return drawn.all;
  }

  function update() {
    const [angle, bits] = SETTINGS.map((name) => model.get(name));
    control.angle.input.value = angle;
    control.bits.input.value = bits;
    control.angle.number.textContent = `${angle}\u00b0`;
    control.angle.input.setAttribute("aria-valuetext", `${angle} degrees`);
    control.bits.number.textContent = bits;
    scatter(points, pairs, angle, turned(pairs, angle, bits), bits);
    curve(line, errors(bits), angle);
    status.textContent = sentence(pairs, angle, bits);
  }

  function change(next) {
    changing = true;
    for (const [name, value] of Object.entries(next)) model.set(name, value);
    changing = false;
    model.save_changes();
    update();
  }

  for (const [name, c] of Object.entries(control)) c.input.addEventListener("input", () => change({ [name]: c.input.valueAsNumber }));
  const fromPython = () => {
    if (!changing) update();
  };
  for (const name of SETTINGS) model.on(`change:${name}`, fromPython);
  update();
  el.append(root);
  return () => SETTINGS.forEach((name) => model.off(`change:${name}`, fromPython));
}

export default { render };
