"use strict";
// torch's rules in torch's order, with torch's words, and the smallest change that makes a broken call legal.

// Elements of a tensor, and multiply-adds of all planes. Up to EVERYTHING all planes are computed, past it those shown.
const LARGEST = 1 << 20, MOST = 2 ** 28, EVERYTHING = 2 ** 22;

const listed = numbers => `[${numbers.join(", ")}]`;
const joined = numbers => numbers.join(" x ");
const rowsOf = (numbers, first) => numbers.length === 1 ? [first, ...numbers] : numbers;

// 'same' spreads dilation * (kernel - 1) cells, the odd one on the high side; causal puts all of them before.
function paddingOf(word, p) {
  const totals = p.kernel_size.map((k, a) => p.dilation[a] * (k - 1));
  if (word === "valid") return totals.map(() => [0, 0]);
  if (word === "same") return totals.map(total => [Math.floor(total / 2), total - Math.floor(total / 2)]);
  return word === "causal" ? totals.map(total => [total, 0]) : p.padding;
}

// Whether the call pads first: torch's functions know zeros, and as many on both sides.
const padsFirst = (p, word) => !p.transposed && word !== "valid" && p.padding.some(pair => pair.some(Boolean))
  && (p.mode !== "zeros" || (word !== "same" && p.padding.some(([low, high]) => low !== high)));

const fault = (control, text, kind = "RuntimeError") => ({control, text, kind});

// The first rule that a call breaks, as {control, text, kind}; null where it is legal.
function broken(p, word) {
  const functional = p.transposed ? null : [() => wordRule(p, word), () => modeRule(p)];
  const rules = p.transposed ? [() => transposedModeRule(p)] : functional;
  return [...rules, () => numberRules(p, word), () => channelRules(p, word), () => sizeRules(p, word),
    () => outputRule(p), () => tooLarge(p)].reduce((found, rule) => found ?? rule(), null);
}

function wordRule(p, word) {
  if (word !== "same" && word !== "valid") return null;
  if (p.groups <= 0) return fault("groups", "non-positive groups is not supported");
  if (word === "same" && p.stride.some(s => s !== 1))
    return fault("stride", "padding='same' is not supported for strided convolutions");
  return null;
}

function modeRule(p) {
  if (p.mode === "zeros" || p.padding.every(pair => pair.every(side => side === 0))) return null;
  const shape = [...(p.batch === null ? [] : [p.batch]), p.in_channels, ...p.input_size];
  for (let a = p.dims - 1; a >= 0; a--) {
    const [low, high] = p.padding[a], size = p.input_size[a];
    if (p.mode === "reflect" && Math.max(low, high) >= size)
      return fault("padding", `Argument #${2 * (p.dims - a) + 2}: Padding size should be less than the corresponding `
        + `input dimension, but got: padding (${low}, ${high}) at dimension ${shape.length - p.dims + a} of input `
        + listed(shape));
  }
  if (p.mode === "circular" && p.padding.some((pair, a) => Math.max(...pair) > p.input_size[a]))
    return fault("padding", "Padding value causes wrapping around more than once.");
  return null;
}

const transposedModeRule = p => p.mode === "zeros" ? null
  : fault("mode", `Only "zeros" padding mode is supported for ConvTranspose${p.dims}d`, "ValueError");

function numberRules(p) {
  if (p.groups <= 0) return fault("groups", "non-positive groups is not supported");
  if (p.stride.some(s => s <= 0)) return fault("stride", "non-positive stride is not supported");
  return null;
}

function channelRules(p, word) {
  const {weight} = shapesOf(p), size = `weight of size ${listed(weight)}`;
  if (weight[0] < p.groups)
    return fault("groups", `Given groups=${p.groups}, expected weight to be at least ${p.groups} at dimension 0, but `
      + `got ${size} instead`);
  if (weight[0] % p.groups)
    return fault("groups", `Given groups=${p.groups}, expected weight to be divisible by ${p.groups} at dimension 0, `
      + `but got weight of size [${listed(weight)}] instead`);
  const channels = p.transposed ? weight[0] : weight[1] * p.groups;
  if (p.in_channels !== channels)
    return fault("groups", `Given ${p.transposed ? "transposed=1" : `groups=${p.groups}`}, ${size}, expected input`
      + `${listed([p.batch ?? 1, p.in_channels, ...shownSize(p, word)])} to have ${channels} channels, but got `
      + `${p.in_channels} channels instead`);
  const out = p.transposed ? weight[1] * p.groups : weight[0];
  if (p.bias && out !== p.out_channels)
    return fault("groups", `Given ${p.transposed ? "transposed=1, " : ""}${size}, expected bias to be 1-dimensional `
      + `with ${out} elements, but got bias of size [${p.out_channels}] instead`);
  return null;
}

// A transposed function takes the weight as it is; the module asks for even groups.
const outputRule = p => p.out_channels % p.groups
  ? fault("groups", "out_channels must be divisible by groups", "ValueError") : null;

