// Pareto explorer: every stored method on two axes that the reader chooses.
//
// The arithmetic is the first part of this file, pure functions that a test holds equal
// to the Python in pareto_explorer.py. The second part draws. The points travel in the
// widget's state; there is no kernel behind this.

// A number in at most 6 significant digits, as Python's format "g" writes it.
export function short(v) {
  const [head, power] = v.toExponential(5).split("e");
  const e = Number(power);
  if (e < -4 || e >= 6) return `${Number(head)}e${e < 0 ? "-" : "+"}${String(Math.abs(e)).padStart(2, "0")}`;
  return String(Number(v.toPrecision(6)));
}

const beats = (p, q, x, y) => p[x] <= q[x] && p[y] <= q[y] && (p[x] < q[x] || p[y] < q[y]);

// For each point whether no other point beats it.
export function front(points, x, y) {
  return points.map((q) => !points.some((p) => beats(p, q, x, y)));
}

// The points of a kind in the order of the cost, then of the label.
export function shown(points, x, kind) {
  const chosen = points.filter((p) => kind === "all" || p.kind === kind);
  return chosen.sort((p, q) => p[x] - q[x] || (p.label < q.label ? -1 : 1));
}

// What the picture shows, in words. The status line of the widget.
export function sentence(points, x, y, kind, index, costs, losses) {
  const chosen = shown(points, x, kind);
  if (!chosen.length) return "Nothing is measured yet.";
  const good = front(chosen, x, y);
  const i = Math.min(index, chosen.length - 1);
  const point = chosen[i];
  const n = good.filter(Boolean).length;
  const head = `${point.label}: ${short(point[x])} ${costs[x]}, ${losses[y]} ${short(point[y])}. ${n} of ${chosen.length} are beaten by none.`;
  if (good[i]) return `${head} This is one of them.`;
  return `${head} This one is beaten by ${chosen.find((p) => beats(p, point, x, y)).label}.`;
}

// ---------------------------------------------------------------------------------

const BOX = { width: 640, height: 320, left: 62, right: 16, top: 14, bottom: 46 };
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const label = (x, y, anchor, text) => draw("text", { x, y, "text-anchor": anchor, fill: "currentColor", "font-size": 14 }, text);

// A logarithmic axis over the values, and where its ticks stand.
function axis(values, from, to) {
  // What takes no time at all stands at the left end.
  const positive = values.filter((v) => v > 0);
  const low = Math.log10(Math.min(...positive)) - 0.08;
  const high = Math.log10(Math.max(...positive)) + 0.08;
  const place = (v) => (v > 0 ? from + ((to - from) * (Math.log10(v) - low)) / (high - low) : from);
  const steps = high - low > 2.2 ? [1] : high - low > 0.8 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 6, 8];
  const ticks = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    for (const step of steps) {
      const v = Number((step * 10 ** power).toPrecision(6));
      if (Math.log10(v) >= low && Math.log10(v) <= high) ticks.push(v);
    }
  }
  return { place, ticks };
}

const MARKS = { weights: "circle", "weights and inputs": "square", file: "diamond" };

function mark(kind, x, y, r, style) {
  if (MARKS[kind] === "circle") return draw("circle", { cx: x, cy: y, r, ...style });
  const side = { x: x - r, y: y - r, width: 2 * r, height: 2 * r, ...style };
  if (MARKS[kind] === "diamond") side.transform = `rotate(45 ${x} ${y})`;
  return draw("rect", side);
}

