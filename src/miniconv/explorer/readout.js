"use strict";
// What is said about the element that is looked at: its value, its formula, its terms, its channels one by one.

const ROWS = 48, SUMMANDS = 8, LETTERS = ["h", "w"];
const times = (name, factor) => factor === 1 ? name : `${name} * ${factor}`;
const code = (text, attributes = {}) => make("code", {...attributes, text});

// The definition of the part in this problem's numbers, and how the indices meet, as miniconv.explain prints them.
function formulaLines(p, of) {
  const letters = LETTERS.slice(-p.dims), [ins, outs, taps] = ["i", "o", "k"].map(kind => letters.map(l => kind + l)
    .join(", "));
  const divided = p.groups > 1 ? ` % ${shapesOf(p).weight[1]}` : "", image = p.batch === null ? "" : "n, ";
  const input = `input[${image}ic, ${ins}]`, output = `${image}oc, ${outs}`;
  const weight = `weight[${p.transposed ? `ic, oc${divided}` : `oc, ic${divided}`}, ${taps}]`;
  const [ics, ocs] = p.groups > 1 ? ["ic in oc's group", "oc in ic's group"] : ["ic", "oc"];
  const grad = `grad_output[${output}]`;
  const [left, over, product] = {
    output: [`output[${output}]`, `${ics}, ${taps}`, `${input} * ${weight}`],
    input_grad: [input.replace("input", "input_grad"), `${ocs}, ${taps}`, `${grad} * ${weight}`],
    weight_grad: [weight.replace("weight", "weight_grad"), image + (p.transposed ? ins : outs), `${grad} * ${input}`],
    bias_grad: ["bias_grad[oc]", image + outs, grad],
  }[of];
  const lines = [`${left} = ${of === "output" && p.bias ? "bias[oc] + " : ""}sum over ${over} of ${product}`];
  return of === "bias_grad" ? lines : [...lines, `where ${relation(p)}`];
}

function relation(p) {
  const [wide, narrow] = p.transposed ? ["o", "i"] : ["i", "o"];
  return LETTERS.slice(-p.dims).map((letter, a) => {
    const low = p.padding[a][0] ? ` - ${p.padding[a][0]}` : "";
    return `${wide}${letter} = ${times(narrow + letter, p.stride[a])}${low} + ${times(`k${letter}`, p.dilation[a])}`;
  }).join(", ");
}

// ---- the bar under the stage ----

function drawPicked() {
  const {p} = model, focus = looked(), part = focus.kind === "feeds" ? "input" : state.of;
  const cell = picked && !hover ? picked : {part, index: focus.at};
  const tensor = tensorNow(cell.part), text = shown(valueAt(tensor, cell.index), p.dtype), biased = biasField(focus);
  const edited = PARTS.includes(cell.part) && cell.part !== "bias" && !hover;
  const name = named(cell.part, cell.index);
  const value = edited
    ? make("input", {id: "value", type: "text", inputmode: "text", value: text, "aria-label": say("editLabel", {name}),
      size: 7, onchange: event => edit(cell.part, cell.index, event.target.value)})
    : make("b", {text});
  const count = feedsCount(focus), fed = count === null ? null : say(count === 1 ? "feedsOne" : "feeds", {count});
  const box = $("picked");
  if (box.contains(document.activeElement) && edited && box.dataset.name === name) {
    $("value").value = text;
    return;
  }
  box.dataset.name = name;
  box.replaceChildren(make("p", {class: LIKE[cell.part]}, code(name), " = ", value,
    fed && make("span", {class: "soft", text: ` ${fed}`}), biased));
  if (!hover) $("said").textContent = [`${name} = ${text}`, ...(fed ? [fed] : [])].join(". ");
}

// The bias of the pinned output's channel, to be edited.
function biasField(focus) {
  if (!model.p.bias || state.of !== "output" || hover || picked || focus.kind === "feeds") return null;
  const index = [focus.at[focus.at.length - 1 - model.p.dims]], name = named("bias", index);
  return [make("span", {class: "soft", text: " · "}), code(name), " = ", make("input", {id: "bias-value", type: "text",
    size: 5,
    value: shown(valueAt(model.operands.bias, index), model.p.dtype), "aria-label": say("editLabel", {name}),
    onchange: event => edit("bias", index, event.target.value)})];
}

const feedsCount = focus => focus.kind === "feeds" ? feedsOf(model.p, focus.at).length : null;