// The input's size as torch prints it: after what has been padded before.
function shownSize(p, word) {
  if (padsFirst(p, word)) return p.input_size.map((size, a) => size + p.padding[a][0] + p.padding[a][1]);
  return word === "same" ? p.input_size.map((size, a) => size + p.padding[a][1] - p.padding[a][0]) : p.input_size;
}

function sizeRules(p) {
  const extent = effectiveKernel(p), padded = p.input_size.map((size, a) => size + p.padding[a][0] + p.padding[a][1]);
  if (!p.transposed && extent.some((e, a) => e > padded[a]))
    return fault("kernel_size", `Calculated padded input size per channel: (${joined(padded)}). Kernel size: `
      + `(${joined(extent)}). Kernel size can't be greater than actual input size`);
  if (p.dilation.includes(0)) {
    const rows = rowsOf(p.dilation, 1);
    const words = p.transposed ? rows.map((d, a) => `dilation_${["height", "width"][a]}: ${d}`).join(", ")
      : listed(rows);
    return fault("dilation", `dilation should be greater than zero, but got ${words}`);
  }
  return p.transposed ? extentRules(p) : null;
}

function extentRules(p) {
  const named = (name, numbers) => numbers.map((number, a) => `${name}_${["height", "width"][a]}: ${number}`);
  if (p.output_padding.some((extra, a) => extra >= p.stride[a] && extra >= p.dilation[a]))
    return fault("output_padding", "output padding must be smaller than either stride or dilation, but got " + [
      ...named("output_padding", rowsOf(p.output_padding, 0)), ...named("stride", rowsOf(p.stride, 1)),
      ...named("dilation", rowsOf(p.dilation, 1))].join(" "));
  const out = outputSize(p);
  return out.every(size => size > 0) ? null : fault("padding", `Given input size per channel: `
    + `(${joined(rowsOf(p.input_size, 1))}). Calculated output size per channel: (${joined(rowsOf(out, 1))}). `
    + "Output size is too small");
}

// The page's own rule: what a browser can draw while a slider moves.
function tooLarge(p) {
  const {input, weight, output} = shapesOf(p);
  const large = [input, weight, output].some(shape => multiply(shape) > LARGEST) || multiplyAdds(p) > MOST;
  return large ? {control: "input_size", text: "", kind: "size"} : null;
}

// ---- remedies ----

const RANGES = {
  groups: [1, 64], stride: [1, 9], dilation: [1, 9], kernel_size: [1, 15], padding: [0, 32], output_padding: [0, 8],
  input_size: [1, 64], in_channels: [1, 64], out_channels: [1, 64],
};
const REMEDIES = {
  groups: ["groups", "in_channels", "out_channels"], stride: ["stride"], dilation: ["dilation"], mode: ["mode"],
  kernel_size: ["kernel_size", "dilation", "padding", "input_size"], padding: ["padding", "input_size", "mode"],
  output_padding: ["output_padding", "stride"], input_size: ["input_size"],
};

// The problem with one field set to one number on the axes where the rule can be at fault.
function withField(p, name, number, a) {
  if (["groups", "in_channels", "out_channels"].includes(name)) return {...p, [name]: number};
  const value = name === "padding" ? [number, number] : number;
  return {...p, [name]: p[name].map((old, axis) => a === null || axis === a ? value : old)};
}

// Changes of one field, nearest first, each of which alone makes the call legal; or, where none does, keeps this rule.
function remediesFor(p, word, rule) {
  const all = changesOf(p, word, rule, next => next === null);
  return all.length ? all : changesOf(p, word, rule, next => next === null || next.control !== rule.control);
}

function changesOf(p, word, rule, enough) {
  const found = [], legal = (changed, changedWord = word) => {
    const padded = {...changed, padding: paddingOf(changedWord, changed)};
    return enough(broken(padded, changedWord)) ? padded : null;
  };
  const add = (name, value, axis, changed, changedWord) => found.push({name, value, axis, p: changed,
    word: changedWord});
  for (const name of REMEDIES[rule.control]) {
    if (name === "mode") {
      const changed = legal({...p, mode: "zeros"});
      if (changed) add("mode", "zeros", null, changed, word);
      continue;
    }
    const numeric = name === "padding" ? "numbers" : word;
    const single = ["groups", "in_channels", "out_channels"].includes(name);
    for (const a of single ? [null] : [...range(p.dims), null]) {
      const old = single ? p[name] : [p[name][a ?? 0]].flat()[0];
      const near = range(RANGES[name][1] + 1).filter(value => value >= RANGES[name][0])
        .sort((x, y) => Math.abs(x - old) - Math.abs(y - old) || x - y);
      const value = near.find(candidate => legal(withField(p, name, candidate, a), numeric));
      if (value === undefined) continue;
      add(name, value, a, legal(withField(p, name, value, a), numeric), numeric);
      break;
    }
  }
  if (word === "same" && rule.control === "stride") {
    const changed = legal(p, "numbers");
    if (changed) add("word", "numbers", null, changed, "numbers");
  }
  return found;
}
