// Block inspector: the bytes of one GGUF block, and which bits make which weight.
//
// First the arithmetic, pure functions that a test holds equal to the Python in
// block_inspector.py; then the drawing. The layouts, the bytes and the weights travel in
// the widget's state; there is no kernel behind this.

const RUNS = [[5, 32], [5, 16], [4, 4]]; // of TQ1_0: digits a byte, bytes

// A rule of codes -> [byte, lowest bit, bits, shift] of code i.
export function codePiece([start, bits, run, shift], i) {
  const chunk = run * (8 / bits);
  const within = i % chunk;
  return [start + Math.floor(i / chunk) * run + (i % run), bits * Math.floor(within / run), bits, shift];
}

// Byte and digit of weight i of TQ1_0.
export function ternaryPiece(i) {
  let [byte, first] = [0, 0];
  for (const [n, run] of RUNS) {
    if (i < first + n * run) return [byte + ((i - first) % run), 0, 8, Math.floor((i - first) / run)];
    byte += run;
    first += n * run;
  }
  return null;
}

// Where the code of weight i stands, and the scale and minimum of its part.
export function pieces(layout, i) {
  const found = { q: layout.ternary ? [ternaryPiece(i)] : layout.q.map((rule) => codePiece(rule, i)) };
  for (const name of ["sc", "mn"]) if (layout[name]) found[name] = layout[name][Math.floor(i / layout.sub)];
  return found;
}

const number = (raw, parts) => parts.reduce((sum, [b, low, n, shift]) => sum + (((raw[b] >> low) & (2 ** n - 1)) << shift), 0);

function scale(kind, code) {
  if (kind === "signed") return code > 127 ? code - 256 : code;
  if (kind === "e8m0") return 2 ** (code - 128); // half, for the table of values is doubled
  if (kind !== "e4m3") return code;
  if (code === 0 || code === 127) return 0;
  const exponent = (code >> 3) & 15;
  const mantissa = code & 7;
  return exponent ? (1 + mantissa / 8) * 2 ** (exponent - 8) : mantissa * 2 ** -10;
}

function half(raw, at) {
  if (at === null) return null;
  const code = raw[at] + 256 * raw[at + 1];
  const exponent = (code >> 10) & 31;
  const mantissa = code & 1023;
  const sign = code >> 15 ? -1 : 1;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + mantissa / 1024) * 2 ** (exponent - 15) : mantissa * 2 ** -24);
}

// Weight i of a block and what it is made of.
export function inspect(layout, raw, i) {
  const found = pieces(layout, i);
  let q = number(raw, found.q);
  if (layout.ternary) {
    const [byte, , , place] = found.q[0];
    q = (((raw[byte] * 3 ** place) % 256) * 3) >> 8;
  }
  let v = layout.values ? layout.values[q] : q - layout.zero;
  if (layout.signed) v = q > 127 ? q - 256 : q;
  const sc = found.sc ? scale(layout.sc_kind, number(raw, found.sc)) - layout.sc_zero : null;
  const mn = found.mn ? number(raw, found.mn) : null;
  const [d, m] = [half(raw, layout.d), half(raw, layout.m)];
  let value = (d ?? 1) * (sc ?? 1) * v;
  if (m !== null) value += mn === null ? m : -m * mn;
  return { value: Math.fround(value), d, sc, v, q, m, mn };
}

export function short(x) {
  return String(Number(x.toPrecision(5)));
}

// How the weight comes out of the block.
export function formula(layout, raw, i) {
  const w = inspect(layout, raw, i);
  const there = ["d", "sc", "v"].filter((name) => w[name] !== null);
  let left = there.join(" × ");
  let right = there.map((name) => short(w[name])).join(" × ");
  if (w.m !== null && w.mn === null) [left, right] = [`${left} + m`, `${right} + ${short(w.m)}`];
  else if (w.m !== null) [left, right] = [`${left} - dmin × mn`, `${right} - ${short(w.m)} × ${w.mn}`];
  return `w = ${left} = ${right} = ${short(w.value)}`;
}

const bitsOf = ([, low, n]) => (n === 1 ? `bit ${low}` : `bits ${low} to ${low + n - 1}`);
const place = (piece) => `byte ${piece[0]}${piece[2] === 8 ? "" : `, ${bitsOf(piece)}`}`;

// What is shown of a weight, in words. The status line of the widget.
export function sentence(kind, layout, raw, i, original) {
  const found = pieces(layout, i);
  const where = Object.fromEntries(Object.entries(found).map(([name, parts]) => [name, parts.map(place).join(" and ")]));
  if (layout.ternary) where.q = `byte ${found.q[0][0]}, digit ${found.q[0][3]} of base 3`;
  let text = `${kind}, weight ${i}: its code ${inspect(layout, raw, i).q} is in ${where.q}.`;
  if (where.sc) text += ` The scale of its part is in ${where.sc}.`;
  if (where.mn) text += ` The minimum is in ${where.mn}.`;
  return `${text} The weight was ${short(original)}.`;
}

export function fieldOf(layout, byte) {
  let left = byte;
  for (const [name, n] of layout.fields) {
    if (left < n) return name;
    left -= n;
  }
  return null;
}

