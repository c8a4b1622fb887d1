// Codebook view: pairs of real weights, a grid, and a codebook that leaves it.
//
// The arithmetic is the first part of this file, pure functions that a test holds equal
// to the Python in codebook_view.py. The second part draws. The pairs travel in the
// widget's state; there is no kernel behind this.

const SETTINGS = ["bits", "turns"];

// 2 ** bits values on either axis, row by row from the lowest.
export function grid(pairs, bits) {
  let low = Infinity;
  let high = -Infinity;
  for (const pair of pairs) {
    for (const v of pair) {
      low = Math.min(low, v);
      high = Math.max(high, v);
    }
  }
  const step = (high - low) / (2 ** bits - 1);
  const values = Array.from({ length: 2 ** bits }, (_, k) => low + k * step);
  return values.flatMap((y) => values.map((x) => [x, y]));
}

// The number of the nearest point of each pair, the first of equals; the sum of squares.
export function nearest(pairs, points) {
  const codes = [];
  let total = 0;
  for (const [x, y] of pairs) {
    let least = Infinity;
    let code = 0;
    points.forEach(([a, b], k) => {
      const square = (x - a) * (x - a) + (y - b) * (y - b);
      if (square < least) [least, code] = [square, k];
    });
    codes.push(code);
    total += least;
  }
  return { codes, total };
}

// Every point at the mean of its pairs; one without pairs stays.
export function moved(pairs, points, codes) {
  const sums = points.map(() => [0, 0, 0]);
  pairs.forEach(([x, y], i) => {
    const sum = sums[codes[i]];
    sum[0] += x;
    sum[1] += y;
    sum[2] += 1;
  });
  return points.map((point, k) => {
    const [a, b, n] = sums[k];
    return n ? [a / n, b / n] : point;
  });
}

// The codebook after so many turns of k-means from the grid.
export function view(pairs, bits, turns) {
  let points = grid(pairs, bits);
  let { codes, total } = nearest(pairs, points);
  for (let turn = 0; turn < turns; turn += 1) {
    points = moved(pairs, points, codes);
    ({ codes, total } = nearest(pairs, points));
  }
  const rmse = Math.sqrt(total / (2 * pairs.length));
  return { points, codes, rmse, unused: points.length - new Set(codes).size };
}

// What the picture shows, in words. The status line of the widget.
export function sentence(pairs, bits, turns) {
  const now = view(pairs, bits, turns);
  const before = view(pairs, bits, 0);
  const head =
    `${now.points.length} points for ${pairs.length} pairs, ${bits} bit${bits === 1 ? "" : "s"} a weight, ` +
    `${turns} turn${turns === 1 ? "" : "s"} of k-means. Root mean squared error ${now.rmse.toFixed(4)}; ` +
    `that of the grid is ${before.rmse.toFixed(4)}.`;
  return `${head} ${now.unused} of the points have no pair.`;
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

// Pairs as dots, a thread from each to its point, the codebook as squares upon them.
function picture(svg, pairs, now) {
  const all = pairs.flat();
  const low = all.reduce((a, b) => Math.min(a, b));
  const high = all.reduce((a, b) => Math.max(a, b));
  const at = (v) => 12 + (376 * (v - low)) / (high - low);
  const place = ([x, y]) => [at(x).toFixed(1), (400 - at(y)).toFixed(1)];
  svg.replaceChildren();
  for (const [x1, y1, x2, y2] of [[at(0), 0, at(0), 400], [0, 400 - at(0), 400, 400 - at(0)]]) {
    draw("line", { x1, y1, x2, y2, stroke: "currentColor", "stroke-width": 1, opacity: 0.35 }, svg);
  }
  const threads = pairs.map((pair, i) => `M${place(pair)}L${place(now.points[now.codes[i]])}`);
  draw("path", { d: threads.join(""), stroke: "currentColor", "stroke-width": 0.7, opacity: 0.45, fill: "none" }, svg);
  const dots = pairs.map((pair) => `M${place(pair)}h0`);
  draw("path", { d: dots.join(""), stroke: "currentColor", "stroke-width": 4, "stroke-linecap": "round" }, svg);
  const used = new Set(now.codes);
  now.points.forEach((point, k) => {
    const [x, y] = place(point).map(Number);
    const fill = used.has(k) ? "fill: var(--fb-accent)" : "fill: transparent";
    draw("rect", { x: x - 5, y: y - 5, width: 10, height: 10, style: fill, stroke: "currentColor", "stroke-width": 1.5 }, svg);
  });
}

// A labelled slider with its number beside it, which its own value would say twice.
function slider(text, attributes) {
  const input = make("input", { type: "range", step: 1, ...attributes });
  const number = make("span", { class: "fb-number", "aria-hidden": "true" });
  return { input, number, row: make("div", { class: "fb-control" }, make("label", {}, make("span", {}, text), input), number) };
}

function render({ model, el }) {
  const pairs = model.get("pairs");
  const control = {
    bits: slider("bits a weight", { min: 1, max: 3 }),
    turns: slider("turns of k-means", { min: 0, max: 20 }),
  };
  const svg = document.createElementNS(SVG, "svg");
  const style = "display: block; width: 100%; max-width: 25rem; height: auto; margin: 0.25rem 0";
  const label = "Pairs of weights as dots, each tied to its point of the codebook; filled squares are points in use, empty ones have no pair";
  for (const [name, value] of Object.entries({ viewBox: "0 0 400 400", role: "img", "aria-label": label, style })) svg.setAttribute(name, value);
  const status = make("p", { role: "status" });
  const rows = make("div", { class: "fb-controls" }, ...Object.values(control).map((c) => c.row));
  const root = make("div", { class: "fb-widget", role: "group", "aria-label": "A codebook for pairs of weights" }, svg, rows, status);

  const read = () => Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));

  function update() {
    const { bits, turns } = read();
    for (const [name, c] of Object.entries(control)) {
      c.input.value = model.get(name);
      c.number.textContent = model.get(name);
    }
    picture(svg, pairs, view(pairs, bits, turns));
    status.textContent = sentence(pairs, bits, turns);
  }

  for (const [name, c] of Object.entries(control)) {
    c.input.addEventListener("input", () => {
      model.set(name, c.input.valueAsNumber);
      model.save_changes();
    });
  }
  for (const name of SETTINGS) model.on(`change:${name}`, update);
  update();
  el.append(root);
  return () => SETTINGS.forEach((name) => model.off(`change:${name}`, update));
}

export default { render };
