// What a model in use takes, part by part, and whether a device holds it.
//
// The arithmetic is the first part of this file, pure functions that a test holds equal
// to the Python in memory_calculator.py and course_utils.measure.footprint. The second
// part draws. The cards of the models and the devices travel in the widget's state.

const SETTINGS = ["model", "bits", "group_size", "zero_bits", "scale_bits", "keep_bits", "context", "batch", "kv_bits", "rank", "training", "device"];
const PARTS = { weights: "linear weights", scales: "scales, zero points", kept: "rest of the model", kv_cache: "key-value cache", adapters: "adapters" };
const ADAPTER_BYTES = 2;
const TRAINING_BYTES = 16; // weight, gradient and two moments, 4 bytes each
const NOT_COUNTED = "Not counted: activations, the CUDA context, and scales of a quantized cache.";

const sum = (list) => list.reduce((a, b) => a + b, 0);

// A group size is a number of weights; null is a whole row, 0 a whole matrix.
export function divides(card, groupSize) {
  return !groupSize || card.shapes.every(([, columns]) => columns % groupSize === 0);
}

function groups({ shapes }, groupSize) {
  if (groupSize === 0) return shapes.length;
  return sum(shapes.map(([rows, columns]) => (groupSize === null ? rows : (rows * columns) / groupSize)));
}

export function linearParameters({ layers, shapes }) {
  return layers * sum(shapes.map(([rows, columns]) => rows * columns));
}

// Bytes of the parts. `s` holds the settings by the names in Python.
export function footprint(card, s) {
  const linear = linearParameters(card);
  const grouped = s.bits < 16;
  if (grouped && !divides(card, s.group_size)) throw new RangeError("group_size does not divide the columns");
  const scales = grouped ? card.layers * groups(card, s.group_size) * (s.scale_bits + s.zero_bits) : 0;
  const perRank = card.layers * sum(card.shapes.map(([rows, columns]) => rows + columns));
  const parts = {
    weights: Math.ceil((linear * s.bits) / 8),
    scales: Math.ceil(scales / 8),
    kept: Math.ceil(((card.params - linear) * s.keep_bits) / 8),
    kv_cache: Math.ceil((card.kv * s.context * s.batch * s.kv_bits) / 8),
    adapters: perRank * s.rank * (s.training ? TRAINING_BYTES : ADAPTER_BYTES),
  };
  return { ...parts, total: sum(Object.values(parts)) };
}

// Bytes as a number of GB (10^9 bytes) or GiB (2^30 bytes).
export function amount(bytes, unit) {
  const value = bytes / (unit === "GB" ? 1e9 : 2 ** 30);
  return value.toFixed(value < 10 ? 3 : value < 100 ? 2 : 1);
}

// A whole number with commas.
function thousands(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ",");
}

export function grouping(groupSize) {
  if (groupSize === null) return "a scale per row";
  return groupSize === 0 ? "a scale per matrix" : `groups of ${groupSize}`;
}

// What the picture shows, in words. The status line of the widget.
export function sentence(card, device, s) {
  const parts = footprint(card, s);
  const linear = linearParameters(card);
  const stored = ((8 * (parts.weights + parts.scales)) / linear).toFixed(3);
  const how = s.bits < 16 ? `${s.bits}-bit weights, ${grouping(s.group_size)} (${stored} bits a weight)` : `${s.bits}-bit weights`;
  const cache = `${s.batch} × ${thousands(s.context)} tokens`;
  const adapters = s.rank ? `, adapters of rank ${s.rank}${s.training ? " in training" : ""}` : "";
  const left = device - parts.total;
  const size = `in ${device / 1e9} GB, ${amount(device, "GiB")} GiB (${s.device})`;
  const verdict = left >= 0 ? `It fits ${size}, with ${amount(left, "GB")} GB left.` : `It does not fit ${size}: ${amount(-left, "GB")} GB too much.`;
  const long = card.context && s.context > card.context ? ` The model was made for ${thousands(card.context)} tokens.` : "";
  return `${s.model}, ${how}, ${cache}${adapters}: ${amount(parts.total, "GB")} GB (${amount(parts.total, "GiB")} GiB). ${verdict}${long} ${NOT_COUNTED}`;
}

// ---------------------------------------------------------------------------------

const ROW = "row";
const SLIDERS = {
  bits: ["bits of a weight", [2, 3, 4, 5, 6, 8, 16]],
  context: ["context", [0, ...Array.from({ length: 9 }, (_, i) => 512 * 2 ** i)]],
  batch: ["batch", Array.from({ length: 8 }, (_, i) => 2 ** i)],
  rank: ["LoRA rank", [0, 4, 8, 16, 32, 64, 128, 256]],
};
const SELECTS = {
  group_size: ["weights per scale", [16, 32, 64, 128, 256, null, 0]],
  zero_bits: ["bits of a zero point", [0, 2, 3, 4, 8, 16]],
  scale_bits: ["bits of a scale", [8, 16, 32]],
  keep_bits: ["bits of the rest", [4, 8, 16, 32]],
  kv_bits: ["bits of the cache", [2, 4, 8, 16, 32]],
};

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const labelled = (text, control) => make("label", {}, make("span", {}, text), control);

// A slider over a list of values. A value from Python that is not in it joins it.
function slider(name) {
  const [text, values] = SLIDERS[name];
  let list = values;
  const input = make("input", { type: "range", min: 0, step: 1 });
  const number = make("span", { class: "fb-number", "aria-hidden": "true" });
  const row = make("div", { class: "fb-control" }, labelled(text, input), number);
  const show = (value) => {
    list = values.includes(value) ? values : [...values, value].sort((a, b) => a - b);
    input.max = list.length - 1;
    input.value = list.indexOf(value);
    input.setAttribute("aria-valuetext", value);
    number.textContent = thousands(value);
  };
  return { input, row, show, value: () => list[input.valueAsNumber] };
}

