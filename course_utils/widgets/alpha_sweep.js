// SmoothQuant's alpha on a slider: channels of a real layer, and the whole model.
//
// First the arithmetic, pure functions that a test holds equal to the Python in
// alpha_sweep.py and course_utils.methods.smoothquant; then the drawing.

// s_j = max|X_j|^alpha / max|W_j|^(1 - alpha); 1 where a channel has no range.
export function factors(act, w, alpha) {
  return act.map((x, j) => (x > 0 && w[j] > 0 ? x ** alpha / w[j] ** (1 - alpha) : 1));
}

export function channels(act, w, alpha) {
  const s = factors(act, w, alpha);
  return [act.map((x, j) => x / s[j]), w.map((v, j) => v * s[j])];
}

// The largest value over the median.
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  const middle = (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2;
  return middle ? sorted.at(-1) / middle : 0;
}

function loss(found) {
  if (!found) return "not measured at this setting";
  const [ratio, low, high] = ["ratio", "low", "high"].map((key) => found[key].toFixed(3));
  return `perplexity ${found.ppl.toFixed(2)}, ${ratio} times float32 (${low} to ${high}), KL ${found.kl.toFixed(4)} nats`;
}

// What the picture shows, in words. The status line of the widget.
export function sentence({ act, w, results, alpha }) {
  const [x1, w1] = channels(act, w, alpha).map((row) => spread(row).toFixed(1));
  const [x0, w0] = [act, w].map((row) => spread(row).toFixed(1));
  const name = `token_norms_${Math.round(100 * alpha)}`;
  return `alpha ${alpha.toFixed(1)}. Whole model in W8A8, one scale per token, smoothed behind norms: ${loss(results[name])}. Without smoothing: ${loss(results.token_plain)}. In the layer shown, largest over median channel: inputs ${x1} (before ${x0}), weights ${w1} (before ${w0}).`;
}

// ---------------------------------------------------------------------------------

const WIDTH = 640, HEIGHT = 220, LEFT = 46, BOTTOM = 34, TOP = 12;

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function shape(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// Powers of ten that hold every value at every alpha, so that the axis stands still.
function decades(act, w) {
  const all = [0, 0.5, 1].flatMap((alpha) => channels(act, w, alpha).flat()).concat(act, w).filter((v) => v > 0);
  return [Math.floor(Math.log10(Math.min(...all))), Math.ceil(Math.log10(Math.max(...all)))];
}

function draw(svg, act, w, alpha, [low, high]) {
  const x = (j) => LEFT + 10 + (j * (WIDTH - LEFT - 20)) / Math.max(act.length - 1, 1);
  const y = (v) => TOP + ((high - Math.log10(v)) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  svg.replaceChildren();
  for (let e = low; e <= high; e += 1) {
    svg.append(shape("line", { x1: LEFT, x2: WIDTH, y1: y(10 ** e), y2: y(10 ** e), class: "fb-grid" }));
    svg.append(shape("text", { x: LEFT - 6, y: y(10 ** e) + 4, "text-anchor": "end" }, String(10 ** e < 1 ? (10 ** e).toFixed(-e) : 10 ** e)));
  }
  svg.append(shape("text", { x: LEFT, y: HEIGHT - 6 }, "channels, largest input first"));
  const [x1, w1] = channels(act, w, alpha);
  const points = (values, kind) =>
    values.forEach((v, j) => {
      if (!(v > 0)) return;
      if (kind.includes("weight")) svg.append(shape("rect", { x: x(j) - 3.5, y: y(v) - 3.5, width: 7, height: 7, class: kind }));
      else svg.append(shape("circle", { cx: x(j), cy: y(v), r: 4, class: kind }));
    });
  points(act, "fb-input fb-before");
  points(w, "fb-weight fb-before");
  points(x1, "fb-input");
  points(w1, "fb-weight");
}

function legend() {
  const entry = (kind, text) => {
    const svg = shape("svg", { viewBox: "0 0 12 12", width: 12, height: 12 });
    svg.append(kind.includes("weight") ? shape("rect", { x: 2.5, y: 2.5, width: 7, height: 7, class: kind }) : shape("circle", { cx: 6, cy: 6, r: 4, class: kind }));
    return make("span", {}, svg, text);
  };
  return make("div", { class: "fb-legend", "aria-hidden": "true" }, entry("fb-input", "largest input / s"), entry("fb-weight", "largest weight × s"), entry("fb-input fb-before", "before"));
}

function render({ model, el }) {
  const [act, w] = [model.get("act"), model.get("w")];
  const axis = decades(act, w);
  const slider = make("input", { type: "range", min: 0, max: 10, step: 1 });
  const number = make("span", { class: "fb-number", "aria-hidden": "true" });
  const alphaRow = make("div", { class: "fb-control" }, make("label", {}, make("span", {}, "alpha"), slider), number);
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "fb-channels", "aria-hidden": "true" });
  const status = make("p", { role: "status" });
  const controls = make("div", { class: "fb-controls" }, alphaRow);
  const root = make("div", { class: "fb-widget fb-alpha", role: "group", "aria-label": "SmoothQuant's alpha" }, controls, svg, legend(), status);

  function update() {
    const alpha = model.get("alpha");
    slider.value = Math.round(10 * alpha);
    slider.setAttribute("aria-valuetext", alpha.toFixed(1));
    number.textContent = alpha.toFixed(1);
    draw(svg, act, w, alpha, axis);
    status.textContent = sentence({ act, w, results: model.get("results"), alpha });
  }

  slider.addEventListener("input", () => {
    model.set("alpha", slider.valueAsNumber / 10);
    model.save_changes();
  });
  model.on("change:alpha", update);
  update();
  el.append(root);
  return () => model.off("change:alpha", update);
}

export default { render };