// ---- the terms ----

function drawTerms(trace) {
  const {p} = model, feeding = trace.of === "feeds", blocks = [];
  const factors = feeding ? ["input", "weight"] : FACTORS[trace.of];
  if (!feeding) blocks.push(make("p", {class: "formula"}, formulaLines(p, trace.of).map(line => code(line)),
    make("small", {text: say(trace.of === "bias_grad" ? "lettersBias" : p.dims === 1 ? "letters1d" : "letters")})),
      sumLine(trace, factors));
  else blocks.push(make("p", {text: say("feedsWhy", {name: named("input", trace.at)})}));
  if (!feeding && trace.terms.length) blocks.push(channelSums(trace));
  blocks.push(trace.terms.length ? termsTable(trace, factors, feeding)
    : make("p", {class: "soft", text: say(feeding ? "feedsNothing" : "noTerms")}));
  $("terms").replaceChildren(...blocks.filter(Boolean));
  $("why-title").textContent = say(feeding ? "feedsTitle" : "whyTitle", {count: trace.terms.length});
}

function sumLine(trace, factors) {
  const {dtype} = model.p, products = trace.terms.map(term =>
    make("span", {class: "term"}, term.values.flatMap((value, at) => [
      at ? "·" : "", make("span", {class: LIKE[factors[at]], text: bracketed(shown(value, dtype))})])));
  const more = products.length - SUMMANDS;
  if (more > 1) products.splice(SUMMANDS / 2, more, make("span", {class: "soft", text: say("more", {count: more})}));
  if (trace.bias !== null) products.push(make("span", {}, bracketed(shown(trace.bias, dtype)),
    make("small", {text: ` ${say("bias")}`})));
  const plus = products.flatMap((product, at) => at ? [" + ", product] : [product]);
  const exact = exactSum(trace), off = exact !== null && !exact.equals(trace.computed);
  const inexact = trace.terms.some(term => ARITHMETIC[dtype].whole && Math.abs(term.running) > Number.MAX_SAFE_INTEGER);
  return make("p", {class: "sum"}, code(named(trace.of, trace.at), {class: LIKE[trace.of]}), " = ", plus.length ? plus
    : "0", " = ",
    make("b", {id: "total", text: shown(trace.computed, dtype)}),
    off ? make("small", {id: "exact", class: "odd", text: ` ${say("exactly", {dtype, value: exact.value})}`}) : null,
    inexact ? make("small", {class: "bad", text: ` ${say("inexact")}`}) : null);
}

// The sum of each channel, where there is more than one.
function channelSums(trace) {
  const {p} = model, key = trace.of === "output" ? "ic" : trace.of === "input_grad" ? "oc" : null, sums = new Map();
  if (key === null) return null;
  for (const term of trace.terms) sums.set(term[key], ARITHMETIC[p.dtype].step((sums.get(term[key]) ?? 0)
    + term.product));
  if (sums.size < 2) return null;
  const group = channel => (key === "ic" ? groupOfInput : groupOfOutput)(p, channel) % 8;
  return make("ul", {class: "sums", "aria-label": say("channelSums")}, [...sums].map(([channel, sum]) => make("li", {},
    p.groups > 1 ? make("i", {class: "dot", "data-colour": group(channel)}) : null,
    `${key} ${channel}: `, make("b", {text: shown(sum, p.dtype)}))));
}

function termsTable(trace, factors, feeding) {
  const {dtype} = model.p, heads = feeding ? ["output", "input", "weight", "product"] : [...factors, "product",
    "running"];
  const kept = trace.terms.map((term, at) => [term, at]);
  const cut = kept.length > ROWS ? kept.splice(ROWS / 2, kept.length - ROWS).length : 0;
  const rows = kept.map(([term, at]) => termRow(term, at, factors, feeding, dtype));
  if (cut) rows.splice(ROWS / 2, 0, make("tr", {class: "cut"}, make("td", {colspan: heads.length + 1,
    text: say("more", {count: cut})})));
  const move = event => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (!step) return;
    event.preventDefault();
    chooseTerm(between((chosenTerm ?? -step) + step, 0, trace.terms.length - 1));
  };
  return make("div", {class: "box", tabindex: 0, role: "region", "aria-label": say("termsLabel"), onkeydown: move},
    make("table", {}, make("thead", {}, make("tr", {}, make("th", {scope: "col", text: "#"}),
      heads.map(head => make("th", {scope: "col", class: LIKE[head] ?? "", text: say(head)})))),
        make("tbody", {}, rows)));
}

