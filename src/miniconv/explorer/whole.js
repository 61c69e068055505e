"use strict";
// Whole tensors: every output, every gradient, the channels' partial results; and the cells that nothing reaches.

// For each place of one axis of a part, its solutions as distances in the memory of the factors.
function distances(p, a, of, shapes, count) {
  const inner = part => multiply(shapes[part].slice(shapes[part].length - p.dims + a + 1));
  const far = {input: inner("input"), weight: inner("weight"), grad_output: inner("grad_output")};
  return range(count).map(place => solutions(p, a, of, place).map(({tap, output, cell}) => ({
    input: cell === null ? null : cell * far.input, weight: tap * far.weight, grad_output: output * far.grad_output,
  })));
}

// What one channel of a part sums from some of its channels: the numbers of one plane, without a bias.
function planeOf(p, of, channels, tables, operands, shapes, end) {
  const {step} = ARITHMETIC[p.dtype], [left, right] = FACTORS[of], dims = p.dims;
  const plane = {}, starts = channels.map(({n, ic, oc}) => {
    const [first, second] = kernelOf(p, ic, oc);
    return {
      input: (n * p.in_channels + ic) * multiply(p.input_size),
      weight: (first * shapes.weight[1] + second) * multiply(p.kernel_size),
      grad_output: (n * p.out_channels + oc) * multiply(outputSize(p)),
    };
  });
  const value = (factor, start, s, t) => s[factor] === null || t[factor] === null ? 0
    : operands[factor].data[start[factor] + s[factor] + t[factor]];
  const none = {input: 0, weight: 0, grad_output: 0};
  const [rows, columns] = dims === 1 ? [[[none]], tables[0]] : tables;
  plane.data = new Float64Array(rows.length * columns.length);
  rows.forEach((row, r) => columns.forEach((column, c) => {
    let running = 0;
    for (const start of starts) for (const s of row) for (const t of column) {
      let product = value(left, start, s, t);
      if (right) product = step(product * value(right, start, s, t));
      running = step(running + product);
    }
    plane.data[r * columns.length + c] = end(running);
  }));
  return plane.data;
}

const tablesOf = (p, of, shapes) => p.input_size.map((_, a) =>
  distances(p, a, of, shapes, of === "bias_grad" ? 1 : shapes[of][shapes[of].length - p.dims + a]));

// A part whose planes are computed when they are wanted, as {shape, data, filled}.
function emptyPart(p, of) {
  const shape = shapesOf(p)[of];
  return {shape, data: new Float64Array(multiply(shape)), filled: new Set()};
}

// Computes the planes with these leading indices, each once.
function fillPlanes(p, of, operands, part, leads) {
  const shapes = shapesOf(p), {shape} = part, {step, end} = ARITHMETIC[p.dtype], single = of === "bias_grad";
  const wanted = (single ? range(shape[0]).map(channel => [channel]) : leads)
    .filter(lead => !part.filled.has(lead.join()));
  const tables = wanted.length ? tablesOf(p, of, shapes) : null;
  const size = single ? 1 : multiply(shape.slice(-p.dims)), before = single ? shape : shape.slice(0, -p.dims);
  for (const index of wanted) {
    const lead = before.length === 1 && !single ? [0, ...index] : index, channel = index[index.length - 1];
    const bias = of === "output" && p.bias ? operands.bias.data[channel] : null;
    const finish = value => end(bias === null ? value : step(value + bias));
    part.data.set(planeOf(p, of, channelsOf(p, of, lead), tables, operands, shapes, finish),
      flatIndex(before, index) * size);
    part.filled.add(index.join());
  }
}

// A whole part, every plane computed.
function wholeOf(p, of, operands) {
  const part = emptyPart(p, of), before = of === "bias_grad" ? part.shape : part.shape.slice(0, -p.dims);
  fillPlanes(p, of, operands, part, range(multiply(before)).map(at => indexAt(before, at)));
  return part;
}

// What each input channel alone gives to one output channel: the sum of these planes and the bias is the output's.
function partialsOf(p, n, oc, operands) {
  const shapes = shapesOf(p), tables = tablesOf(p, "output", shapes);
  return channelsOf(p, "output", [n, oc]).map(channel =>
    ({ic: channel.ic, data: planeOf(p, "output", [channel], tables, operands, shapes, same)}));
}

// For each axis, whether a place of the input (or of a transposed output) meets anything.
const reached = (p, of) => p.input_size.map((_, a) =>
  range(of === "output" ? outputSize(p)[a] : p.input_size[a]).map(place => solutions(p, a, of, place).length > 0));

// How many cells of one channel meet nothing, and which.
function missedCells(p, of) {
  const axes = reached(p, of), met = axes.map(axis => axis.filter(Boolean).length);
  const all = multiply(axes.map(axis => axis.length));
  return {axes, all, count: all - multiply(met)};
}

// Ordinary: padded cells past the last window, for each axis.
const leftOver = p => p.input_size.map((size, a) =>
  (size + p.padding[a][0] + p.padding[a][1] - effectiveKernel(p)[a]) % p.stride[a]);

// Nominal multiply-adds: every tap of every window, those over padding included.
function multiplyAdds(p) {
  const shapes = shapesOf(p);
  return multiply(p.transposed ? shapes.input : shapes.output) * multiply(shapes.weight.slice(1));
}
