"use strict";
// The same convolution in PyTorch, and in the terminal.

const tupled = numbers => numbers.every(number => number === numbers[0]) ? `${numbers[0]}`
  : `(${numbers.join(", ")})`;
const isDefault = (numbers, value) => numbers.every(number => number === value);

// F.pad counts from the last axis backwards.
const padsText = pairs => `(${[...pairs].reverse().flat().join(", ")}${pairs.length ? "" : ","})`;

// Lines of Python that compute y from x, w and b, and a gradient from g.
function torchLines(p, word, of) {
  const lines = [p.transposed ? transposedLine(p) : ordinaryLine(p, word)];
  const wanted = {input_grad: "x", weight_grad: "w", bias_grad: "b"}[of];
  if (wanted) lines.push(`grad, = torch.autograd.grad(y, ${wanted}, g)`);
  return lines;
}

function optionsText(options) {
  return Object.entries(options).filter(([, text]) => text !== null).map(([name, text]) => `, ${name}=${text}`)
    .join("");
}

const common = p => ({
  stride: isDefault(p.stride, 1) ? null : tupled(p.stride),
  dilation: isDefault(p.dilation, 1) ? null : tupled(p.dilation),
  groups: p.groups === 1 ? null : `${p.groups}`,
});

function ordinaryLine(p, word) {
  const first = padsFirst(p, word), {stride, dilation, groups} = common(p), bias = p.bias ? ", b" : "";
  const mode = p.mode === "zeros" ? "" : `, mode="${p.mode}"`;
  const x = first ? `F.pad(x, ${padsText(p.padding)}${mode})` : "x", low = p.padding.map(pair => pair[0]);
  const worded = (word === "same" && !first) || word === "valid";
  const padding = worded ? `"${word}"` : first || isDefault(low, 0) ? null : tupled(low);
  return `y = F.conv${p.dims}d(${x}, w${bias}${optionsText({stride, padding, dilation, groups})})`;
}

// torch pads a transposed convolution alike on both sides; what more is to go is cut off afterwards.
function transposedLine(p) {
  const {stride, dilation, groups} = common(p), even = p.padding.map(pair => Math.min(...pair));
  const padding = isDefault(even, 0) ? null : tupled(even);
  const output_padding = isDefault(p.output_padding, 0) ? null : tupled(p.output_padding);
  const cuts = p.padding.map(([low, high], a) => [low - even[a], high - even[a]]);
  const slice = ([low, high]) => `${low || ""}:${high ? -high : ""}`;
  const cut = cuts.some(pair => pair.some(Boolean)) ? `[..., ${cuts.map(slice).join(", ")}]` : "";
  const options = optionsText({stride, padding, output_padding, groups, dilation});
  return `y = F.conv_transpose${p.dims}d(x, w${p.bias ? ", b" : ""}${options})${cut}`;
}

// ---- the one-line text of a problem, which the terminal understands ----

const PER_AXIS = {i: "input_size", k: "kernel_size", s: "stride", p: "padding", d: "dilation", op: "output_padding"};
const COUNTS = {n: "batch", c: "in_channels", o: "out_channels", g: "groups"};

function problemText(p) {
  const words = [`conv${p.transposed ? "_transpose" : ""}${p.dims}d`];
  if (p.batch !== null) words.push(`n${p.batch}`);
  words.push(`c${p.in_channels}`, `o${p.out_channels}`, `i${p.input_size.join("x")}`, `k${p.kernel_size.join("x")}`);
  if (!isDefault(p.stride, 1)) words.push(`s${p.stride.join("x")}`);
  if (p.padding.some(pair => pair.some(Boolean)))
    words.push(`p${p.padding.map(([low, high]) => low === high ? low : `${low}:${high}`).join("x")}`);
  if (!isDefault(p.dilation, 1)) words.push(`d${p.dilation.join("x")}`);
  if (!isDefault(p.output_padding, 0)) words.push(`op${p.output_padding.join("x")}`);
  if (p.groups !== 1) words.push(`g${p.groups}`);
  return [...words, ...(p.bias ? ["bias"] : []), p.dtype].join(" ");
}

// The problem that a text states; null where it states none.
function problemFrom(text) {
  const [head, ...words] = text.trim().split(/\s+/), match = /^conv(_transpose)?([12])d$/.exec(head);
  if (!match) return null;
  const dims = Number(match[2]), axes = value => range(dims).map(() => value);
  const p = {dims, transposed: Boolean(match[1]), batch: null, in_channels: 1, out_channels: 1, input_size: axes(6),
    kernel_size: axes(3), stride: axes(1), padding: axes([0, 0]), dilation: axes(1), groups: 1, output_padding: axes(0),
    bias: false, dtype: "float32", mode: "zeros"};
  return words.every(word => setWord(p, word, dims)) ? p : null;
}

function setWord(p, word, dims) {
  if (word === "bias") return p.bias = true;
  if (Object.hasOwn(ARITHMETIC, word)) return Boolean(p.dtype = word);
  const match = /^(op|[nciokspdg])(\d{1,4}(?::\d{1,4})?(?:x\d{1,4}(?::\d{1,4})?)?)$/.exec(word);
  if (!match) return false;
  const [, key, digits] = match, parts = digits.split("x").map(part => part.split(":").map(Number));
  if (key !== "p" && parts.some(part => part.length > 1)) return false;
  if (Object.hasOwn(COUNTS, key)) {
    p[COUNTS[key]] = parts[0][0];
    return parts.length === 1;
  }
  const values = parts.map(part => key === "p" ? [part[0], part[part.length - 1]] : part[0]);
  if (values.length !== 1 && values.length !== dims) return false;
  p[PER_AXIS[key]] = values.length === dims ? values : range(dims).map(() => values[0]);
  return true;
}
