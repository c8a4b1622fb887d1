// The bits of a number format: switch one, see what the code stands for.
//
// First the arithmetic, pure functions that a test holds equal to the Python in
// bit_layout.py and course_utils.formats; then the drawing. It needs no kernel.

// Exponent bits, mantissa bits, bias, and which codes are not numbers:
//   ieee    the highest exponent: infinity where the mantissa is 0, else NaN
//   fn      all exponent and mantissa bits set: NaN; no infinity
//   fnuz    the code of -0: NaN; no infinity
//   finite  none
// A format without a mantissa has no sign, zero or subnormals: its code is an exponent.
export const FLOATS = {
  FP32: [8, 23, 127, "ieee"], TF32: [8, 10, 127, "ieee"], BF16: [8, 7, 127, "ieee"], FP16: [5, 10, 15, "ieee"],
  E5M2: [5, 2, 15, "ieee"], E4M3FN: [4, 3, 7, "fn"], E5M2FNUZ: [5, 2, 16, "fnuz"], E4M3FNUZ: [4, 3, 8, "fnuz"],
  E3M2: [3, 2, 3, "finite"], E2M3: [2, 3, 1, "finite"], E2M1: [2, 1, 1, "finite"], E8M0: [8, 0, 127, "fn"],
};
export const INTEGERS = { INT8: 8, INT4: 4 };
const half = [0, 1 / 192, 2 / 3, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 4];
export const CODEBOOKS = {
  NF4: [
    -1, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.091050036, 0, 0.0795803,
    0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1,
  ].map(Math.fround),
  FP4_BNB: [...half, ...half.map((v) => -v)].map(Math.fround),
};
const NAMES = [FLOATS, INTEGERS, CODEBOOKS].flatMap(Object.keys);

// A row of FLOATS with what follows from it. Codes without the sign bit count up with
// the value; `top` is the one of the largest finite value.
function float(name) {
  const [E, M, bias, specials] = FLOATS[name];
  const sign = 2 ** (E + M);
  const top = sign - 1 - { ieee: 2 ** M, fn: 1, fnuz: 0, finite: 0 }[specials];
  const inf = specials === "ieee" ? top + 1 : null;
  const nan = { ieee: top + 1 + 2 ** (M - 1), fn: top + 1, fnuz: sign, finite: null }[specials];
  return { E, M, bias, specials, sign, top, inf, nan, least: M ? 1 : 0 };
}

export function width(name) {
  if (!(name in FLOATS)) return INTEGERS[name] ?? 4;
  const [E, M] = FLOATS[name];
  return E + M + (M ? 1 : 0);
}

// Ties go to even, as in torch. Math.round sends them up.
function roundHalfEven(v) {
  const up = Math.round(v);
  return up - v === 0.5 && up % 2 ? up - 1 : up;
}

// Sign, exponent, mantissa. A division, because bit operators stop at 31 bits.
export function fields(name, code) {
  const { E, M, sign } = float(name);
  return [Math.floor(code / sign), Math.floor(code / 2 ** M) % 2 ** E, code % 2 ** M];
}

export function decode(name, code) {
  if (name in INTEGERS) return code < 2 ** (INTEGERS[name] - 1) ? code : code - 2 ** INTEGERS[name];
  if (name in CODEBOOKS) return CODEBOOKS[name][code];
  const { M, bias, specials, sign, top, inf, nan, least } = float(name);
  const [negative, exponent, mantissa] = fields(name, code);
  const m = code % sign;
  if ((specials === "fnuz" && code === nan) || (m > top && m !== inf)) return NaN;
  // Subnormals have no leading 1, and the exponent of the smallest normal value.
  const significand = mantissa + (exponent < least ? 0 : 2 ** M);
  const value = m === inf ? Infinity : significand * 2 ** (Math.max(exponent, least) - bias - M);
  return negative ? -value : value;
}

// The code of the value nearest to x; null if the format has none for it.
export function encode(name, x, saturate) {
  if (name in INTEGERS) return encodeInteger(INTEGERS[name], x, saturate);
  if (name in CODEBOOKS) return encodeTable(CODEBOOKS[name], x);
  const { M, bias, specials, sign, top, inf, nan, least } = float(name);
  const a = Math.abs(x);
  if (Number.isNaN(x) || (!M && (x < 0 || (a === 0 && !saturate)))) return nan;
  const e = Math.min(Math.max(Math.floor(Math.log2(a)), least - bias), 999);
  // Counted in units of the last place, the significand is the code. One at the next
  // power of two carries into the exponent, which mends a rounded logarithm too.
  const units = roundHalfEven(a / 2 ** (e - M));
  let m = (e + bias - least) * 2 ** M + (M ? units : Math.max(units, 1) - 1);
  if (m > top) m = saturate ? top : inf ?? nan;
  if (m === null || m === sign) return m;
  const negative = specials === "fnuz" ? x < 0 && m > 0 : x < 0 || Object.is(x, -0);
  return m + (negative && M ? sign : 0);
}

