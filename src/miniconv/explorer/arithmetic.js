"use strict";
// The convolution: which elements meet, their products and sums. Numbers in, numbers out; nothing of the page is known.
// The definition is that of miniconv.explain, against which this file is tested: with the output weighed by g,
//   L = sum of g[output] * input[input] * weight[weight]
// over the triples that solve, on every spatial axis, wide = narrow * stride - padding_low + tap * dilation, where the
// narrow side is the output and the wide one the input, or the reverse if the convolution is transposed.

const FACTORS = {
  output: ["input", "weight"],
  input_grad: ["grad_output", "weight"],
  weight_grad: ["grad_output", "input"],
  bias_grad: ["grad_output"],
};
const range = count => Array.from({length: Math.max(0, count)}, (_, at) => at);
const multiply = numbers => numbers.reduce((a, b) => a * b, 1);

// ---- numbers: what a dtype computes in, and what the finished sum is rounded to ----

function roundedTo(bits, smallest, largest) {
  return value => {
    if (!Number.isFinite(value) || value === 0) return value;
    const exponent = Math.max(Math.floor(Math.log2(Math.abs(value))), smallest);
    const unit = 2 ** (exponent - bits + 1), whole = value / unit, down = Math.floor(whole), rest = whole - down;
    const near = rest > .5 || (rest === .5 && down % 2 !== 0) ? down + 1 : down;
    return Math.abs(near * unit) > largest ? Math.sign(value) * Infinity : near * unit;
  };
}

const same = value => value;
const wrapped = (bits, signed) => value => {
  if (!Number.isFinite(value)) return value;
  const size = 2 ** bits, rest = ((Math.round(value) % size) + size) % size;
  return signed && rest >= size / 2 ? rest - size : rest;
};
const ARITHMETIC = {
  float64: {step: same, end: same},
  float32: {step: Math.fround, end: same},
  float16: {step: Math.fround, end: roundedTo(11, -14, 65504)},
  bfloat16: {step: Math.fround, end: roundedTo(8, -126, 3.3895313892515355e38)},
  int64: {step: same, end: same, whole: true},
  int32: {step: same, end: wrapped(32, true), whole: true},
  int16: {step: same, end: wrapped(16, true), whole: true},
  int8: {step: same, end: wrapped(8, true), whole: true},
  uint8: {step: same, end: wrapped(8, false), whole: true},
};
const held = (value, dtype) => {
  const {step, end, whole} = ARITHMETIC[dtype];
  return end(step(whole && Number.isFinite(value) ? Math.trunc(value) : value));
};

// ---- shapes ----

const effectiveKernel = p => p.kernel_size.map((k, a) => p.dilation[a] * (k - 1) + 1);

function outputSize(p) {
  const extent = effectiveKernel(p);
  return p.input_size.map((size, a) => {
    const both = p.padding[a][0] + p.padding[a][1];
    return p.transposed ? (size - 1) * p.stride[a] - both + extent[a] + p.output_padding[a]
      : Math.floor((size + both - extent[a]) / p.stride[a]) + 1;
  });
}

function shapesOf(p) {
  const image = p.batch === null ? [] : [p.batch], output = [...image, p.out_channels, ...outputSize(p)];
  const ends = p.transposed ? [p.in_channels, Math.floor(p.out_channels / p.groups)]
    : [p.out_channels, Math.floor(p.in_channels / p.groups)];
  const input = [...image, p.in_channels, ...p.input_size], weight = [...ends, ...p.kernel_size];
  const bias = [p.out_channels];
  return {input, weight, bias, output, grad_output: output, input_grad: input, weight_grad: weight, bias_grad: bias};
}

const flatIndex = (shape, index) => index.reduce((at, place, axis) => at * shape[axis] + place, 0);

function indexAt(shape, flat) {
  const index = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index[axis] = flat % shape[axis];
    flat = Math.floor(flat / shape[axis]);
  }
  return index;
}

// ---- one axis ----

function axisOf(p, a) {
  const out = outputSize(p)[a], [low, high] = p.padding[a], size = p.input_size[a];
  return {
    wide: p.transposed ? out : size, narrow: p.transposed ? size : out,
    stride: p.stride[a], low, high, kernel: p.kernel_size[a], dilation: p.dilation[a],
  };
}

// The input cell that a padded position holds; null for a zero.
function cellOf(wide, place, mode) {
  if (place >= 0 && place < wide) return place;
  if (mode === "reflect") return place < 0 ? -place : 2 * (wide - 1) - place;
  if (mode === "replicate") return place < 0 ? 0 : wide - 1;
  return mode === "circular" ? ((place % wide) + wide) % wide : null;
}

const ofNarrow = (axis, q) => range(axis.kernel).map(k => [k, q, q * axis.stride - axis.low + k * axis.dilation]);
const ofTap = (axis, k) => range(axis.narrow).map(q => [k, q, q * axis.stride - axis.low + k * axis.dilation]);

function ofWide(axis, w) {
  const found = [];
  for (let k = 0; k < axis.kernel; k++) {
    const steps = w + axis.low - k * axis.dilation;
    if (steps >= 0 && steps % axis.stride === 0 && steps / axis.stride < axis.narrow)
      found.push([k, steps / axis.stride, w]);
  }
  return found;
}

// The padded positions that hold an input cell: its own, and its copies in the border.
function copiesOf(axis, place, mode) {
  const border = mode === "zeros" ? []
    : [...range(axis.low).map(at => at - axis.low), ...range(axis.high).map(at => at + axis.wide)];
  return [place, ...border.filter(at => cellOf(axis.wide, at, mode) === place)];
}

