"use strict";
// The numbers that are convolved: the caller's, drawn ones, a picture, a photograph, filters; and how one is written.

const SOURCES = ["numbers", "count", "picture", "photo"];
const GRADIENTS = ["ones", "numbers"];
const PARTS = ["input", "weight", "bias", "grad_output"];

// The same number for the same place and seed, whatever the sizes.
function mixed(numbers) {
  let hash = 79; // of many, one whose first kernel sums to 1
  for (const number of numbers) {
    hash = Math.imul(hash ^ (number + 0x9e3779b9), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash ^= hash >>> 16;
  }
  return hash >>> 0;
}

const DRAWN = {
  input: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], weight: [-2, -1, 0, 1, 2],
  bias: [-3, -2, -1, 1, 2, 3], grad_output: [-3, -2, -1, 1, 2, 3],
};
const drawn = (part, seed, index) => {
  const from = DRAWN[part];
  return from[mixed([seed, PARTS.indexOf(part), ...index]) % from.length];
};

// A seven in strokes, which fits every size; in one dimension, a pulse.
function pictured(size, places) {
  const at = places.map((place, a) => (place + .5) / size[a]);
  if (at.length === 1) return at[0] > .3 && at[0] < .6 ? 1 : 0;
  const [row, column] = at, thick = Math.max(.075, .55 / Math.min(...size));
  const bar = Math.abs(row - .24) < thick && column > .22 && column < .78;
  const along = (row - .24) / .58, slant = along >= 0 && along <= 1 && Math.abs(column - (.72 - .3 * along)) < thick;
  return bar || slant ? 1 : 0;
}

function photographed(photo, places) {
  const [row, column] = places.length === 1 ? [photo.rows >> 1, places[0]] : places;
  return photo.bytes[Math.min(row, photo.rows - 1) * photo.columns + Math.min(column, photo.columns - 1)];
}

// ---- classical filters ----

const THREE = {
  sharpen: [[0, -1, 0], [-1, 5, -1], [0, -1, 0]], sobel_x: [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
  sobel_y: [[-1, -2, -1], [0, 0, 0], [1, 2, 1]], laplacian: [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
  emboss: [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
};
const THREE_1D = {sharpen: [-1, 3, -1], sobel_x: [-1, 0, 1], sobel_y: [-1, 0, 1], laplacian: [1, -2, 1],
  emboss: [-1, 1, 1]};
const ANY_SIZE = ["identity", "mean", "gaussian"];
const CLASSICS = ["identity", "mean", "gaussian", "sharpen", "sobel_x", "sobel_y", "laplacian", "emboss"];
const FILTERS = ["numbers", ...CLASSICS, "classics"];

const choose = (n, k) => range(k).reduce((product, at) => product * (n - at) / (at + 1), 1);

function filterValue(name, size, taps) {
  if (name === "identity") return taps.every((tap, a) => tap === (size[a] - 1) >> 1) ? 1 : 0;
  if (name === "mean") return 1 / multiply(size);
  if (name === "gaussian") return multiply(taps.map((tap, a) => choose(size[a] - 1, tap) / 2 ** (size[a] - 1)));
  if (taps.some(tap => tap > 2)) return 0;
  return taps.length === 1 ? THREE_1D[name][taps[0]] : THREE[name][taps[0]][taps[1]];
}

function filtered(state, index) {
  const [first, second] = index, p = state.p;
  const oc = p.transposed ? second : first;
  const name = state.filter === "classics" ? CLASSICS[oc % CLASSICS.length] : state.filter;
  return filterValue(name, p.kernel_size, index.slice(2));
}

// ---- operands ----

function givenValue(part, index) {
  const tensor = given.operands?.[part];
  if (!tensor || tensor.shape.length !== index.length || index.some((place, a) =>
    place >= tensor.shape[a])) return null;
  return Number(tensor.data[flatIndex(tensor.shape, index)]);
}

// The number that stands at a place before anybody edits it.
function baseValue(state, part, index) {
  const own = () => (state.seed ? null : givenValue(part, index)) ?? drawn(part, state.seed, index);
  if (part === "grad_output") return state.gradient === "ones" ? 1 : own();
  if (part === "weight" && state.filter !== "numbers") return filtered(state, index);
  if (part === "bias" && state.filter !== "numbers") return 0;
  if (part !== "input" || state.source === "numbers") return own();
  const p = state.p, places = index.slice(-p.dims), channel = index[index.length - 1 - p.dims];
  if (state.source === "count") return 1 + channel * multiply(p.input_size) + flatIndex(p.input_size, places);
  return state.source === "picture" ? pictured(p.input_size, places) : photographed(photo, places);
}

// Every operand as {shape, data}, edits included, in numbers that the dtype holds.
function operandsOf(state) {
  const shapes = shapesOf(state.p), operands = {};
  for (const part of PARTS) {
    const shape = shapes[part], data = new Float64Array(multiply(shape));
    for (let at = 0; at < data.length; at++) data[at] = held(baseValue(state, part, indexAt(shape, at)), state.p.dtype);
    for (const [place, value] of Object.entries(state.edits[part])) {
      const index = place.split(".").map(Number);
      if (index.length === shape.length && index.every((number, a) => number < shape[a]))
        data[flatIndex(shape, index)] = held(value, state.p.dtype);
    }
    operands[part] = {shape, data};
  }
  return operands;
}

// ---- numbers as text ----

// A number in as few digits as tell it from its neighbours in its dtype.
function shown(value, dtype) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  if (value === 0) return "0"; // a zero's sign says nothing here
  const {step} = ARITHMETIC[dtype];
  if (step === same || Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
  for (let digits = 1; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (step(Number(text)) === value) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}

// A number for a small cell: at most five signs, and as many digits as they allow.
function brief(value, dtype) {
  const text = shown(value, dtype);
  if (text.length <= 4 || !Number.isFinite(value)) return text;
  for (const digits of [3, 2, 1, 0]) {
    const short = value.toFixed(digits).replace(/^(-?)0\./, "$1.").replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
    if (short.length <= 4 && Number(short) !== 0) return short;
  }
  const whole = value.toFixed(0);
  return Math.abs(value) >= .5 && whole.length <= 6 ? whole : value.toExponential(0).replace("e+", "e");
}

const named = (name, index) => `${name}[${index.join(", ")}]`;
const bracketed = text => text.startsWith("-") ? `(${text})` : text;