function select(text, values, word = String) {
  const input = make("select", {});
  const key = (value) => (value === null ? ROW : String(value));
  const row = make("div", { class: "fb-control fb-select" }, labelled(text, input));
  const show = (value, allowed = () => true) => {
    const list = values.includes(value) ? values : [...values, value];
    input.replaceChildren(...list.map((v) => make("option", { value: key(v), ...(allowed(v) ? {} : { disabled: "" }) }, word(v))));
    input.value = key(value);
  };
  return { input, row, show, value: () => (values.find((v) => key(v) === input.value) ?? (input.value === ROW ? null : Number(input.value))) };
}

function table() {
  const head = make("tr", {}, ...["part", "GB", "GiB", "%"].map((text) => make("th", { scope: "col" }, text)));
  const rows = {};
  const body = make("tbody", {});
  for (const [name, text] of Object.entries({ ...PARTS, total: "total" })) {
    rows[name] = ["GB", "GiB", "share"].map((key) => make("td", { "data-key": `${name}-${key}` }));
    const swatch = make("span", { class: `fb-swatch fb-part-${name}`, "aria-hidden": "true" });
    body.append(make("tr", {}, make("th", { scope: "row" }, swatch, text), ...rows[name]));
  }
  return { node: make("table", { class: "fb-parts" }, make("thead", {}, head), body), rows };
}

// The parts beside each other, as wide as their bytes, and a frame for the device.
function picture(bar, parts, device) {
  const scale = Math.max(parts.total, device);
  const percent = (bytes) => `${(100 * bytes) / scale}%`;
  let at = 0;
  bar.replaceChildren();
  for (const part of Object.keys(PARTS)) {
    if (!parts[part]) continue;
    const piece = make("span", { class: `fb-part fb-part-${part}` });
    piece.style.left = percent(at);
    piece.style.width = percent(parts[part]);
    bar.append(piece);
    at += parts[part];
  }
  const frame = make("span", { class: "fb-frame" });
  frame.style.width = percent(device);
  const mark = make("span", { class: "fb-mark" }, `${device / 1e9} GB`);
  if (device > scale / 2) mark.style.right = `${100 - (100 * device) / scale}%`;
  else mark.style.left = percent(device);
  bar.append(frame, mark);
}

function render({ model, el }) {
  const cards = model.get("cards");
  const devices = model.get("devices");
  const control = {
    model: select("model", Object.keys(cards)),
    bits: slider("bits"),
    group_size: select(...SELECTS.group_size, (v) => (v ? String(v) : v === 0 ? "one per matrix" : "one per row")),
    ...Object.fromEntries(["scale_bits", "zero_bits", "keep_bits"].map((name) => [name, select(...SELECTS[name])])),
    context: slider("context"),
    batch: slider("batch"),
    kv_bits: select(...SELECTS.kv_bits),
    rank: slider("rank"),
  };
  const box = make("input", { type: "checkbox" });
  control.training = { input: box, row: make("div", { class: "fb-control" }, make("label", { class: "fb-check" }, box, make("span", {}, "train the adapters"))), show: (v) => (box.checked = v), value: () => box.checked };
  control.device = select("device", Object.keys(devices), (name) => `${name}, ${devices[name] / 1e9} GB`);
  const bar = make("div", { class: "fb-stack", "aria-hidden": "true" });
  const { node, rows } = table();
  const status = make("p", { role: "status" });
  const controls = make("div", { class: "fb-controls" }, ...Object.values(control).map((c) => c.row));
  const root = make("div", { class: "fb-widget fb-memory", role: "group", "aria-label": "Memory of a model in use" }, controls, bar, node, status);
  const read = () => Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));
  let changing = false;

  // Everything on the screen follows from the settings in the model.
  function update() {
    const s = read();
    const card = cards[s.model];
    const device = devices[s.device];
    const parts = footprint(card, s);
    for (const name of SETTINGS) control[name].show(s[name], name === "group_size" ? (v) => divides(card, v) : undefined);
    for (const name of ["group_size", "scale_bits", "zero_bits"]) control[name].input.disabled = s.bits >= 16;
    box.disabled = s.rank === 0;
    picture(bar, parts, device);
    for (const [name, [gb, gib, share]] of Object.entries(rows)) {
      gb.textContent = amount(parts[name], "GB");
      gib.textContent = amount(parts[name], "GiB");
      share.textContent = ((100 * parts[name]) / parts.total).toFixed(1);
    }
    status.textContent = sentence(card, device, s);
  }

  // Take over a change, and move what it makes impossible.
  function change(name, value) {
    const s = { ...read(), [name]: value };
    const card = cards[s.model];
    if (!divides(card, s.group_size)) s.group_size = SELECTS.group_size[1].findLast((v) => v && v < s.group_size && divides(card, v)) ?? null;
    if (s.rank === 0) s.training = false;
    changing = true;
    for (const key of SETTINGS) model.set(key, s[key]);
    changing = false;
    model.save_changes();
    update();
  }

  for (const name of SETTINGS) {
    const { input, value } = control[name];
    input.addEventListener(input.type === "range" ? "input" : "change", () => change(name, value()));
  }

  // A change from Python arrives value by value, and halfway a group may not divide.
  const fromPython = () => {
    const s = read();
    if (!changing && (s.bits >= 16 || divides(cards[s.model], s.group_size))) update();
  };
  for (const name of SETTINGS) model.on(`change:${name}`, fromPython);
  update();
  el.append(root);
  return () => SETTINGS.forEach((name) => model.off(`change:${name}`, fromPython));
}

export default { render };