function termRow(term, at, factors, feeding, dtype) {
  const border = term.place !== "inside" ? say(`place-${term.place}`) : null;
  const cells = factors.map((factor, which) => {
    const index = factor === "input" ? (feeding ? null : term.position) : factorIndex(term, factor);
    const notes = [index ? `[${index.join(", ")}]` : null, factor === "input" && !feeding ? border : null]
      .filter(Boolean);
    return make("td", {class: LIKE[factor]}, make("b", {text: shown(term.values[which], dtype)}), " ",
      notes.length ? make("small", {text: notes.join(" ")}) : null);
  });
  if (feeding) cells.unshift(make("td", {class: "output"}, make("small", {text: `[${term.output.join(", ")}]`})));
  cells.push(make("td", {}, make("b", {text: shown(term.product, dtype)})));
  if (!feeding) cells.push(make("td", {}, make("b", {text: shown(term.running, dtype)})));
  return make("tr", {"data-term": at, class: at === chosenTerm ? "one" : null, onpointerenter: () => chooseTerm(at),
    onpointerleave: () => chooseTerm(null)}, make("th", {scope: "row", text: at + 1}), cells);
}

function chooseTerm(at) {
  if (at === chosenTerm) return;
  chosenTerm = at;
  drawMarks();
  for (const row of document.querySelectorAll("[data-term]")) row.classList.toggle("one",
    Number(row.dataset.term) === at);
  const row = at === null ? null : document.querySelector(`[data-term="${at}"]`), box = row?.closest(".box");
  if (!row) return; // the table alone is scrolled, not the page under the pointer
  const over = row.offsetTop + row.offsetHeight - box.clientHeight, under = row.offsetTop - row.offsetHeight;
  box.scrollTop = Math.min(Math.max(box.scrollTop, over), under);
}

// ---- channel by channel ----

// One plane for each input channel, which add up to the output's.
function drawPartials() {
  const {p} = model, wanted = state.of === "output" && p.in_channels / p.groups > 1;
  $("parts").hidden = !wanted;
  if (!wanted) return $("partials").replaceChildren();
  const {n, oc} = pinnedChannels(), shape = shapesOf(p).output, spatial = shape.slice(-p.dims), flat = p.dims === 1;
  const partials = partialsOf(p, n, oc, model.operands), size = flat ? [1, ...spatial] : spatial;
  const lead = [...(p.batch === null ? [] : [n]), oc], begin = flatIndex(shape, [...lead, ...spatial.map(() => 0)]);
  const whole = {caption: named("output", lead), data: model.result.data.slice(begin, begin + multiply(size))};
  const figures = windowOf(partials, partials[0]).map(({ic, data}) =>
    ({caption: `input[${ic}] * ${named("weight", kernelOf(p, ic, oc))}`, data}));
  const rest = partials.length - figures.length, all = [...figures, whole];
  const scale = Math.max(1e-300, ...all.flatMap(({data}) => [...data].filter(Number.isFinite).map(Math.abs)));
  const room = $("partials").clientWidth - TICK - 40, cell = Math.max(2, Math.floor(Math.min(28, room / size[1])));
  $("partials").replaceChildren(...all.flatMap(({caption, data}, at) => {
    const plane = {part: "partial", lead: [at], size, low: [0, 0], high: [0, 0], scale, flat, kind: "tint",
      value: (r, c) => data[r * size[1] + c]};
    const drawn = drawPlane(plane, size[1] * 24 > room ? Math.min(cell, 8) : cell, p.dtype);
    if (state.from === null) drawn.mark({chosen: [flat ? [0, state.at[state.at.length - 1]] : state.at.slice(-2)]});
    const last = at === all.length - 1;
    const bias = last && p.bias
      ? [make("span", {class: "sign", text: `+ ${shown(model.operands.bias.data[oc], p.dtype)}`})] : [];
    const more = last && rest ? [make("span", {class: "sign", text: say("more", {count: rest})})] : [];
    return [...more, ...bias, make("span", {class: "sign", text: last ? "=" : at ? "+" : ""}),
      make("figure", {}, make("figcaption", {}, code(caption)), drawn.root)];
  }));
}
