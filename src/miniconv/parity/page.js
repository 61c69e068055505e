"use strict";
// What a target said reaches the page through textContent and value alone: as text, never as markup.
const report = JSON.parse(document.getElementById("report").textContent);
const run = report.run, PAGE = 50;
const read = column => column.at.map(at => column.of[at]);
const axes = Object.fromEntries(Object.entries(report.axes).map(([name, column]) => [name, read(column)]));
const columns = Object.fromEntries(Object.entries(report.columns).map(([name, column]) => [name, read(column)]));
const number = value => typeof value === "string" ? Number(value.replace("inf", "Infinity")) : value;
const names = columns.verdict ?? [], total = names.length;
const passes = name => report.passing.includes(name);
const bits = (columns.bits ?? []).map(number), torchBits = (columns.torch_bits ?? []).map(number);
const counts = report.verdicts.filter(name => run.counts[name]).map(name => [name, run.counts[name]]);
const wrong = counts.reduce((sum, [name, count]) => sum + (passes(name) ? 0 : count), 0);
const text = names.map((name, at) => ["case", "detail", "divergence", "part"].map(field => columns[field][at])
  .concat(name).join("\n").toLowerCase());
const natural = new Intl.Collator("en", {numeric: true}).compare;
const plural = (count, what = "case") => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

const breakable = name => name.replaceAll("_", "_\u200b");
const values = column => column.of.filter(value => value !== null).sort(natural);
const $ = id => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// ---- what is chosen: kept in the address, so that a view can be kept and sent ----

const ORDERS = {
  "": ["wrong first", (a, b) => passes(names[a]) - passes(names[b]) || a - b],
  suite: ["as in the suite", (a, b) => a - b],
  bits: ["fewest bits first", (a, b) => rank(bits[a]) - rank(bits[b]) || a - b],
  time: ["slowest first", (a, b) => columns.seconds[b] - columns.seconds[a] || a - b],
};
const rank = value => value === Infinity ? 1e300 : Number.isNaN(value) || value === -Infinity ? -1e300 : value;
let chosen = {}, page = 0, found = [];

function parse() {
  const said = new URLSearchParams(location.hash.slice(1));
  chosen = {};
  if (said.get("words")) chosen.words = said.get("words");
  if ([...counts.map(([name]) => name), "wrong"].includes(said.get("verdict"))) chosen.verdict = said.get("verdict");
  if (Object.hasOwn(ORDERS, said.get("order") ?? "")) chosen.order = said.get("order") ?? "";
  for (const [axis, values] of Object.entries(report.axes))
    if (said.has(axis) && values.of.includes(said.get(axis))) chosen[axis] = said.get(axis);
  page = Math.max(0, (Number.parseInt(said.get("page"), 10) || 1) - 1);
}

function choose(changes, {push = true, clear = false, at = 0} = {}) {
  chosen = {...clear ? {order: chosen.order} : chosen, ...changes};
  page = at;
  const said = new URLSearchParams(Object.entries(chosen).filter(([, value]) => value));
  if (page) said.set("page", page + 1);
  const address = said.size ? `#${said}` : location.pathname + location.search;
  history[push ? "pushState" : "replaceState"](null, "", address);
  show();
}

