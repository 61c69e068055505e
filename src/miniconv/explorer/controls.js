"use strict";
// The controls: a slider and its number for each size, choices for the rest; and what is said where a rule is broken.

const LIMITS = {
  input_size: [1, 16, 256], in_channels: [1, 8, 64], out_channels: [1, 8, 64], groups: [1, 8, 64],
  kernel_size: [1, 7, 31],
  stride: [1, 5, 16], dilation: [1, 4, 16], padding: [0, 6, 32], output_padding: [0, 3, 15],
  image: [0, 7, 63],
};
const ZERO_TYPED = ["groups", "stride", "dilation"]; // a zero can be typed, to see what torch says of it
let built = "";

const set = (name, a, number) => {
  const p = state.p;
  if (!Array.isArray(p[name])) return change({p: {...p, [name]: number}});
  const tiedField = state.tie && name !== "input_size";
  return change({p: {...p, [name]: p[name].map((old, axis) => a === axis || tiedField ? number : old)}});
};

function setSide(a, side, number) {
  const {p} = state, alike = state.tie && state.word === "numbers";
  const padding = p.padding.map((pair, axis) => pair.map((old, at) => alike || (axis === a && at === side) ? number
    : old));
  change({p: {...p, padding}, word: "numbers", tie: alike});
}

// Every slider of this state, as {id, field, label, value, limits, set}.
function sliders() {
  const {p, tie} = state, found = [];
  const add = (id, field, label, value, setter) => found.push({id, field, label, value, limits: LIMITS[field],
    set: setter});
  const perAxis = name => tie && name !== "input_size" || p.dims === 1
    ? add(name, name, say(name), () => state.p[name][0], number => set(name, 0, number))
    : range(p.dims).forEach(a => add(`${name}-${a}`, name, say(`${name}_${AXES[a]}`), () => state.p[name][a], number =>
      set(name, a, number)));
  if (p.batch > 1) add("image", "image", say("image"), () => state.from?.[0] ?? state.at?.[0] ?? 0, setImage);
  perAxis("input_size");
  for (const name of ["in_channels", "out_channels", "groups"]) add(name, name, say(name), () => state.p[name],
    number => set(name, 0, number));
  ["kernel_size", "stride", "dilation"].forEach(perAxis);
  if (p.transposed) perAxis("output_padding");
  if (tie && state.word === "numbers") add("padding", "padding", say("padding"), () =>
    Math.max(...state.p.padding.flat()), number => setSide(0, 0, number));
  else range(p.dims).forEach(a => [0, 1].forEach(side => add(`padding-${a}-${side}`, "padding",
    say(sideName(p, a, side)),
    () => state.p.padding[a][side], number => setSide(a, side, number))));
  return found;
}

// Another image of the batch; a gradient of the weight or bias sums over all of them.
function setImage(image) {
  if (state.of === "weight_grad" || state.of === "bias_grad" || !state.at) return;
  const first = between(image, 0, state.p.batch - 1), moved = index => index && [first, ...index.slice(1)];
  change({at: moved(state.at), from: moved(state.from)});
}

const sideName = (p, a, side) => p.dims === 1 || a === 1 ? ["left", "right"][side] : ["top", "bottom"][side];

function buildControls() {
  const {p, tie} = state, signature = [p.batch, p.dims, p.transposed, tie, state.word, spoken].join();
  if (signature === built) return;
  const first = built === "", focus = document.activeElement?.id,
    open = new Set([...document.querySelectorAll("#controls details[open]")].map(d => d.id));
  built = signature;
  const rows = sliders().map(slider => [slider.field, sliderRow(slider)]);
  const of = (...fields) => rows.filter(([field]) => fields.includes(field)).map(([, row]) => row);
  const wide = matchMedia("(min-width: 62rem)").matches;
  const section = (name, ...children) => make("details", {id: `section-${name}`, open: first ? wide
    || name === "operation" : open.has(`section-${name}`)},
    make("summary", {text: say(`section-${name}`)}), children);
  $("controls").replaceChildren(
    section("operation", segments("dims", "dimensions", ["1", "2"], setDims), segments("kind", "kind",
      ["ordinary", "transposed"], setKind)),
    section("sizes", of("image", "input_size", "in_channels", "out_channels", "groups"), quickGroups()),
    section("window", tieBox(), of("kernel_size", "stride", "dilation", "output_padding")),
    section("border", choice("word", WORDS.filter(word => word === "numbers" || !p.transposed && (word !== "causal"
      || p.dims === 1)), setWordOfPadding),
      of("padding"), choice("mode", MODES, mode => change({p: {...state.p, mode}}))),
    section("numbers", choice("source", SOURCES, setSource), paintRow(), choice("filter", FILTERS, setFilter),
      choice("gradient", GRADIENTS, gradient => change({gradient})),
      choice("dtype", Object.keys(ARITHMETIC), dtype => change({p: {...state.p, dtype}}), name => name), biasRow(),
        drawRow()));
  if (focus && focus !== "body") $(focus)?.focus();
}

