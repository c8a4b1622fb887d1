// The largest activations of a model, by place, layer and channel.
//
// The arithmetic is the first part of this file, pure functions that a test holds equal
// to the Python in outlier_explorer.py. The second part draws. The sweep of the model
// travels in the widget's state.

const LARGEST_CODE = 127;

function thousands(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ",");
}

// A magnitude with about three digits, and commas from a thousand on.
export function readable(x) {
  if (x >= 1000) return thousands(Math.floor(x + 0.5));
  return x.toFixed(x >= 100 ? 0 : x >= 10 ? 1 : 2);
}

// How many values of an 8-bit grid lie within the middle channel's range.
export function levels(largest, middle) {
  return 2 * Math.floor((LARGEST_CODE * middle) / largest + 0.5) + 1;
}

// The largest channels and the middle of one layer, with or without first tokens.
export function chosen(entry, rest) {
  return rest ? { pairs: entry.rest, middle: entry.rest_median } : { pairs: entry.channels, middle: entry.median };
}

// What the picture shows, in words. The status line of the widget.
export function sentence(entry, place, layer, rest, channels) {
  const { pairs, middle } = chosen(entry, rest);
  const [[channel, largest], ...others] = pairs;
  const also = others.map(([c, v]) => `channel ${c} with ${readable(v)}`).join(" and ");
  const text = `In ${place} layer ${layer}${rest ? ", first tokens left out" : ""}, channel ${channel} has the largest value, ${readable(largest)}, then come ${also}. The channel in the middle reaches ${readable(middle)}: the largest is ${readable(largest / middle)} times that. One step of 8 bits for all would be ${readable(largest / LARGEST_CODE)}, and the channel in the middle would have ${levels(largest, middle)} of ${2 * LARGEST_CODE + 1} values.`;
  if (rest) return text;
  return `${text} ${entry.over} of ${channels} ${entry.over === 1 ? "channel reaches" : "channels reach"} 6.`;
}

// ---------------------------------------------------------------------------------

const NAMES = { stream: "residual stream", attention: "into attention", output: "into its output projection", mlp: "into the MLP", down: "into its last projection" };
const BOX = { width: 640, height: 250, left: 58, right: 12, top: 14, bottom: 34 };
const SVG = "http://www.w3.org/2000/svg";

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function draw(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const label = (x, y, anchor, text) => draw("text", { x, y, "text-anchor": anchor, fill: "currentColor", "font-size": 14 }, text);

// Both lines over all layers on a logarithmic axis, and a mark at the chosen layer.
function picture(svg, entries, layer, rest) {
  const largest = entries.map((e) => chosen(e, rest).pairs[0][1]);
  const middle = entries.map((e) => chosen(e, rest).middle);
  const low = Math.floor(Math.log10(Math.min(...middle)));
  const high = Math.max(Math.ceil(Math.log10(Math.max(...largest))), low + 1);
  const { width, height, left, right, top, bottom } = BOX;
  const x = (i) => left + ((width - left - right) * i) / Math.max(entries.length - 1, 1);
  const y = (v) => height - bottom - ((height - top - bottom) * (Math.log10(v) - low)) / (high - low);
  const line = (values, style) => draw("polyline", { points: values.map((v, i) => `${x(i)},${y(v)}`).join(" "), fill: "none", "stroke-width": 2.5, ...style });
  svg.replaceChildren();
  for (let power = low; power <= high; power += 1) {
    svg.append(draw("line", { x1: left, x2: width - right, y1: y(10 ** power), y2: y(10 ** power), stroke: "currentColor", opacity: 0.25 }));
    svg.append(label(left - 6, y(10 ** power) + 5, "end", power < 0 ? String(10 ** power) : thousands(10 ** power)));
  }
  for (let i = 0; i < entries.length; i += 5) svg.append(label(x(i), height - 12, "middle", String(i)));
  svg.append(label(width - right, height - 12, "end", "layer"));
  svg.append(draw("line", { x1: x(layer), x2: x(layer), y1: top, y2: height - bottom, stroke: "currentColor", "stroke-dasharray": "2 3" }));
  svg.append(line(middle, { stroke: "currentColor", "stroke-dasharray": "7 4" }));
  svg.append(line(largest, { style: "stroke: var(--fb-accent)" }));
  svg.append(draw("circle", { cx: x(layer), cy: y(largest[layer]), r: 5.5, stroke: "currentColor", style: "fill: var(--fb-accent)" }));
  svg.append(draw("circle", { cx: x(layer), cy: y(middle[layer]), r: 4.5, stroke: "currentColor", fill: "currentColor" }));
}

function legend() {
  const sample = (style) => {
    const svg = draw("svg", { width: 34, height: 10, "aria-hidden": "true" });
    svg.append(draw("line", { x1: 0, x2: 34, y1: 5, y2: 5, "stroke-width": 2.5, ...style }));
    return svg;
  };
  const row = make("p", {});
  row.append(sample({ style: "stroke: var(--fb-accent)" }), " largest channel, ");
  row.append(sample({ stroke: "currentColor", "stroke-dasharray": "7 4" }), " channel in the middle (logarithmic axis)");
  return row;
}

function render({ model, el }) {
  const sweep = model.get("sweep");
  const channels = model.get("channels");
  const places = model.get("places");
  const site = make("select", {}, ...Object.keys(places).map((key) => make("option", { value: key }, NAMES[key] ?? key)));
  const layer = make("input", { type: "range", min: 0, step: 1 });
  const number = make("span", { class: "fb-number", "aria-hidden": "true" });
  const rest = make("input", { type: "checkbox" });
  const controls = make(
    "div",
    { class: "fb-controls" },
    make("div", { class: "fb-control fb-select" }, make("label", {}, make("span", {}, "place"), site)),
    make("div", { class: "fb-control" }, make("label", {}, make("span", {}, "layer"), layer), number),
    make("div", { class: "fb-control" }, make("label", { class: "fb-check" }, rest, make("span", {}, "leave the first token out"))),
  );
  const svg = draw("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, width: "100%", "aria-hidden": "true" });
  const status = make("p", { role: "status" });
  const root = make("div", { class: "fb-widget fb-outliers", role: "group", "aria-label": "Largest activations by layer" }, controls, svg, legend(), status);

  // Everything on the screen follows from the three values in the model.
  function update() {
    const s = { site: model.get("site"), layer: model.get("layer"), rest: model.get("rest") };
    const entries = sweep[s.site];
    site.value = s.site;
    layer.max = entries.length - 1;
    layer.value = s.layer;
    layer.setAttribute("aria-valuetext", `layer ${s.layer}`);
    number.textContent = s.layer;
    rest.checked = s.rest;
    picture(svg, entries, s.layer, s.rest);
    status.textContent = sentence(entries[s.layer], places[s.site], s.layer, s.rest, channels[s.site]);
  }

  function change(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  site.addEventListener("change", () => change("site", site.value));
  layer.addEventListener("input", () => change("layer", layer.valueAsNumber));
  rest.addEventListener("change", () => change("rest", rest.checked));
  const names = ["site", "layer", "rest"];
  for (const name of names) model.on(`change:${name}`, update);
  update();
  el.append(root);
  return () => names.forEach((name) => model.off(`change:${name}`, update));
}

export default { render };