function encodeInteger(bits, x, saturate) {
  const top = 2 ** (bits - 1) - 1;
  const whole = roundHalfEven(x) + 0; // no -0
  const inside = Math.min(Math.max(whole, -1 - top), top);
  if (Number.isNaN(x) || (!saturate && whole !== inside)) return null;
  return inside < 0 ? inside + 2 ** bits : inside;
}

// Compared in float32. A tie goes to the lower value.
function encodeTable(values, x) {
  if (Number.isNaN(x)) return null;
  const order = values.map((_, i) => i).sort((i, j) => values[i] - values[j]);
  const beyond = (k) => Math.fround(x) > Math.fround(values[order[k]] + values[order[k + 1]]) / 2;
  let k = 0;
  while (k < values.length - 1 && beyond(k)) k += 1;
  return order[k];
}

// The values next to the one of a code, and the steps to them. null where there is
// none; infinity is a neighbour where a format has it, with no step to it.
export function neighbours(name, code) {
  const value = decode(name, code);
  const [below, above] = Number.isNaN(value) ? [null, null] : beside(name, code, value);
  const step = (a, b) => (a === null || b === null || !Number.isFinite(b - a) ? null : b - a);
  return { below, above, stepDown: step(below, value), stepUp: step(value, above) };
}

function beside(name, code, value) {
  if (!(name in FLOATS)) {
    const values = Array.from({ length: 2 ** width(name) }, (_, i) => decode(name, i) + 0).sort((a, b) => a - b);
    return [values.findLast((v) => v < value) ?? null, values.find((v) => v > value) ?? null];
  }
  const { M, sign, top, inf } = float(name);
  const last = inf ?? top;
  // Codes count up with the value; the negative ones mirror them.
  const at = code < sign ? code : sign - code;
  const of = (k) => (k < (M ? -last : 0) || k > last ? null : decode(name, k < 0 ? sign - k : k));
  return [of(at - 1), of(at + 1)];
}

export function kind(name, code) {
  const value = decode(name, code);
  if (Number.isNaN(value)) return "NaN";
  if (value === 0) return "zero";
  if (name in INTEGERS) return "integer";
  if (name in CODEBOOKS) return "table entry";
  if (!Number.isFinite(value)) return "infinity";
  return fields(name, code)[1] < float(name).least ? "subnormal" : "normal";
}

// A number as text, with all digits that tell it apart.
export function written(v) {
  if (v === null) return "none";
  return Object.is(v, -0) ? "-0" : String(v).replace("Infinity", "infinity");
}

export function hex(name, code) {
  return `0x${code.toString(16).toUpperCase().padStart(Math.ceil(width(name) / 4), "0")}`;
}

// How the value comes out of the fields.
export function formula(name, code) {
  const value = written(decode(name, code));
  if (name in CODEBOOKS) return `entry ${code} of the table = ${value}`;
  if (name in INTEGERS) return code > value ? `${code} - ${2 ** INTEGERS[name]} = ${value}` : `the code itself, ${value}`;
  if (!Number.isFinite(decode(name, code))) return `a code set aside for ${value}`;
  const { M, bias, least } = float(name);
  const [negative, exponent, mantissa] = fields(name, code);
  const power = `${negative ? "-" : ""}2^(${Math.max(exponent, least)} - ${bias})`;
  if (!M) return `${power} = ${value}`;
  const part = `${mantissa}/${2 ** M}`;
  return `${power} × ${exponent ? `(1 + ${part})` : part} = ${value}`;
}

// The number in a text, null if it is none.
export function parsed(text) {
  const plain = text.trim().toLowerCase();
  if (/^[+-]?nan$/.test(plain)) return NaN;
  if (!/^[+-]?(inf|infinity|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)$/.test(plain)) return null;
  return Number(plain.replace(/inf.*/, "Infinity"));
}

// What is shown, in words. The status line of the widget.
export function sentence(name, code, typed) {
  const value = decode(name, code);
  const { below, above } = neighbours(name, code);
  const text = `${name} code ${hex(name, code)} stands for ${written(value)} (${kind(name, code)}). Next below: ${written(below)}. Next above: ${written(above)}.`;
  const x = parsed(typed);
  if (x === null) return text;
  // Four digits: the last ones are rounding errors of the difference.
  const error = value - x;
  const end = Number.isFinite(error) ? `, and the error is ${written(Number(error.toPrecision(4)))}` : "";
  return `${text} ${written(x)} was typed${end}.`;
}

// ---------------------------------------------------------------------------------

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// The fields of a format, highest first: title, number of bits, and what a bit is.
function layout(name) {
  const n = width(name);
  if (name in INTEGERS) return [["two's complement", n, (bit) => `counts ${bit === n - 1 ? "-" : ""}${2 ** bit}`]];
  if (name in CODEBOOKS) return [["index", n]];
  const [E, M] = FLOATS[name];
  return [["sign", n - E - M], ["exponent", E], ["mantissa", M]].filter((part) => part[1]);
}

