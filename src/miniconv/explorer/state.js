"use strict";
// What is shown, and the address that says it: everything after # is the state, and nothing in it can do harm.

const MODES = ["zeros", "reflect", "replicate", "circular"], WORDS = ["numbers", "same", "valid", "causal"];
const VIEWS = ["output", "input_grad", "weight_grad", "bias_grad"], LANGUAGES = ["en", "zh"];
const SHORT = {input: "x", weight: "w", bias: "b", grad_output: "g"};
const noEdits = () => Object.fromEntries(PARTS.map(part => [part, {}]));

// What the page was written for.
function initialState() {
  const p = {...problemFrom(given.problem), mode: given.padding_mode};
  return settled({
    p, word: "numbers", of: given.of, at: given.at, from: null, source: "numbers", filter: "numbers",
    gradient: given.operands?.grad_output ? "numbers" : "ones", seed: 0, edits: noEdits(), tie: tied(p), language: null,
  });
}

const tied = p => ["kernel_size", "stride", "dilation", "output_padding"].every(name => isDefault(p[name], p[name][0]))
  && isDefault(p.padding.flat(), p.padding[0][0]);

const between = (number, low, high) => Math.min(high, Math.max(low, Number.isFinite(number) ? Math.trunc(number)
  : low));

// Numbers within what the page can be asked for; whether they are legal together is for the rules to say.
function clamped(p) {
  const each = (name, low, high) => p[name].map(number => between(number, low, high));
  return {
    ...p, batch: p.batch === null ? null : between(p.batch, 1, 64),
    in_channels: between(p.in_channels, 1, 4096), out_channels: between(p.out_channels, 1, 4096),
    groups: between(p.groups, 0, 4096), input_size: each("input_size", 1, 4096),
    kernel_size: each("kernel_size", 1, 64), stride: each("stride", 0, 64), dilation: each("dilation", 0, 64),
    padding: p.padding.map(pair => pair.map(side => between(side, 0, 64))),
    output_padding: p.transposed ? each("output_padding", 0, 64) : p.input_size.map(() => 0),
  };
}

// A state with its padding worked out and its places inside; `at` is null where nothing can be shown.
function settled(state) {
  let word = WORDS.includes(state.word) ? state.word : "numbers";
  let p = clamped(state.p);
  if (p.transposed || (word === "causal" && p.dims === 2)) word = "numbers";
  p = {...p, padding: paddingOf(word, p)};
  const of = VIEWS.includes(state.of) && (state.of !== "bias_grad" || p.bias) ? state.of : "output";
  const settledState = {...state, p, word, of, at: null, from: null};
  if (broken(p, word) !== null) return {...settledState, at: state.at, from: state.from};
  const shapes = shapesOf(p);
  const fits = (at, shape) => Array.isArray(at) && at.length === shape.length
    && at.every((place, a) => Number.isInteger(place) && place >= 0 && place < shape[a]);
  settledState.at = fits(state.at, shapes[of]) ? state.at : nearest(state.at, shapes[of], of === "bias_grad" ? 0
    : p.dims);
  settledState.from = of === "output" && fits(state.from, shapes.input) ? state.from : null;
  return settledState;
}

// The place that is meant where sizes have changed; the middle of the first channel where nothing is meant.
function nearest(at, shape, dims) {
  const middle = shape.map((size, a) => a < shape.length - dims ? 0 : (size - 1) >> 1);
  return Array.isArray(at) && at.length === shape.length
    ? at.map((place, a) => Number.isInteger(place) ? between(place, 0, shape[a] - 1) : middle[a]) : middle;
}

// ---- the address ----

const editsText = edits => Object.entries(edits).map(([place, value]) => `${place}*${value}`).join("_");

function editsFrom(text) {
  const edits = {};
  for (const piece of text.split("_").slice(0, 20000)) {
    const match = /^(\d{1,4}(?:\.\d{1,4}){0,3})\*(-?(?:\d+\.?\d*(?:e[+-]?\d+)?|Infinity|NaN)|NaN)$/i.exec(piece);
    if (match) edits[match[1]] = Number(match[2]);
  }
  return edits;
}

