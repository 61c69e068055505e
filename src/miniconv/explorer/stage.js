"use strict";
// The stage: the tensors of a view side by side, and what is marked on them.

const SHOWN = 8; // planes of a tensor that are drawn at once
const RESULT_OF = {output: "output", input_grad: "input_grad", weight_grad: "weight_grad", bias_grad: "bias_grad"};
const LIKE = {input: "input", input_grad: "input", output: "output", grad_output: "output", weight: "weight",
  weight_grad: "weight", bias_grad: "bias"};
let drawnPlanes = [];

const tensorsOf = of => [...FACTORS[of], RESULT_OF[of]];

// What is looked at: an element of the view's part, or an input element and what it feeds.
const pinned = () => state.from !== null ? {kind: "feeds", at: state.from} : {kind: "element", at: state.at};
const looked = () => hover ?? pinned();

// The terms of what is looked at: those of its sum, or those that it takes part in.
function tracedNow() {
  const focus = looked();
  if (focus.kind === "element") return traceOf(model.p, state.of, focus.at, model.operands);
  const terms = linksOf(model.p, "input_grad", focus.at).map(link => {
    const values = [valueAt(model.operands.input, focus.at), valueAt(model.operands.weight, link.weight)];
    return {...link, values, product: ARITHMETIC[model.p.dtype].step(values[0] * values[1])};
  });
  return {of: "feeds", at: focus.at, terms, bias: null};
}

// ---- which planes are drawn ----

function windowOf(list, chosen) {
  if (list.length <= SHOWN) return list;
  const first = between(list.indexOf(chosen) - SHOWN / 2, 0, list.length - SHOWN);
  return list.slice(first, first + SHOWN);
}

// The image and channels of the pinned element.
function pinnedChannels() {
  const {p} = model, focus = pinned();
  const {lead} = parted(p, focus.kind === "feeds" ? "input_grad" : state.of, focus.at);
  const met = channelsOf(p, focus.kind === "feeds" ? "input_grad" : state.of, lead);
  return {n: met[0].n, ic: met[0].ic, oc: met[0].oc, met};
}

function channelsShown(count, group, groups, chosen) {
  const all = range(count), size = count / groups;
  return windowOf(count <= 4 ? all : all.slice(group * size, (group + 1) * size), chosen);
}

// The leading indices of the planes of one tensor.
function leadsOf(part) {
  const {p} = model, {n, ic, oc, met} = pinnedChannels(), image = p.batch === null ? [] : [n];
  const like = LIKE[part];
  if (like === "input") return channelsShown(p.in_channels, groupOfInput(p, ic), p.groups, ic).map(c => [...image, c]);
  if (like === "output") return channelsShown(p.out_channels, groupOfOutput(p, oc), p.groups, oc)
    .map(c => [...image, c]);
  if (like === "bias") return [[]];
  if (part === "weight") return windowOf(met, met[0]).map(link => kernelOf(p, link.ic, link.oc));
  const [first] = kernelOf(p, ic, oc), seconds = range(shapesOf(p).weight[1]);
  return windowOf(seconds, kernelOf(p, ic, oc)[1]).map(second => [first, second]);
}

const isPicture = source => source === "photo" || source === "picture";
const tensorNow = part => part === state.of ? model.result : model.operands[part];

function planesOf(part) {
  const {p} = model, tensor = tensorNow(part), like = LIKE[part];
  const grey = isPicture(state.source) && (part === "input" || (part === "output" && p.in_channels === 1));
  const bordered = part === "input" && !p.transposed, leads = leadsOf(part);
  if (part === state.of) fillPlanes(p, state.of, model.operands, model.result, leads);
  const scale = largest(tensor.data) || 1;
  return leads.map(lead => {
    const spatial = like === "bias" ? [p.out_channels] : tensor.shape.slice(-p.dims), flat = spatial.length === 1;
    const pad = side => bordered ? p.padding.map(pair => pair[side]) : spatial.map(() => 0);
    const two = numbers => flat ? [0, ...numbers] : numbers, size = flat ? [1, ...spatial] : spatial;
    const begin = flatIndex(tensor.shape, [...lead, ...spatial.map(() => 0)]);
    const cellAt = (axis, place) => cellOf(size[axis], place, p.mode);
    const value = (r, c) => {
      const row = cellAt(0, r), column = cellAt(1, c);
      return row === null || column === null ? 0 : tensor.data[begin + row * size[1] + column];
    };
    const plane = {part, lead, size, low: two(pad(0)), high: two(pad(1)), value, scale, flat, kind: grey ? "grey"
      : "tint"};
    plane.limits = limitsOf(part, plane, tensor, begin);
    plane.missed = missedPlaces(part, size, flat);
    plane.pinned = like !== "weight" && lead[lead.length - 1] === {input: pinnedChannels().ic,
      output: pinnedChannels().oc}[like];
    return plane;
  });
}

const largest = numbers => numbers.reduce((most, value) => Number.isFinite(value) ? Math.max(most, Math.abs(value))
  : most, 0);