// On one axis, every {tap, output, position in the input, cell of the input} of the element at `place`.
function solutions(p, a, of, place) {
  const axis = axisOf(p, a);
  if (of === "bias_grad") return range(outputSize(p)[a]).map(output => ({tap: 0, output, position: 0, cell: 0}));
  let solved;
  if (of === "weight_grad") solved = ofTap(axis, place);
  else if ((of === "output") !== p.transposed) solved = ofNarrow(axis, place);
  else {
    const copies = p.transposed ? [place] : copiesOf(axis, place, p.mode);
    solved = copies.flatMap(copy => ofWide(axis, copy));
    solved.sort((x, y) => x[0] - y[0] || x[1] - y[1] || x[2] - y[2]);
  }
  if (p.transposed)
    return solved.filter(([, , wide]) => wide >= 0 && wide < axis.wide)
      .map(([tap, narrow, wide]) => ({tap, output: wide, position: narrow, cell: narrow}));
  return solved.map(([tap, narrow, wide]) =>
    ({tap, output: narrow, position: wide, cell: cellOf(axis.wide, wide, p.mode)}));
}

// ---- channels ----

const groupOfInput = (p, ic) => Math.floor(ic / (p.in_channels / p.groups));
const groupOfOutput = (p, oc) => Math.floor(oc / (p.out_channels / p.groups));

// Every {n, ic, oc} of the element whose leading indices (image and channel) are `lead`.
function channelsOf(p, of, lead) {
  const inGroup = p.in_channels / p.groups, outGroup = p.out_channels / p.groups;
  const images = range(p.batch === null ? 1 : p.batch);
  if (of === "output") {
    const [n, oc] = lead, first = Math.floor(oc / outGroup) * inGroup;
    return range(inGroup).map(ic => ({n, ic: first + ic, oc}));
  }
  if (of === "input_grad") {
    const [n, ic] = lead, first = Math.floor(ic / inGroup) * outGroup;
    return range(outGroup).map(oc => ({n, ic, oc: first + oc}));
  }
  if (of === "bias_grad") return images.map(n => ({n, ic: 0, oc: lead[0]}));
  const [major, minor] = lead;
  const ic = p.transposed ? major : Math.floor(major / outGroup) * inGroup + minor;
  const oc = p.transposed ? Math.floor(major / inGroup) * outGroup + minor : major;
  return images.map(n => ({n, ic, oc}));
}

const kernelOf = (p, ic, oc) => p.transposed ? [ic, oc % (p.out_channels / p.groups)]
  : [oc, ic % (p.in_channels / p.groups)];

// (image, channel) or a weight's two channels, and the places, of an index as the caller has it.
function parted(p, of, at) {
  if (of === "bias_grad") return {lead: at, places: p.input_size.map(() => 0)};
  const whole = p.batch !== null || of === "weight_grad" ? at : [0, ...at];
  return {lead: whole.slice(0, -p.dims), places: whole.slice(-p.dims)};
}

// ---- one element, term by term ----

const everyChoice = lists => lists.reduce((done, list) => done.flatMap(head => list.map(item => [...head, item])),
  [[]]);

// Every triple that one element is in, in the order in which it is summed.
function linksOf(p, of, at) {
  const {lead, places} = parted(p, of, at), links = [];
  const found = everyChoice(places.map((place, a) => solutions(p, a, of, place)));
  for (const {n, ic, oc} of channelsOf(p, of, lead)) {
    const image = p.batch === null ? [] : [n], kernel = kernelOf(p, ic, oc);
    for (const choice of found) {
      const output = [...image, oc, ...choice.map(axis => axis.output)];
      if (of === "bias_grad") {
        links.push({input: null, weight: null, output, position: [], place: "inside", ic, oc});
        continue;
      }
      const cells = choice.map(axis => axis.cell), position = choice.map(axis => axis.position);
      links.push({
        input: cells.includes(null) ? null : [...image, ic, ...cells],
        weight: [...kernel, ...choice.map(axis => axis.tap)],
        output, position: [...image, ic, ...position],
        place: cells.every((cell, a) => cell === position[a]) ? "inside" : p.mode, ic, oc,
      });
    }
  }
  return links;
}

const valueAt = (tensor, index) => index === null ? 0 : tensor.data[flatIndex(tensor.shape, index)];
const factorIndex = (link, factor) => factor === "grad_output" ? link.output : link[factor];

// One element: its terms with values, products and running sums, its bias, and the sum as the dtype computes it.
function traceOf(p, of, at, operands) {
  const {step, end} = ARITHMETIC[p.dtype];
  let running = 0;
  const terms = linksOf(p, of, at).map(link => {
    const values = FACTORS[of].map(factor => valueAt(operands[factor], factorIndex(link, factor)));
    const product = step(multiply(values));
    running = step(running + product);
    return {...link, values, product, running};
  });
  const bias = of === "output" && p.bias ? operands.bias.data[at[at.length - 1 - p.dims]] : null;
  return {of, at, terms, bias, computed: end(bias === null ? running : step(running + bias))};
}

// The outputs that one input element reaches, each once, in row-major order.
function feedsOf(p, at) {
  const {output} = shapesOf(p);
  const flat = new Set(linksOf(p, "input_grad", at).map(link => flatIndex(output, link.output)));
  return [...flat].sort((a, b) => a - b).map(place => indexAt(output, place));
}