// What the bits of a byte are for: [lowest bit, bits, text], lowest first.
export function owners(layout, byte) {
  const found = new Map();
  const note = (parts, text) => {
    for (const [b, low, n] of parts) if (b === byte && !found.has(low)) found.set(low, [low, n, text]);
  };
  if (layout.ternary && fieldOf(layout, byte) === "codes") {
    const digits = Array.from({ length: layout.size }, (_, i) => i).filter((i) => ternaryPiece(i)[0] === byte);
    return [[0, 8, `digits of base 3: the codes of weights ${digits.join(", ")}`]];
  }
  for (const name of ["sc", "mn"]) (layout[name] ?? []).forEach((parts, k) => note(parts, `${name === "sc" ? "scale" : "minimum"} of part ${k}`));
  for (let i = 0; i < layout.size; i += 1) for (const rule of layout.q) note([codePiece(rule, i)], `code of weight ${i}`);
  const whole = [...found.values()].sort((a, b) => a[0] - b[0]);
  return whole.length ? whole : [[0, 8, `a half of the float16 number ${fieldOf(layout, byte)}`]];
}

export function byteSentence(layout, raw, byte) {
  const parts = owners(layout, byte).map(([low, n, text]) => (n === 8 ? text : `${bitsOf([0, low, n])}: ${text}`));
  return `Byte ${byte}, 0x${raw[byte].toString(16).toUpperCase().padStart(2, "0")}, field "${fieldOf(layout, byte)}": ${parts.join("; ")}.`;
}

// ---------------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const bytesOf = (hex) => hex.match(/../g).map((pair) => parseInt(pair, 16));

// The bytes as buttons, field by field. One is a tab stop, and the arrow keys move it.
function grid(row, layout, raw, show) {
  const buttons = [];
  const groups = layout.fields.map(([name, n]) => {
    const cells = make("div", { class: "fb-cells" });
    for (let k = 0; k < n; k += 1) {
      const at = buttons.length;
      const hex = raw[at].toString(16).toUpperCase().padStart(2, "0");
      const button = make("button", { tabindex: at ? -1 : 0, "aria-label": `byte ${at}, ${name}, ${hex}` }, hex);
      button.addEventListener("focus", () => {
        for (const other of buttons) other.tabIndex = other === button ? 0 : -1;
        show(at);
      });
      button.addEventListener("mouseenter", () => show(at));
      buttons.push(button);
      cells.append(button);
    }
    return make("div", {}, make("span", { "aria-hidden": "true" }, `${name}, ${n} bytes`), cells);
  });
  row.replaceChildren(...groups);
  return buttons;
}

function render({ model, el }) {
  const kinds = Object.keys(model.get("blocks"));
  const choice = make("select", {}, ...kinds.map((name) => make("option", {}, name)));
  const slider = make("input", { type: "range", min: 0 });
  const count = make("span", { class: "fb-number" });
  const line = make("p", { class: "fb-formula" });
  const status = make("p", { role: "status" });
  const row = make("div", { class: "fb-bytes", role: "toolbar", "aria-label": "Bytes of the block; arrow keys move" });
  const about = make("p", { class: "fb-about", "aria-live": "polite" });
  const root = make(
    "div", { class: "fb-blocks", role: "group", "aria-label": "The bytes of a block" },
    make("div", { class: "fb-top" }, make("label", {}, "type ", choice), make("label", {}, "weight ", slider, count)),
    line, status, row, about,
  );
  let shown = "";
  let buttons = [];

  const now = () => {
    const kind = model.get("kind");
    return { kind, layout: model.get("layouts")[kind], raw: bytesOf(model.get("blocks")[kind]), i: model.get("weight") };
  };

  function tell(byte) {
    const { layout, raw } = now();
    about.textContent = byteSentence(layout, raw, byte);
  }

  function update() {
    const { kind, layout, raw, i } = now();
    if (!layout || i >= layout.size) return; // a change from Python arrives value by value
    if (kind !== shown) {
      buttons = grid(row, layout, raw, tell);
      about.textContent = "Point at a byte, or move to one with the arrow keys, to see what its bits are for.";
    }
    shown = kind;
    choice.value = kind;
    slider.max = layout.size - 1;
    slider.value = i;
    count.textContent = i;
    const marked = new Map();
    for (const [name, parts] of Object.entries(pieces(layout, i))) for (const [byte] of parts) marked.set(byte, name);
    for (const at of [layout.d, layout.m]) if (at !== null) [at, at + 1].forEach((byte) => marked.set(byte, "d"));
    buttons.forEach((button, byte) => (button.dataset.part = marked.get(byte) ?? ""));
    line.textContent = formula(layout, raw, i);
    status.textContent = sentence(kind, layout, raw, i, model.get("weights")[i]);
  }

  function change(next) {
    for (const [name, value] of Object.entries(next)) model.set(name, value);
    model.save_changes();
    update();
  }

  choice.addEventListener("change", () => {
    const { size } = model.get("layouts")[choice.value];
    change({ weight: Math.min(model.get("weight"), size - 1), kind: choice.value });
  });
  slider.addEventListener("input", () => change({ weight: Number(slider.value) }));
  row.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(event.target);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (!buttons[to]) return;
    event.preventDefault();
    buttons[to].focus();
  });

  for (const name of ["kind", "weight"]) model.on(`change:${name}`, update);
  update();
  el.append(root);
  return () => ["kind", "weight"].forEach((name) => model.off(`change:${name}`, update));
}

export default { render };