function picture(svg, chosen, s, costs, losses, pick) {
  const { width, height, left, right, top, bottom } = BOX;
  svg.replaceChildren();
  if (!chosen.length) return;
  const across = axis(chosen.map((p) => p[s.x]), left, width - right);
  const up = axis(chosen.map((p) => p[s.y]), height - bottom, top);
  for (const v of across.ticks) {
    svg.append(draw("line", { x1: across.place(v), x2: across.place(v), y1: top, y2: height - bottom, stroke: "currentColor", opacity: 0.15 }));
    svg.append(label(across.place(v), height - bottom + 17, "middle", short(v)));
  }
  for (const v of up.ticks) {
    svg.append(draw("line", { x1: left, x2: width - right, y1: up.place(v), y2: up.place(v), stroke: "currentColor", opacity: 0.15 }));
    svg.append(label(left - 6, up.place(v) + 5, "end", short(v)));
  }
  svg.append(label(width - right, height - 8, "end", costs[s.x]));
  svg.append(label(left, height - 8, "start", `up: ${losses[s.y]}`));
  const good = front(chosen, s.x, s.y);
  const corners = chosen.filter((_, i) => good[i]).flatMap((p, i, all) => {
    const at = [across.place(p[s.x]), up.place(p[s.y])];
    return i ? [[at[0], up.place(all[i - 1][s.y])], at] : [at];
  });
  svg.append(draw("polyline", { points: corners.map((c) => c.join(",")).join(" "), fill: "none", "stroke-width": 2, style: "stroke: var(--fb-accent)" }));
  chosen.forEach((p, i) => {
    const style = good[i] ? { style: "fill: var(--fb-accent)", stroke: "currentColor" } : { fill: "none", stroke: "currentColor", "stroke-width": 1.5 };
    const [px, py] = [across.place(p[s.x]), up.place(p[s.y])];
    if (i === s.index) svg.append(draw("circle", { cx: px, cy: py, r: 12, fill: "none", stroke: "currentColor", "stroke-width": 2.5 }));
    const dot = mark(p.kind, px, py, 5.5, { ...style, "pointer-events": "all" });
    dot.addEventListener("click", () => pick(i));
    svg.append(dot);
  });
}

function rows(body, chosen, s) {
  const good = front(chosen, s.x, s.y);
  body.replaceChildren(
    ...chosen.map((p, i) => make("tr", {}, make("th", { scope: "row" }, p.label), ...[short(p[s.x]), short(p[s.y]), good[i] ? "yes" : "no"].map((t) => make("td", {}, t)))),
  );
}

function render({ model, el }) {
  const [points, costs, losses, kinds] = ["points", "costs", "losses", "kinds"].map((name) => model.get(name));
  const select = (words) => make("select", {}, ...Object.entries(words).map(([value, text]) => make("option", { value }, text)));
  const [across, up, kind] = [costs, losses, kinds].map(select);
  const method = make("input", { type: "range", min: 0, step: 1 });
  const number = make("span", { class: "fb-number", "aria-hidden": "true" });
  const named = (text, control) => make("div", { class: "fb-control fb-select" }, make("label", {}, make("span", {}, text), control));
  const controls = make(
    "div",
    { class: "fb-controls" },
    named("across", across),
    named("up", up),
    named("kind", kind),
    make("div", { class: "fb-control" }, make("label", {}, make("span", {}, "method"), method), number),
  );
  const svg = draw("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, width: "100%", "aria-hidden": "true" });
  const legend = make("p", {}, "Circle: weights only. Square: weights and inputs. Diamond: a file of llama.cpp. Filled: beaten by none. Both axes are logarithmic.");
  const status = make("p", { role: "status" });
  const heads = ["across", "up"].map(() => make("th", { scope: "col" }));
  const body = make("tbody", {});
  const head = make("tr", {}, make("th", { scope: "col" }, "method"), ...heads, make("th", { scope: "col" }, "beaten by none"));
  const table = make("table", { class: "fb-parts" }, make("thead", {}, head), body);
  const details = make("details", {}, make("summary", {}, "as a table"), table);
  const root = make("div", { class: "fb-widget fb-pareto", role: "group", "aria-label": "Methods compared" }, controls, svg, status, legend, details);

  // Everything on the screen follows from the four values in the model.
  function update() {
    const s = Object.fromEntries(["x", "y", "kind", "index"].map((name) => [name, model.get(name)]));
    const chosen = shown(points, s.x, s.kind);
    s.index = Math.min(s.index, Math.max(chosen.length - 1, 0));
    [across.value, up.value, kind.value] = [s.x, s.y, s.kind];
    method.max = Math.max(chosen.length - 1, 0);
    method.value = s.index;
    method.setAttribute("aria-valuetext", chosen[s.index]?.label ?? "none");
    number.textContent = chosen.length ? s.index + 1 : 0;
    picture(svg, chosen, s, costs, losses, (i) => change("index", i));
    heads[0].textContent = costs[s.x];
    heads[1].textContent = losses[s.y];
    rows(body, chosen, s);
    status.textContent = sentence(points, s.x, s.y, s.kind, s.index, costs, losses);
  }

  function change(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  across.addEventListener("change", () => change("x", across.value));
  up.addEventListener("change", () => change("y", up.value));
  kind.addEventListener("change", () => change("kind", kind.value));
  method.addEventListener("input", () => change("index", method.valueAsNumber));
  const names = ["x", "y", "kind", "index"];
  for (const name of names) model.on(`change:${name}`, update);
  update();
  el.append(root);
  return () => names.forEach((name) => model.off(`change:${name}`, update));
}

export default { render };