function sliderRow({id, field, label, value, limits: [low, usual, most], set: put}) {
  const typed = ZERO_TYPED.includes(field) ? 0 : low;
  const slider = make("input", {type: "range", id: `range-${id}`, min: low, max: usual, step: 1,
    "aria-labelledby": `label-${id}`,
    oninput: event => put(Number(event.target.value))});
  const number = make("input", {type: "number", id: `number-${id}`, min: typed, max: most, step: 1,
    inputmode: "numeric", "aria-labelledby": `label-${id}`,
    oninput: event => { if (event.target.value !== "") put(between(Number(event.target.value), typed, most)); },
    onblur: () => fillControls()});
  const row = make("div", {class: "row", "data-field": field}, make("label", {id: `label-${id}`, for: `range-${id}`,
    text: label}), slider, number,
    make("p", {class: "error bad", hidden: true}));
  row.fill = () => {
    const now = value();
    slider.max = Math.max(usual, now);
    slider.value = now;
    if (document.activeElement !== number || Number(number.value) !== now) number.value = now;
  };
  return row;
}

// A choice of words as a select with its label; its texts are found under "name-word".
function choice(name, words, put, text = word => say(`${name}-${word}`)) {
  const select = make("select", {id: `choice-${name}`, onchange: event => put(event.target.value)},
    words.map(word => make("option", {value: word, text: text(word)})));
  const row = make("div", {class: "row choice", "data-field": name === "word" ? "stride" : name},
    make("label", {for: `choice-${name}`, text: say(name)}), select,
    make("p", {class: "error bad", hidden: true}));
  row.fill = () => { select.value = {word: state.word, mode: state.p.mode, dtype: state.p.dtype}[name] ?? state[name];
    };
  return row;
}

function segments(id, name, words, put) {
  const buttons = words.map(word => make("button", {type: "button", id: `${id}-${word}`, text: say(`${name}-${word}`),
    onclick: () => put(word)}));
  const row = make("div", {class: "segments", role: "group", "aria-label": say(name)}, buttons);
  row.fill = () => buttons.forEach((button, at) => {
    const now = id === "dims" ? String(state.p.dims) : state.p.transposed ? "transposed" : "ordinary";
    button.setAttribute("aria-pressed", String(words[at] === now));
  });
  return row;
}

function tieBox() {
  if (state.p.dims === 1 && !state.tie) return checkbox("tie", () => state.tie, setTie, say("tie1d"));
  return checkbox("tie", () => state.tie, setTie, say(state.p.dims === 1 ? "tie1d" : "tie"));
}

const biasRow = () => checkbox("bias", () => state.p.bias, on => change({p: {...state.p, bias: on}}), say("biasBox"));
const paintRow = () => checkbox("paint", () => painting, on => { painting = on; render(); }, say("paint"));

function checkbox(id, now, put, text) {
  const box = make("input", {type: "checkbox", id: `box-${id}`, onchange: event => put(event.target.checked)});
  const row = make("div", {class: "row check"}, box, make("label", {for: `box-${id}`, text}));
  row.fill = () => { box.checked = now(); };
  return row;
}

const quickGroups = () => make("div", {class: "quick"}, make("button", {type: "button", id: "one-group",
  text: say("groups-1"), onclick: () => set("groups", 0, 1)}),
  make("button", {type: "button", id: "depthwise", text: say("groups-depthwise"), onclick: () => {
    const {p} = state, channels = Math.max(2, p.in_channels);
    change({p: {...p, in_channels: channels, groups: channels, out_channels: channels * Math.max(1,
      Math.round(p.out_channels / channels))}});
  }}));

const drawRow = () => make("div", {class: "quick"}, make("button", {type: "button", id: "draw",
  text: say("drawNumbers"),
  onclick: () => change({seed: state.seed + 1, source: state.source === "numbers" || state.source === "count"
    ? "numbers" : state.source, filter: "numbers", edits: noEdits()})}),
  make("button", {type: "button", id: "clear", text: say("clearEdits"), onclick: () => change({edits: noEdits()})}));

// ---- changes of more than one field ----

function setDims(word) {
  const dims = Number(word), {p} = state;
  if (dims === p.dims) return;
  const turned = values => dims === 1 ? [values[values.length - 1]] : [values[0], values[0]];
  const changed = Object.fromEntries(["input_size", "kernel_size", "stride", "dilation", "padding", "output_padding"]
    .map(name => [name, turned(p[name])]));
  if (dims === 2) changed.input_size = changed.input_size.map(size => Math.min(size, 12));
  change({p: {...p, ...changed, dims}, at: null, from: null, edits: noEdits()});
}

