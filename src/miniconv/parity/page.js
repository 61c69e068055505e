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
const FIELDS = {words: "words", verdict: "verdict", order: "order"};
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
  $("cases-title").scrollIntoView();
  $("cases-title").focus({preventScroll: true});
}

function matrix() {
  const table = make("table", {role: "table", "aria-describedby": "matrix-help", "aria-labelledby": "matrix-title"});
  const head = make("tr", {role: "row"}, make("th", {role: "columnheader", scope: "col"}, "parameter"));
  head.append(...counts.map(([name]) => make("th", {role: "columnheader", scope: "col"}, name.replaceAll("_", "_\u200b"))));
  table.append(make("thead", {role: "rowgroup"}, head));
  for (const [axis, column] of Object.entries(report.axes)) {
    const body = make("tbody", {role: "rowgroup"}, make("tr", {role: "row"},
      make("th", {class: "axis", role: "rowheader", scope: "rowgroup", colspan: counts.length + 1}, axis)));
    const sums = new Map(column.of.filter(value => value !== null).sort(natural).map(value => [value, new Map()]));
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
    options(select, [["", "any"], ...column.of.filter(value => value !== null).sort(natural).map(value => [value, value])]);
    select.addEventListener("change", () => choose({[axis]: select.value}));
    $("parameters").append(make("label", {}, axis, select));
  }
  $("words").addEventListener("input", () => choose({words: $("words").value}, {push: false}));
  for (const field of ["verdict", "order"]) $(field).addEventListener("change", () => choose({[field]: $(field).value}));
  $("filters").addEventListener("submit", event => event.preventDefault());
  $("before").addEventListener("click", () => turn(page - 1));
  $("after").addEventListener("click", () => turn(page + 1));
  $("skip").addEventListener("click", event => { event.preventDefault(); $("cases-title").focus(); });
  for (const happening of ["popstate", "hashchange"]) addEventListener(happening, () => { parse(); show(); });
}

function turn(to) {
  choose({}, {at: to});
  $("cases-title").scrollIntoView();
  $("cases-title").focus({preventScroll: true});
}

// ---- what the filters leave ----

function show() {
  found = cases();
  const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
  page = Math.min(page, last);
  for (const [field, id] of Object.entries(FIELDS))
    if ($(id).value !== (chosen[field] ?? "")) $(id).value = chosen[field] ?? "";
  for (const select of document.querySelectorAll("[data-axis]")) {
    select.value = chosen[select.dataset.axis] ?? "";
    if (select.value) $("more").open = true;
  }
  $("chips").replaceChildren(...Object.entries(chosen).filter(([field, value]) => value && field !== "order").map(
    ([field, value]) => make("li", {}, make("button", {type: "button", "aria-label": `Remove the filter ${field} ${value}`,
      onclick: () => { choose({[field]: ""}); $("cases-title").focus({preventScroll: true}); }}, `${field}: ${value} \u00d7`))));
  const start = page * PAGE, rows = found.slice(start, start + PAGE);
  $("chosen").textContent = found.length === total ? plural(total) : `${plural(found.length)} of ${total.toLocaleString("en")}`;
  $("list").replaceChildren(...rows.map(item));
  $("list").start = start + 1;
  $("pages").hidden = !last;
  $("page").textContent = `page ${page + 1} of ${last + 1}`;
  $("before").disabled = !page;
  $("after").disabled = page === last;
  histogram();
  slowest();
}

// Whether the target's numbers were held against exact ones: a case that failed for something else has no bits.
function measured(at) {
  return columns.shape[at].length > 0 && names[at] !== "TORCH_UNEXPLAINED" &&
    (columns.wrong[at] > 0 || ["EQUAL", "WITHIN_BOUND", "MISTRUSTED"].includes(names[at]));
}

function verdict(at) {
  return make("strong", {class: passes(names[at]) ? "" : "bad"}, names[at].replaceAll("_", "_\u200b"));
}

function item(at) {
  const seen = measured(at) && Number.isFinite(bits[at]) ? `${bits[at].toFixed(1)} bits, ` : "";
  const details = make("details", {}, make("summary", {}, verdict(at), make("code", {}, columns.case[at]),
    make("span", {class: "facts"}, seen + time(columns.seconds[at]))));
  details.addEventListener("toggle", () => { if (details.children.length === 1) details.append(explained(at)); });
  return make("li", {}, details);
}

function time(seconds) {
  return seconds < 1e-3 ? `${(seconds * 1e6).toFixed(0)} \u00b5s` : seconds < 1 ? `${(seconds * 1e3).toPrecision(3)} ms` :
    `${seconds.toPrecision(3)} s`;
}

const scalar = value => Array.isArray(value) ? `${value[0]} + ${value[1]}i` : String(value);