function cases() {
  const words = (chosen.words ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const set = Object.keys(axes).filter(axis => chosen[axis]);
  const result = [];
  for (let at = 0; at < total; at++) {
    if (chosen.verdict === "wrong" ? passes(names[at]) : chosen.verdict && names[at] !== chosen.verdict) continue;
    if (set.every(axis => axes[axis][at] === chosen[axis]) && words.every(word => text[at].includes(word)))
      result.push(at);
  }
  return result.sort(ORDERS[chosen.order ?? ""][1]);
}

// ---- the parts of the page ----

function heading() {
  const state = wrong ? "bad" : total ? "good" : "odd";
  $("outcome").append(make("strong", {class: state},
    wrong ? `${wrong.toLocaleString("en")} of ${plural(total)} are wrong` :
    total ? `None of ${plural(total)} is wrong` : "No case was judged"));
  if (total < run.chosen) {
    $("ended").hidden = false;
    $("ended").textContent = `${run.interrupted ? "Interrupted" : "Stopped"} after ${total.toLocaleString("en")} of ` +
      `${plural(run.chosen)}.`;
  }
  $("about").textContent = `${run.suite} (${run.ops.join(", ")})${run.shard ? `, part ${run.shard}` : ""}, ` +
    `level ${run.level}, seed ${run.seed}, ${run.seconds.toFixed(1)} s`;
  $("likely").hidden = !run.likely.length;
  for (const {fault, verdict, part, show} of run.likely)
    $("faults").append(make("li", {}, make("strong", {}, fault || "No known fault gives these numbers"), ": ",
      `${verdict} in ${part.replaceAll("_", " ")}, also on the smallest case that was found:`, make("pre", {}, show)));
  for (const [label, name, count, tone] of [["cases", "", total, ""], ["wrong", "wrong", wrong, wrong ? "bad" : "good"],
      ...counts.map(([name, count]) => [name, name, count, passes(name) ? "" : "bad"])])
    $("totals").append(make("li", {}, make("button", {type: "button", onclick: () => lead({verdict: name})},
      make("b", {class: tone}, count.toLocaleString("en")), label)));
  const versions = Object.entries(run.versions).map(pair => pair.join(" ")).join(", ");
  for (const [name, value] of [["target", run.target], ["command", run.command], ["versions", versions],
      ["processor", run.cpu], ["started", run.started], ["took", `${run.seconds.toFixed(1)} s`],
      ["judged", `${total.toLocaleString("en")} of ${plural(run.chosen)}` +
        (run.interrupted ? ", then interrupted" : total < run.chosen ? ", then stopped" : "")]])
    $("run").append(make("dt", {}, name), make("dd", {}, name === "command" ? make("code", {}, value) : value));
}

function lead(changes) {  // from a total or from the matrix to its cases
  choose(changes, {clear: true});
  land();
}

function land() {
  $("cases-title").scrollIntoView();
  $("cases-title").focus({preventScroll: true});
}

function matrix() {
  const table = make("table", {role: "table", "aria-describedby": "matrix-help", "aria-labelledby": "matrix-title"});
  const head = make("tr", {role: "row"}, make("th", {role: "columnheader", scope: "col"}, "parameter"));
  head.append(...counts.map(([name]) => make("th", {role: "columnheader", scope: "col"}, breakable(name))));
  table.append(make("thead", {role: "rowgroup"}, head));
  for (const [axis, column] of Object.entries(report.axes)) {
    const body = make("tbody", {role: "rowgroup"}, make("tr", {role: "row"},
      make("th", {class: "axis", role: "rowheader", scope: "rowgroup", colspan: counts.length + 1},
        make("span", {}, axis))));
    const sums = new Map(values(column).map(value => [value, new Map()]));
    axes[axis].forEach((value, at) => sums.get(value)?.set(names[at], (sums.get(value).get(names[at]) ?? 0) + 1));
    for (const [value, sum] of sums) body.append(line(axis, value, sum));
    table.append(body);
  }
  table.addEventListener("keydown", event => walk(event, table));
  $("matrix").append(table);
  const first = table.querySelector("button");
  if (first) first.tabIndex = 0;
}

function line(axis, value, sum) {
  const row = make("tr", {role: "row"}, make("th", {role: "rowheader", scope: "row"}, value));
  const all = [...sum.values()].reduce((a, b) => a + b, 0);
  for (const [name] of counts) {
    const count = sum.get(name), cell = make("td", {role: "cell"});
    if (count) {
      cell.append(make("button", {type: "button", tabindex: -1, "data-verdict": name,
        "aria-label": `${plural(count)} ${name} with ${axis} ${value}`,
        onclick: () => lead({verdict: name, [axis]: value})}, String(count)));
      if (!passes(name)) { cell.className = "fails"; cell.style.setProperty("--share", count / all); }
    }
    row.append(cell);
  }
  return row;
}

function walk(event, table) {  // one tab stop for the whole matrix; arrow keys, Home and End move within it
  const from = event.target.closest("button");
  if (!from) return;
  const all = [...table.querySelectorAll("button")], here = all.indexOf(from), column = from.parentElement.cellIndex;
  const same = all.filter(button => button.parentElement.cellIndex === column), row = same.indexOf(from);
  const to = {ArrowRight: all[here + 1], ArrowLeft: all[here - 1], ArrowDown: same[row + 1], ArrowUp: same[row - 1],
    Home: all[0], End: all.at(-1)}[event.key];
  if (!to) return;
  event.preventDefault();
  from.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
}

function controls() {
  const options = (select, pairs) =>
    select.append(...pairs.map(([value, label]) => make("option", {value}, label)));
  options($("verdict"), [["", "all"], ["wrong", `wrong (${wrong})`],
    ...counts.map(([name, count]) => [name, `${name} (${count})`])]);
  options($("order"), Object.entries(ORDERS).map(([name, [label]]) => [name, label]));
  for (const [axis, column] of Object.entries(report.axes)) {
    const select = make("select", {"data-axis": axis});
    options(select, [["", "any"], ...values(column).map(value => [value, value])]);
    select.addEventListener("change", () => choose({[axis]: select.value}));
    $("parameters").append(make("label", {}, axis, select));
  }
  $("words").addEventListener("input", () => choose({words: $("words").value}, {push: false}));
  for (const field of ["verdict", "order"])
    $(field).addEventListener("change", () => choose({[field]: $(field).value}));
  $("filters").addEventListener("submit", event => event.preventDefault());
  $("before").addEventListener("click", () => turn(page - 1));
  $("after").addEventListener("click", () => turn(page + 1));
  $("skip").addEventListener("click", event => { event.preventDefault(); land(); });
  for (const happening of ["popstate", "hashchange"]) addEventListener(happening, () => { parse(); show(); });
}

function turn(to) {
  choose({}, {at: to});
  land();
}