function hashOf(state) {
  const said = new URLSearchParams({p: problemText(state.p)}), p = state.p;
  const add = (name, value, usual) => { if (value !== usual && value !== null) said.set(name, value); };
  add("mode", p.mode, "zeros");
  add("pad", state.word, "numbers");
  add("of", state.of, "output");
  add("at", state.at?.join("."), undefined);
  add("from", state.from?.join(".") ?? null, null);
  add("in", state.source, "numbers");
  add("filter", state.filter, "numbers");
  add("g", state.gradient, "ones");
  add("seed", state.seed, 0);
  add("lang", state.language, null);
  if (state.tie !== tied(p)) said.set("tie", state.tie ? 1 : 0);
  for (const part of PARTS) add(`edit-${SHORT[part]}`, editsText(state.edits[part]), "");
  return `#${said}`;
}

// The state that an address says; what it does not say or says wrongly is as in `usual`.
function stateFrom(hash, usual) {
  const said = new URLSearchParams(hash.replace(/^#/, "")), p = said.has("p") ? problemFrom(said.get("p")) : null;
  if (p === null) return {...usual, language: oneOf(said.get("lang"), LANGUAGES, usual.language)};
  p.mode = oneOf(said.get("mode"), MODES, "zeros");
  const places = name => said.has(name) ? said.get(name).split(".").map(Number) : null;
  const seed = Number(said.get("seed") ?? 0);
  return settled({
    p, word: said.get("pad") ?? "numbers", of: said.get("of") ?? "output", at: places("at"), from: places("from"),
    source: oneOf(said.get("in"), SOURCES, "numbers"), filter: oneOf(said.get("filter"), FILTERS, "numbers"),
    gradient: oneOf(said.get("g"), GRADIENTS, "ones"), seed: between(seed, 0, 1e6),
    edits: Object.fromEntries(PARTS.map(part => [part, editsFrom(said.get(`edit-${SHORT[part]}`) ?? "")])),
    tie: said.has("tie") ? said.get("tie") === "1" : tied(clamped(p)),
    language: oneOf(said.get("lang"), LANGUAGES, usual.language),
  });
}

const oneOf = (word, words, otherwise) => words.includes(word) ? word : otherwise;

// ---- examples to start from ----

const start = (text, {mode = "zeros", ...more} = {}) => {
  const p = {...problemFrom(text), mode};
  return settled({
    word: "numbers", of: "output", at: null, from: null, source: "numbers", filter: "numbers", gradient: "ones",
    seed: 0, edits: noEdits(), language: null, ...more, p, tie: tied(p),
  });
};
const EXAMPLES = {
  plain: () => initialState(),
  floor: () => start("conv2d c1 o1 i6x8 k3x3 s2x2 float32", {at: [0, 1, 2]}),
  same: () => start("conv2d c1 o1 i5x6 k4x3 d1x2 float32", {word: "same"}),
  reflect: () => start("conv2d c1 o1 i5x6 k3x3 p2x2 float32", {mode: "reflect", source: "count", at: [0, 0, 0]}),
  dilation: () => start("conv2d c1 o1 i9x9 k3x3 p2x2 d2x2 float32", {at: [0, 4, 4]}),
  channels: () => start("conv2d c3 o2 i5x5 k3x3 p1x1 bias float32"),
  groups: () => start("conv2d c4 o6 i5x5 k3x3 p1x1 g2 float32", {at: [4, 2, 2]}),
  depthwise: () => start("conv2d c4 o4 i6x6 k3x3 p1x1 g4 float32", {at: [1, 2, 2]}),
  transposed: () => start("conv_transpose2d c1 o1 i4x4 k3x3 s2x2 p1x1 op1x1 float32", {from: [0, 1, 2]}),
  causal: () => start("conv1d c1 o1 i10 k3 d2 float32", {word: "causal", at: [0, 6], seed: 5}),
  photo: () => start("conv2d c1 o1 i48x48 k3x3 float32", {source: "photo", filter: "sobel_x", at: [0, 14, 24]}),
  picture: () => start("conv2d c1 o1 i12x12 k3x3 float32", {source: "picture", filter: "sobel_x", at: [0, 4, 6]}),
  gradient: () => start("conv2d c1 o1 i5x5 k3x3 p1x1 float32", {of: "weight_grad", gradient: "numbers",
    at: [0, 0, 1, 1]}),
};