function limitsOf(part, plane, tensor, begin) {
  if (part === "input") return state.source === "photo" ? [0, 255] : [0, 1];
  const numbers = tensor.data.slice(begin, begin + multiply(plane.size)).filter(Number.isFinite);
  return numbers.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

// The cells that nothing reaches: of an input, or of a transposed output.
function missedPlaces(part, size, flat) {
  const of = part === "input" || part === "input_grad" ? "input_grad" : part === "output" && model.p.transposed
    ? "output" : null;
  if (of === null) return null;
  const {axes, count} = missedCells(model.p, of), [rows, columns] = flat ? [[true], axes[0]] : axes;
  return count === 0 ? null : range(size[0]).flatMap(r => range(size[1]).map(c => [r, c]))
    .filter(([r, c]) => !rows[r] || !columns[c]);
}

// ---- drawing them ----

function drawStage() {
  const {p} = model, parts = tensorsOf(state.of);
  const tensors = parts.map(part => ({part, planes: planesOf(part)}));
  const {across, cells} = cellSizes(tensors, $("stage").clientWidth), inset = p.dims === 1 && planesInset(tensors,
    cells);
  drawnPlanes = [];
  $("stage").classList.toggle("beside", across !== null);
  $("stage").classList.toggle("painting", painting);
  $("stage").classList.toggle("flat", p.dims === 1);
  $("stage").replaceChildren(...tensors.map(({part, planes}, at) => {
    const figures = planes.map(plane => {
      const drawn = drawPlane(plane, cells[at], p.dtype), caption = captionOf(plane);
      drawnPlanes.push({...drawn, plane});
      listen(drawn, plane);
      return make("figure", {"data-colour": caption?.querySelector("i")?.dataset.colour ?? null}, caption, drawn.root);
    });
    const focused = document.activeElement?.dataset?.tensor === part;
    const box = make("div", {
      class: `tensor ${LIKE[part]}`, "data-tensor": part, tabindex: 0, role: "group",
      "aria-label": say("tensorLabel", {name: say(part), shape: tensorNow(part).shape.join(" × ")}),
      "aria-describedby": "keys", onkeydown: event => onKey(event, part),
    }, make("h3", {}, make("span", {text: say(part)}), make("small", {text: tensorNow(part).shape.join(" × ")})),
      make("div", {class: "planes"}, figures));
    const grid = box.lastChild.style;
    if (across) grid.gridTemplateColumns = `repeat(${across[at]}, max-content)`;
    if (inset && part !== "input") grid.marginLeft = `${inset}px`;
    if (focused) queueMicrotask(() => box.focus({preventScroll: true}));
    return box;
  }));
  for (const {root, plane} of drawnPlanes) if (plane.pinned) showIn(root.closest(".planes"), root);
}

// On a narrow screen the planes of a tensor are a strip: moves it to the plane that holds what is pinned.
function showIn(strip, root) {
  const [outer, inner] = [strip, root].map(element => element.getBoundingClientRect());
  if (inner.left < outer.left || inner.right > outer.right) strip.scrollLeft += inner.left - outer.left;
}

// In one dimension, how far the other tensors begin to the right, so that equal places stand below one another.
function planesInset(tensors, cells) {
  const low = Math.max(...tensors.map(({planes}) => planes[0].low[1])), room = $("stage").clientWidth;
  const fits = tensors.every(({part, planes}, at) => part === "input" || (planeColumns(planes[0]) + low) * cells[at]
    + TICK + 2 <= room);
  return fits ? low * cells[0] : 0;
}

function captionOf(plane) {
  if (LIKE[plane.part] === "bias") return null;
  const {p} = model, like = LIKE[plane.part], channel = plane.lead[plane.lead.length - 1];
  const group = like === "input" ? groupOfInput(p, channel) : like === "output" ? groupOfOutput(p, channel)
    : p.transposed ? groupOfInput(p, plane.lead[0]) : groupOfOutput(p, plane.lead[0]);
  return make("figcaption", {}, p.groups > 1 ? make("i", {class: "dot", "data-colour": group % 8}) : null,
    make("code", {text: named(plane.part, plane.lead)}),
    like === "output" && state.filter === "classics"
      ? make("span", {text: say(`filter-${CLASSICS[channel % CLASSICS.length]}`)}) : null);
}

// The places to mark in each tensor, for what is looked at now.
function drawMarks() {
  const {p} = model, trace = tracedNow(), marked = new Map();
  const add = (part, index, kind) => {
    if (index === null) return;
    const dims = part === "bias_grad" ? 1 : p.dims, places = index.slice(-dims),
      key = `${part} ${index.slice(0, -dims).join(".")}`;
    if (!marked.has(key)) marked.set(key, {met: [], one: [], chosen: []});
    marked.get(key)[kind].push(places.length === 1 ? [0, places[0]] : places);
  };
  const factors = trace.of === "feeds" ? ["weight", "output"] : FACTORS[trace.of];
  const indexOf = (term, part) => part === "input" ? term.position : LIKE[part] === "output" ? term.output
    : term.weight;
  const once = new Set();
  trace.terms.forEach((term, at) => factors.forEach(part => {
    const index = indexOf(term, part), key = `${part} ${index}`;
    if (!once.has(key)) add(part, index, "met");
    once.add(key);
    if (at === chosenTerm) add(part, index, "one");
  }));
  add(trace.of === "feeds" ? "input" : trace.of, trace.at, "chosen");
  if (picked) add(picked.part, picked.index, "one");
  for (const {plane, mark: show} of drawnPlanes)
    show(marked.get(`${plane.part} ${plane.lead.join(".")}`) ?? {});
  return trace;
}
