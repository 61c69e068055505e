// What the filters leave: the second half of the page's script, in one scope with page.js.

function show() {
  found = cases();
  const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
  page = Math.min(page, last);
  for (const field of ["words", "verdict", "order"])
    if ($(field).value !== (chosen[field] ?? "")) $(field).value = chosen[field] ?? "";
  for (const select of document.querySelectorAll("[data-axis]")) {
    select.value = chosen[select.dataset.axis] ?? "";
    if (select.value) $("more").open = true;
  }
  const set = Object.entries(chosen).filter(([field, value]) => value && field !== "order");
  $("chips").replaceChildren(...set.map(chip));
  const start = page * PAGE, rows = found.slice(start, start + PAGE);
  $("chosen").textContent = plural(found.length) + (found.length < total ? ` of ${total.toLocaleString("en")}` : "");
  $("list").replaceChildren(...rows.map(item));
  $("list").start = start + 1;
  $("pages").hidden = !last;
  $("page").textContent = `page ${page + 1} of ${last + 1}`;
  $("before").disabled = !page;
  $("after").disabled = page === last;
  $("slow").replaceChildren(...[...found].sort(ORDERS.time[1]).slice(0, 10).map(item));
  histogram();
}

function chip([field, value]) {
  return make("li", {}, make("button", {type: "button", "aria-label": `Remove the filter ${field} ${value}`,
    onclick: () => { choose({[field]: ""}); land(); }}, `${field}: ${value} \u00d7`));
}

// Whether the target's numbers were held against exact ones: a case that failed for something else has no bits.
function measured(at) {
  return columns.shape[at].length > 0 && names[at] !== "TORCH_UNEXPLAINED" &&
    (columns.wrong[at] > 0 || ["EQUAL", "WITHIN_BOUND", "MISTRUSTED"].includes(names[at]));
}

function verdict(at) {
  return make("strong", {class: passes(names[at]) ? "" : "bad"}, breakable(names[at]));
}

function item(at) {
  const seen = measured(at) && Number.isFinite(bits[at]) ? `${bits[at].toFixed(1)} bits, ` : "";
  const details = make("details", {}, make("summary", {}, verdict(at), make("code", {}, columns.case[at]),
    make("span", {class: "facts"}, seen + time(columns.seconds[at]))));
  details.addEventListener("toggle", () => { if (details.children.length === 1) details.append(explained(at)); });
  return make("li", {}, details);
}

function time(seconds) {
  if (seconds < 1e-3) return `${(seconds * 1e6).toFixed(0)} \u00b5s`;
  return seconds < 1 ? `${(seconds * 1e3).toPrecision(3)} ms` : `${seconds.toPrecision(3)} s`;
}

const scalar = value => Array.isArray(value) ? `${value[0]} + ${value[1]}i`.replace("+ -", "- ") : String(value);

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
  const eta = Number.isFinite(of("eta")) ? of("eta").toPrecision(3) : of("eta");
  if (measured(at)) say("error", `${eta} units of u \u00b7 S`);
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
  const bins = binned(both), largest = Math.max(1, ...bins.flatMap(bin => bin.counts));
  const bar = (count, name) => {
    const element = make("div", {class: `bar ${name}`, "aria-hidden": "true"});
    element.style.width = count ? `max(2px, ${100 * count / largest}%)` : "0";
    return element;
  };
  const heads = ["", "torch"].map(name => make("th", {scope: "col"}, make("span", {class: `key ${name}`}),
    ` ${name || "target"}`));
  const head = make("tr", {}, make("th", {scope: "col"}, "bits right"), ...heads,
    make("td", {class: "bars", "aria-hidden": "true"}));
  const rows = bins.map(({label, counts: [here, torch]}) => make("tr", {}, make("th", {scope: "row"}, label),
    make("td", {}, String(here)), make("td", {}, String(torch)),
    make("td", {class: "bars"}, bar(here, ""), bar(torch, "torch"))));
  const table = make("table", {"aria-labelledby": "bits-title"}, make("thead", {}, head), make("tbody", {}, ...rows));
  $("bits").replaceChildren(...both.length ? [table] : []);
}

function binned(both) {  // from the best to the worst; "all" is an exact result, "none" one that should be finite
  const finite = both.flatMap(at => [bits[at], torchBits[at]]).filter(Number.isFinite).map(value => Math.max(0, value));
  const most = finite.reduce((a, b) => Math.max(a, b), 0), least = finite.reduce((a, b) => Math.min(a, b), most);
  const width = [1, 2, 4, 8].find(width => (most - least) / width < 16) ?? 16, bins = new Map();
  const place = value => !Number.isFinite(value) ? value > 0 ? "all" : "none" : Math.floor(Math.max(0, value) / width);
  const add = (key, label) => bins.set(key, {label, counts: [0, 0]});
  add("all", "all");
  if (finite.length)
    for (let at = place(most); at >= place(least); at--) add(at, `${at * width} to ${(at + 1) * width}`);
  add("none", "none");
  for (const at of both) [bits, torchBits].forEach((of, which) => bins.get(place(of[at])).counts[which]++);
  return [...bins].filter(([key, {counts}]) => Number.isFinite(key) || counts[0] + counts[1]).map(([, bin]) => bin);
}

parse();
heading();
matrix();
controls();
show();