// The bits as toggle buttons. One of them is a tab stop, and the arrow keys move it.
function bitButtons(row, name, toggle) {
  const buttons = [];
  row.replaceChildren();
  let bit = width(name);
  for (const [title, count, meaning = () => title] of layout(name)) {
    const cells = make("div", { class: "fb-cells" });
    for (let i = 0; i < count; i += 1) {
      bit -= 1;
      const here = bit;
      const button = make("button", { tabindex: buttons.length ? -1 : 0, "aria-label": `bit ${here}, ${meaning(here)}` });
      button.addEventListener("click", () => toggle(here));
      button.addEventListener("focus", () => buttons.forEach((b) => (b.tabIndex = b === button ? 0 : -1)));
      buttons.push(button);
      cells.append(button);
    }
    row.append(make("div", {}, make("span", { "aria-hidden": "true" }, count > 1 ? `${title}, ${count} bits` : title), cells));
  }
  return buttons;
}

function render({ model, el }) {
  const choice = make("select", {}, ...NAMES.map((name) => make("option", {}, name)));
  const input = make("input", { autocomplete: "off", spellcheck: "false" });
  const box = make("input", { type: "checkbox" });
  const form = make(
    "form", { class: "fb-answer" },
    make("label", {}, "format ", choice), make("label", {}, "value ", input), make("button", {}, "encode"), make("label", {}, box, " saturate"),
  );
  const row = make("div", { class: "fb-bits", role: "toolbar", "aria-label": "Bits, highest first; arrow keys move" });
  const moves = ["below", "above"].map((side) => [side, make("button", {}, `next ${side}`)]);
  const meaning = make("p", { class: "fb-formula" });
  const list = make("dl", { class: "fb-readout" });
  const status = make("p", { role: "status" });
  const root = make(
    "div", { class: "fb-widget fb-layout", role: "group", "aria-label": "The bits of a number format" },
    form, row, make("div", { class: "fb-answer" }, ...moves.map((move) => move[1])), meaning, list, status,
  );
  const names = ["format", "code", "typed", "saturate"];
  const read = () => Object.fromEntries(names.map((name) => [name, model.get(name)]));
  let shown = "";
  let buttons = [];
  let changing = false;

  // Everything on the screen follows from the four values of the model.
  function update() {
    const { format, code, typed, saturate } = read();
    if (format !== shown) buttons = bitButtons(row, format, toggle);
    shown = format;
    buttons.forEach((button, i) => {
      const on = Math.floor(code / 2 ** (buttons.length - 1 - i)) % 2;
      button.dataset.bit = on;
      button.setAttribute("aria-pressed", on === 1);
    });
    const n = neighbours(format, code);
    const numbers = { value: decode(format, code), "next below": n.below, "step below": n.stepDown, "next above": n.above, "step above": n.stepUp };
    const cells = [["code", hex(format, code)], ["kind", kind(format, code)], ...Object.entries(numbers).map(([name, v]) => [name, written(v)])];
    list.replaceChildren(...cells.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text))));
    for (const [side, button] of moves) button.setAttribute("aria-disabled", n[side] === null);
    choice.value = format;
    input.value = typed;
    input.removeAttribute("aria-invalid");
    box.checked = saturate;
    meaning.textContent = formula(format, code);
    status.textContent = sentence(format, code, typed);
  }

  function change(next) {
    changing = true;
    for (const [name, value] of Object.entries(next)) model.set(name, value);
    changing = false;
    model.save_changes();
    update();
  }

  function toggle(bit) {
    const { code } = read();
    change({ code: code + (Math.floor(code / 2 ** bit) % 2 ? -1 : 1) * 2 ** bit, typed: "" });
  }

  // The typed value, else the one on the screen, by the changed settings.
  function recode(next) {
    const s = { ...read(), ...next };
    const x = s.typed ? parsed(s.typed) : decode(model.get("format"), s.code);
    const code = x === null ? null : encode(s.format, x, s.saturate);
    if (code !== null) return change({ ...s, code });
    if (!("typed" in next)) return change({ ...s, code: 0, typed: "" });
    input.setAttribute("aria-invalid", "true");
    status.textContent =
      x === null
        ? "That is not a number; write for example 0.1, -3e4, inf or nan."
        : `${s.format} has no code for ${written(x)}${Number.isNaN(x) ? "" : " unless it saturates"}.`;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    recode({ typed: input.value.trim() });
  });
  choice.addEventListener("change", () => recode({ format: choice.value }));
  box.addEventListener("change", () => (read().typed ? recode : change)({ saturate: box.checked }));
  for (const [side, button] of moves)
    button.addEventListener("click", () => {
      const { format, code } = read();
      const value = neighbours(format, code)[side];
      if (value !== null) change({ code: encode(format, value, Number.isFinite(value)), typed: "" });
    });
  row.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(event.target);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (!buttons[to]) return;
    event.preventDefault();
    buttons[to].focus();
  });

  // A change from Python arrives value by value, and halfway the code may be too long.
  const fromPython = () => {
    if (!changing && model.get("code") < 2 ** width(model.get("format"))) update();
  };
  for (const name of names) model.on(`change:${name}`, fromPython);
  update();
  el.append(root);
  return () => names.forEach((name) => model.off(`change:${name}`, fromPython));
}

export default { render };
