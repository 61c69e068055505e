"use strict";
// The output's size written out, the pixels that no window reaches and why, which group sees what, and the code.

const AXES = ["height", "width"];
const axisName = (p, a) => say(p.dims === 1 ? "length" : AXES[a]);
const list = (numbers, most = 8) => numbers.length > most ? `${numbers.slice(0, most).join(", ")}, …`
  : numbers.join(", ");

function drawArithmetic() {
  const {p} = model, lines = p.input_size.map((_, a) => make("div", {class: "axis"}, make("h3", {text: axisName(p, a)}),
    p.transposed ? transposedSize(p, a) : ordinarySize(p, a)));
  const {input, weight, output} = shapesOf(p);
  const facts = say("facts", {
    input: input.join(" × "), output: output.join(" × "), weights: (multiply(weight) + (p.bias ? p.out_channels : 0))
      .toLocaleString("en"),
    multiplyAdds: multiplyAdds(p).toLocaleString("en"),
  });
  $("arithmetic").replaceChildren(...lines, ...missedNote(p), make("p", {class: "soft", text: facts}));
}

function effectiveLine(p, a) {
  const d = p.dilation[a], k = p.kernel_size[a];
  return d === 1 ? null : make("p", {}, code(`${d} · (${k} − 1) + 1 = ${effectiveKernel(p)[a]}`), " ",
    make("span", {class: "soft", text: say("effective", {dilation: d})}));
}

function ordinarySize(p, a) {
  const [low, high] = p.padding[a], size = p.input_size[a], e = effectiveKernel(p)[a], s = p.stride[a];
  const room = size + low + high - e, rest = room % s, out = outputSize(p)[a];
  const share = room / s, short = share === Math.round(share * 100) / 100 ? share : `${share.toFixed(2)}…`;
  const divided = rest ? `⌊${short}⌋` : share;
  const line = `⌊(${size} + ${low} + ${high} − ${e}) / ${s}⌋ + 1 = ${divided} + 1 = ${out}`;
  return [make("p", {class: "soft", text: say("sizeRule")}), effectiveLine(p, a), make("p", {class: "line"},
    code(line)),
    rest ? make("p", {class: "odd", text: say(rest === 1 ? "floorDropsOne" : "floorDrops", {rest, room, stride: s,
      more: s - rest})}) : null];
}

function transposedSize(p, a) {
  const [low, high] = p.padding[a], size = p.input_size[a], s = p.stride[a], extra = p.output_padding[a];
  const kernel = effectiveKernel(p)[a];
  const line = `(${size} − 1) · ${s} − ${low} − ${high} + ${kernel} + ${extra} = ${outputSize(p)[a]}`;
  return [make("p", {class: "soft", text: say("transposedRule")}), effectiveLine(p, a), make("p", {class: "line"},
    code(line))];
}

// How many pixels of a channel meet nothing, and the places along each axis that make it so.
function missedNote(p) {
  const notes = [["input_grad", "missed"], ...(p.transposed ? [["output", "holes"]] : [])].map(([of, key]) => {
    const {axes, all, count} = missedCells(p, of);
    const places = axes.map((axis, a) => [axisName(p, a), range(axis.length).filter(at => !axis[at])])
      .filter(([, missing]) => missing.length).map(([name, missing]) => `${name} ${list(missing)}`).join("; ");
    if (count) return make("p", {class: "odd", id: key}, make("span", {class: "swatch"}),
      say(key, {count, all, places}));
    return key === "missed" ? make("p", {class: "good", id: key, text: say("allReached", {all})}) : null;
  });
  return notes.filter(Boolean);
}

// ---- which group sees which channel ----

function drawChannels() {
  const {p} = model, wanted = p.in_channels + p.out_channels > 2;
  $("map").hidden = !wanted;
  if (!wanted) return;
  const inGroup = p.in_channels / p.groups, outGroup = p.out_channels / p.groups, {ic, oc} = pinnedChannels();
  const text = say(p.groups === 1 ? "oneGroup" : inGroup === 1 ? "depthwiseNote" : "groupsNote",
    {groups: p.groups, inGroup, outGroup, inputs: p.in_channels, outputs: p.out_channels});
  const blocks = [make("p", {text})];
  if (Math.max(p.in_channels, p.out_channels) <= 24) blocks.push(channelDiagram(p, ic, oc));
  $("channels").replaceChildren(...blocks);
}