function explained(at) {
  const of = field => columns[field][at], list = make("dl");
  const say = (name, value) => value && list.append(make("dt", {}, name), make("dd", {}, value));
  say("part", of("part"));
  say("what", of("detail"));
  if (of("wrong")) {
    say("wrong", `${of("wrong").toLocaleString("en")} of ${plural(of("shape").reduce((a, b) => a * b, 1), "element")}`);
    say("worst element", `at (${of("index").join(", ")}) of shape (${of("shape").join(", ")}): ` +
      `got ${scalar(of("got"))}, want ${scalar(of("want"))}`);
  }
  say("bits right", [measured(at) ? `${precise(bits[at])} here` : "",
    of("torch_bits") === null ? "" : `${precise(torchBits[at])} in torch`].filter(Boolean).join(", "));
  if (measured(at)) say("error", `${typeof of("eta") === "string" ? of("eta") : of("eta").toPrecision(3)} units of u \u00b7 S`);
  say("known as", of("divergence"));
  say("took", time(of("seconds")));
  say("parameters", Object.keys(axes).filter(axis => axes[axis][at] !== null && axes[axis][at] !== undefined)
    .map(axis => `${axis} ${axes[axis][at]}`).join(", "));
  const [before, after] = report.reproduce[of("target")], line = before + of("case") + after;
  const code = make("code", {}, line), said = make("span", {role: "status", class: "soft"});
  const copy = make("button", {type: "button", onclick: () => keep(line, code, said)}, "Copy");
  const cell = make("div", {}, make("pre", {}, code), copy, " ", said);
  list.append(make("dt", {}, "judge it again"), make("dd", {}, cell));
  return list;
}

const precise = value => value === Infinity ? "all" : Number.isFinite(value) ? value.toFixed(1) : "none";

async function keep(line, code, said) {
  try {
    await navigator.clipboard.writeText(line);
    said.textContent = "copied";
  } catch {  // the browser does not let a page copy: the reader can
    getSelection().selectAllChildren(code);
    said.textContent = "selected: press Ctrl+C";
  }
}

function histogram() {
  const both = found.filter(at => columns.torch_bits[at] !== null && measured(at));
  $("bits-help").textContent = both.length ? "How many bits are right in the worst element, in the " +
    `${plural(both.length)} of those above in which the target and torch both give numbers.` :
    "In none of the cases above do the target and torch both give numbers.";
  const finite = both.flatMap(at => [bits[at], torchBits[at]]).filter(Number.isFinite).map(value => Math.max(0, value));
  const most = finite.reduce((a, b) => Math.max(a, b), 0), least = finite.reduce((a, b) => Math.min(a, b), most);
  const width = [1, 2, 4, 8].find(width => (most - least) / width < 16) ?? 16, low = Math.floor(least / width);
  const place = value => value === Infinity ? "all" : Number.isFinite(value) ? Math.floor(Math.max(0, value) / width) : "none";
  const bins = new Map([["all", [0, 0]]]);
  if (finite.length) for (let at = Math.floor(most / width); at >= low; at--) bins.set(at, [0, 0]);
  bins.set("none", [0, 0]);
  for (const at of both) [bits, torchBits].forEach((of, which) => bins.get(place(of[at]))[which]++);
  const largest = Math.max(1, ...[...bins.values()].flat());
  const label = bin => bin === "all" ? "all" : bin === "none" ? "none" : width === 1 ? `${bin}` : `${bin * width} to ${(bin + 1) * width}`;
  const bar = (count, name) => {
    const element = make("div", {class: `bar ${name}`, "aria-hidden": "true"});
    element.style.width = count ? `max(2px, ${100 * count / largest}%)` : "0";
    return element;
  };
  const head = make("tr", {}, make("th", {scope: "col"}, "bits right"),
    make("th", {scope: "col"}, make("span", {class: "key"}), " target"),
    make("th", {scope: "col"}, make("span", {class: "key torch"}), " torch"), make("td", {class: "bars", "aria-hidden": "true"}));
  const rows = [...bins].filter(([bin, counts]) => Number.isFinite(bin) || counts[0] + counts[1]).map(([bin, [here, torch]]) =>
    make("tr", {}, make("th", {scope: "row"}, label(bin)), make("td", {}, String(here)), make("td", {}, String(torch)),
      make("td", {class: "bars"}, bar(here, ""), bar(torch, "torch"))));
  $("bits").replaceChildren(...both.length ? [make("table", {"aria-labelledby": "bits-title"}, make("thead", {}, head),
    make("tbody", {}, ...rows))] : []);
}

function slowest() {
  const first = [...found].sort(ORDERS.time[1]).slice(0, 10);
  const heads = ["case", "verdict", "took"].map(name => make("th", {scope: "col"}, name));
  const rows = first.map(at => make("tr", {}, make("td", {class: "words"}, make("button", {type: "button",
    onclick: () => lead({words: columns.case[at]})}, make("code", {}, columns.case[at]))),
    make("td", {}, verdict(at)), make("td", {}, time(columns.seconds[at]))));
  $("slow").replaceChildren(...first.length ? [make("table", {"aria-labelledby": "slow-title"},
    make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows))] : []);
}

parse();
heading();
matrix();
controls();
show();
