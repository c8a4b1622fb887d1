// AWQ's alpha on a slider: the errors that the search found, and the factors.
//
// First the arithmetic, pure functions that a test holds equal to the Python in
// alpha_grid.py and course_utils.methods.awq; then the drawing.

const SMALLEST = 1e-4; // of a factor, as in methods.awq

// s = s_X^alpha, divided so that largest times smallest is 1.
export function factors(magnitudes, alpha) {
  const s = magnitudes.map((m) => Math.max(m ** alpha, SMALLEST));
  const middle = Math.sqrt(Math.max(...s) * Math.min(...s));
  return s.map((v) => v / middle);
}

// What the picture shows, in words. The status line of the widget.
export function sentence({ places, place, step }) {
  const { name, magnitudes, errors } = places[place];
  const last = errors.length - 1;
  const s = factors(magnitudes, step / last);
  const least = Math.min(...errors);
  const percent = (e) => (100 * e).toFixed(0);
  return `${name}, alpha ${(step / last).toFixed(2)}, step ${step} of ${last}. Output error: ${percent(errors[step])} % of plain rounding. The least is ${percent(least)} %, at alpha ${(errors.indexOf(least) / last).toFixed(2)}. The loudest channel is multiplied by ${s[0].toFixed(2)}, the quietest by ${s.at(-1).toFixed(2)}.`;
}

// ---------------------------------------------------------------------------------

const WIDTH = 640, HEIGHT = 190, LEFT = 52, BOTTOM = 34, TOP = 12;

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

function line(svg, y, label) {
  svg.append(shape("line", { x1: LEFT, x2: WIDTH, y1: y, y2: y, class: "fb-grid" }));
  svg.append(shape("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, label));
}

// Errors over alpha; the step of the slider is filled.
function drawErrors(svg, errors, step) {
  const top = Math.max(1, ...errors);
  const x = (k) => LEFT + 10 + (k * (WIDTH - LEFT - 20)) / (errors.length - 1);
  const y = (e) => TOP + (1 - e / top) * (HEIGHT - TOP - BOTTOM);
  svg.replaceChildren();
  for (const e of [0, 1]) line(svg, y(e), `${100 * e} %`);
  errors.forEach((e, k) => svg.append(shape("circle", { cx: x(k), cy: y(e), r: k === step ? 6 : 4, class: k === step ? "fb-input" : "fb-input fb-before" })));
  svg.append(shape("text", { x: LEFT, y: HEIGHT - 6 }, "output error over alpha, from 0 to 1; plain rounding is 100 %"));
}

// Magnitudes and factors on one logarithmic axis that stands still.
function drawChannels(svg, magnitudes, alpha) {
  const all = magnitudes.concat(factors(magnitudes, 1)).filter((v) => v > 0);
  const low = Math.floor(Math.log10(Math.min(...all))), high = Math.ceil(Math.log10(Math.max(...all)));
  const x = (j) => LEFT + 10 + (j * (WIDTH - LEFT - 20)) / Math.max(magnitudes.length - 1, 1);
  const y = (v) => TOP + ((high - Math.log10(v)) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  svg.replaceChildren();
  for (let e = low; e <= high; e += 1) line(svg, y(10 ** e), e < 0 ? (10 ** e).toFixed(-e) : String(10 ** e));
  magnitudes.forEach((m, j) => m > 0 && svg.append(shape("circle", { cx: x(j), cy: y(m), r: 4, class: "fb-input" })));
  factors(magnitudes, alpha).forEach((s, j) => svg.append(shape("rect", { x: x(j) - 3.5, y: y(s) - 3.5, width: 7, height: 7, class: "fb-weight" })));
  svg.append(shape("text", { x: LEFT, y: HEIGHT - 6 }, "channels, loudest input first"));
}

function legend() {
  const entry = (mark, text) => {
    const svg = shape("svg", { viewBox: "0 0 12 12", width: 12, height: 12 });
    svg.append(mark);
    return make("span", {}, svg, text);
  };
  const circle = shape("circle", { cx: 6, cy: 6, r: 4, class: "fb-input" });
  const square = shape("rect", { x: 2.5, y: 2.5, width: 7, height: 7, class: "fb-weight" });
  return make("div", { class: "fb-legend", "aria-hidden": "true" }, entry(circle, "mean |input|"), entry(square, "factor s"));
}

function render({ model, el }) {
  const places = model.get("places");
  const select = make("select", {}, ...places.map(({ name }, i) => make("option", { value: i }, name)));
  const slider = make("input", { type: "range", min: 0, step: 1 });
  const number = make("span", { class: "fb-number", "aria-hidden": "true" });
  const alphaRow = make("div", { class: "fb-control" }, make("label", {}, make("span", {}, "alpha"), slider), number);
  const placeRow = make("div", { class: "fb-control" }, make("label", {}, make("span", {}, "layers"), select));
  const picture = () => shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "fb-channels", "aria-hidden": "true" });
  const [errors, channels] = [picture(), picture()];
  const status = make("p", { role: "status" });
  const controls = make("div", { class: "fb-controls" }, alphaRow, placeRow);
  const root = make("div", { class: "fb-widget fb-alpha", role: "group", "aria-label": "AWQ's alpha" }, controls, errors, channels, legend(), status);

  function update() {
    const [place, step] = [model.get("place"), model.get("step")];
    const shown = places[place];
    const last = shown.errors.length - 1;
    slider.max = last;
    slider.value = step;
    slider.setAttribute("aria-valuetext", (step / last).toFixed(2));
    number.textContent = (step / last).toFixed(2);
    select.value = place;
    drawErrors(errors, shown.errors, step);
    drawChannels(channels, shown.magnitudes, step / last);
    status.textContent = sentence({ places, place, step });
  }

  function set(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  slider.addEventListener("input", () => set("step", slider.valueAsNumber));
  select.addEventListener("change", () => set("place", Number(select.value)));
  const changes = ["change:step", "change:place"];
  changes.forEach((name) => model.on(name, update));
  update();
  el.append(root);
  return () => changes.forEach((name) => model.off(name, update));
}

export default { render };