function channelDiagram(p, ic, oc) {
  const width = 100, x = (at, count) => (at + .5) * width / count, lines = [], group = groupOfOutput(p, oc);
  for (const o of range(p.out_channels)) for (const {ic: i} of channelsOf(p, "output", [0, o]))
    lines.push(svg("line", {x1: x(i, p.in_channels), y1: 0, x2: x(o, p.out_channels), y2: 40,
      "vector-effect": "non-scaling-stroke",
      "data-colour": groupOfOutput(p, o) % 8, class: groupOfOutput(p, o) === group ? "here" : ""}));
  const choose = (part, channel) => {
    const focus = part === state.of || (part === "input" && state.of === "input_grad") || (part === "output"
      && state.of !== "output")
      ? state.at : part === "input" ? state.from ?? middleOf("input") : state.at;
    return jump(part, channel, focus);
  };
  const row = (part, count, now, groupOf) => make("div", {class: "chips", role: "group", "aria-label": say(part)},
    range(count).map(channel => make("button", {type: "button", "data-colour": groupOf(p, channel) % 8,
      "aria-pressed": String(channel === now), "aria-label": say("channelLabel", {name: say(part), channel,
        group: groupOf(p, channel)}),
      onclick: () => choose(part, channel), text: channel})));
  return make("div", {class: "diagram"}, make("span", {class: "soft", text: say("input")}), row("input", p.in_channels,
    ic, groupOfInput),
    svg("svg", {viewBox: `0 0 ${width} 40`, preserveAspectRatio: "none", class: "wires", "aria-hidden": "true"}, lines),
    row("output", p.out_channels, oc, groupOfOutput), make("span", {class: "soft", text: say("output")}));
}

const middleOf = part => nearest(null, shapesOf(model.p)[part], model.p.dims);

// Goes to a channel: to the same place of that channel of the output, or to an input's that feeds it.
function jump(part, channel, from) {
  const {p} = model, at = [...from], dims = p.dims;
  if (state.of === "output") {
    const index = part === "input" ? [...(state.from ?? middleOf("input"))] : at;
    index[index.length - 1 - dims] = channel;
    return pin(part, index);
  }
  if (state.of === "bias_grad") return part === "output" ? pin("bias_grad", [channel]) : undefined;
  if (state.of === "input_grad") {
    at[at.length - 1 - dims] = part === "input" ? channel
      : Math.floor(channel / (p.out_channels / p.groups)) * (p.in_channels / p.groups);
    return pin("input_grad", at);
  }
  const {ic, oc} = pinnedChannels(), wanted = part === "input" ? [channel, partner(p, channel, "input", oc)]
    : [partner(p, channel, "output", ic), channel];
  const [first, second] = kernelOf(p, ...wanted);
  return pin("weight_grad", [first, second, ...at.slice(-dims)]);
}

// A channel of the other side that is in the same group: the one that is shown, if it is.
function partner(p, channel, side, now) {
  const [mine, other, size] = side === "input" ? [groupOfInput, groupOfOutput, p.out_channels / p.groups]
    : [groupOfOutput, groupOfInput, p.in_channels / p.groups];
  return mine(p, channel) === other(p, now) ? now : mine(p, channel) * size;
}

// ---- the code ----

function drawCode() {
  const {p} = model, lines = torchLines(p, state.word, state.of).join("\n"), numbersToo = programText(p, lines);
  const terminal = `miniconv explain "${problemText(p)}" --at ${state.at.join(",")}`
    + (p.mode === "zeros" ? "" : ` --padding-mode ${p.mode}`) + (state.of === "output" ? "" : ` --of ${state.of}`);
  $("code").replaceChildren(
    ...snippet("torch", "PyTorch", lines), ...(numbersToo ? snippet("program", say("withNumbers"), numbersToo, true)
      : []),
    ...snippet("terminal", say("terminal"), terminal));
}

function snippet(id, title, text, folded = false) {
  const pre = make("pre", {id, tabindex: 0, role: "region", "aria-label": title}, code(text));
  const copy = make("button", {type: "button", class: "copy", "aria-label": say("copyLabel", {name: title}),
    text: say("copy"),
    onclick: event => copyText(text, event.target, pre)});
  return folded ? [make("details", {}, make("summary", {text: title}), make("div", {class: "snippet"}, pre, copy))]
    : [make("h3", {text: title}), make("div", {class: "snippet"}, pre, copy)];
}

async function copyText(text, button, pre) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = say("copied");
    $("said").textContent = say("copied");
    setTimeout(() => { button.textContent = say(button.id === "share" ? "share" : "copy"); }, 1500);
  } catch {
    if (pre) getSelection().selectAllChildren(pre);
    else button.textContent = say("inAddress");
  }
}

// A program that runs as it is, where the numbers are few.
function programText(p, lines) {
  const names = ["input", "weight", ...(p.bias ? ["bias"] : []), ...(state.of === "output" ? [] : ["grad_output"])];
  if (names.some(name => model.operands[name].data.length > 400)) return null;
  const wanted = {input_grad: "input", weight_grad: "weight", bias_grad: "bias"}[state.of];
  const tensors = names.map(name => {
    const {shape, data} = model.operands[name], grad = name === wanted ? ".requires_grad_()" : "";
    const numbers = [...data].map(value => pythonNumber(value, p.dtype)).join(", ");
    return `${SHORT[name]} = torch.tensor([${numbers}], dtype=torch.${p.dtype}).reshape(${shape.join(", ")})${grad}`;
  });
  return ["import torch", "import torch.nn.functional as F", "", ...tensors, lines,
    `print(${state.of === "output" ? "y" : "grad"})`].join("\n");
}

const pythonNumber = (value, dtype) => Number.isFinite(value) ? shown(value, dtype)
  : `float("${shown(value, dtype)}")`;