const setKind = word => change({p: {...state.p, transposed: word === "transposed", mode: "zeros"}, word: "numbers",
  edits: {...state.edits, weight: {}, grad_output: {}}});
const setWordOfPadding = word => change({word, tie: state.tie && word === "numbers" ? isDefault(state.p.padding.flat(),
  state.p.padding[0][0]) : state.tie});

function setTie(tie) {
  const {p} = state, alike = name => p[name].map(() => p[name][0]);
  change({tie, p: tie ? {...p, kernel_size: alike("kernel_size"), stride: alike("stride"), dilation: alike("dilation"),
    output_padding: alike("output_padding"), padding: state.word === "numbers" ? p.padding.map(() => [p.padding[0][0],
      p.padding[0][0]]) : p.padding} : p});
}

function setSource(source) {
  painting = source === "picture";
  const {p} = state, size = {photo: p.input_size.map((_, a) => [photo.rows, photo.columns][a]),
    picture: p.input_size.map(() => 14)}[source];
  const back = p.input_size.map(number => number > 16 ? 8 : number);
  change({source, p: {...p, input_size: size ?? back}, edits: {...state.edits, input: {}}, from: null});
}

function setFilter(filter) {
  const {p} = state, three = Object.hasOwn(THREE, filter) || filter === "classics";
  const kernel_size = three ? p.kernel_size.map(() => 3) : p.kernel_size, fractions = ["mean", "gaussian", "classics"]
    .includes(filter);
  change({filter, p: {...p, kernel_size, out_channels: filter === "classics" && p.groups === 1 ? CLASSICS.length
    : p.out_channels,
    dtype: fractions && ARITHMETIC[p.dtype].whole ? "float32" : p.dtype}, edits: {...state.edits, weight: {},
      bias: {}}});
}

// ---- filling them in, and what is broken ----

function fillControls() {
  for (const row of document.querySelectorAll("#controls .row, #controls .segments")) row.fill?.();
  for (const [button, on] of [["one-group", state.p.groups === 1], ["depthwise", state.p.groups === state.p.in_channels
    && state.p.groups > 1]])
    $(button).setAttribute("aria-pressed", String(on));
  $("clear").hidden = PARTS.every(part => Object.keys(state.edits[part]).length === 0);
  $("choice-mode").closest(".row").hidden = false;
  $("choice-gradient").closest(".row").hidden = state.of === "output";
  $("box-paint").closest(".row").hidden = state.of === "input_grad" || state.of === "bias_grad";
  let told = false;
  for (const row of document.querySelectorAll("#controls [data-field]")) {
    const here = model.rule !== null && row.dataset.field === model.rule.control && !told,
      error = row.querySelector(".error");
    told ||= here;
    error.hidden = !here;
    error.textContent = here ? ruleText(model.rule) : "";
    row.classList.toggle("wrong", here);
    for (const input of row.querySelectorAll("input, select")) input.setAttribute("aria-invalid", String(here));
    if (here) row.closest("details").open = true;
  }
}

const ruleText = rule => rule.kind === "size" ? say("tooLarge") : rule.text;

function drawBroken() {
  const {rule} = model, box = $("broken");
  box.hidden = rule === null;
  $("live").hidden = rule !== null;
  if (rule === null) return box.replaceChildren();
  const found = remediesFor(model.p, state.word, rule), whole = found.some(({p, word}) => broken(p, word) === null);
  const remedies = found.map(({name, value, axis, p, word}) => make("button", {type: "button",
    text: remedyText(name, value, axis, p), onclick: () => change({p, word, tie: state.tie && tied(p)})}));
  const heading = rule.kind === "size" ? say("pageLimit") : say("torchSays");
  box.replaceChildren(make("h2", {text: heading}), make("p", {class: "torch"}, code(rule.kind === "size"
    ? say("tooLarge") : `${rule.kind}: ${rule.text}`)),
    make("p", {text: say(`why-${rule.control}`)}), remedies.length
      ? make("p", {text: say(whole ? "remedies" : "remediesFirst")}) : "", make("div", {class: "quick"}, remedies));
}

function remedyText(name, value, axis, p) {
  if (name === "word") return say("remedyWord");
  const label = axis === null || p.dims === 1 || name === "padding" ? say(name) : say(`${name}_${AXES[axis]}`);
  const where = name === "padding" && axis !== null && p.dims === 2 ? ` (${axisName(p, axis)})` : "";
  return `${label}${where} = ${name === "mode" ? say(`mode-${value}`) : value}`;
}
