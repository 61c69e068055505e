"use strict";
// The page: what it was given, what is shown now, and the way from a change to what is drawn.

const given = JSON.parse($("given").textContent), texts = given.texts;
const photo = {...given.photo, bytes: Uint8Array.from(atob(given.photo.bytes), letter => letter.charCodeAt(0))};
let state, model, usual, spoken = "en", hover = null, picked = null, chosenTerm = null, painting = false, timer = null,
  late = null;

// A text in the reader's language, its {places} filled.
function say(key, values = {}) {
  return texts[spoken][key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

function languageNow() {
  const asked = new URLSearchParams(location.search).get("lang"), browser = (navigator.language ?? "en").toLowerCase();
  return oneOf(state.language, LANGUAGES, oneOf(asked, LANGUAGES, given.language ?? (browser.startsWith("zh") ? "zh"
    : "en")));
}

// ---- from a change to the page ----

function change(changes, push = false) {
  const before = state;
  state = settled({...state, ...changes});
  chosenTerm = null;
  if (!("at" in changes || "from" in changes || "edits" in changes)) picked = null;
  address(push);
  render(before);
}

// Browsers refuse an address that changes too often; then it is said a little later.
function address(push, again = true) {
  clearTimeout(late);
  try {
    history[push ? "pushState" : "replaceState"](null, "", hashOf(state));
  } catch {
    if (again) late = setTimeout(() => address(false, false), 2000);
  }
}

// What is computed of a state, once: which rule it breaks, or its operands and results.
function modelOf(now, before) {
  const {p} = now, rule = broken(p, now.word);
  if (rule !== null) return {p, rule};
  const unchanged = before && model.rule === null && ["p", "source", "filter", "gradient", "seed", "edits", "of"]
    .every(name => JSON.stringify(now[name]) === JSON.stringify(before[name]));
  if (unchanged) return {...model, p};
  const operands = operandsOf(now);
  const few = multiplyAdds(p) < EVERYTHING;
  return {p, rule, operands, result: few ? wholeOf(p, now.of, operands) : emptyPart(p, now.of)};
}

function render(before = null) {
  model = modelOf(state, before);
  hover = null;
  if (languageNow() !== spoken || !before) translate();
  buildControls();
  fillControls();
  drawViews();
  $("by-pointer").textContent = say(painting ? "byBrush" : "byPointer");
  drawBroken();
  if (model.rule !== null) return stop();
  if (picked && !tensorNow(picked.part)) picked = null;
  drawStage();
  showFocus();
  drawPartials();
  drawChannels();
  drawArithmetic();
  drawCode();
  drawSteps();
}

// What follows the pointer: marks, the value, the terms.
function showFocus() {
  const trace = drawMarks();
  drawPicked();
  drawTerms(trace);
}

function translate() {
  spoken = languageNow();
  document.documentElement.lang = spoken === "zh" ? "zh-Hans" : "en";
  document.title = say("title");
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label",
    say(element.dataset.label));
  $("language").lang = spoken === "zh" ? "en" : "zh-Hans";
  $("credit").textContent = say("credit", {source: given.photo.source, licence: given.photo.licence});
  $("examples").replaceChildren(...Object.entries(EXAMPLES).map(([name, make_]) => make("button",
    {type: "button", id: `example-${name}`,
    text: say(`example-${name}`), onclick: () => {
      picked = null;
      painting = name === "picture";
      stop();
      change({...make_(), language: state.language}, true);
    }})));
}

function drawViews() {
  const wanted = VIEWS.filter(view => view !== "bias_grad" || state.p.bias);
  const had = document.activeElement?.dataset?.view;
  $("views").replaceChildren(...wanted.map(view => make("button", {type: "button", "data-view": view,
    "aria-pressed": String(view === state.of),
    text: say(`view-${view}`), onclick: () => change({of: view, at: null, from: null})})));
  if (had) document.querySelector(`[data-view=${had}]`)?.focus();
  $("views").append(make("p", {class: "soft", text: say(state.of === "output" && state.p.transposed
    ? "viewNote-transposed" : `viewNote-${state.of}`)}));
}

// ---- editing and painting ----

function edit(part, index, text) {
  const value = Number(text.trim().replace("−", "-").replace(/^(-?)inf(inity)?$/i, "$1Infinity"));
  if (text.trim() === "" || (Number.isNaN(value) && !/^nan$/i.test(text.trim()))) return drawPicked();
  change({edits: {...state.edits, [part]: {...state.edits[part], [index.join(".")]: value}}});
}

// The first cell under the brush decides whether it draws or wipes out.
let brush = 1;
function paint(index, first = false) {
  if (index === null) return;
  const ink = state.source === "photo" ? 255 : state.source === "picture" ? 1 : 9, now = valueAt(model.operands.input,
    index);
  if (first) brush = now === ink ? 0 : ink;
  if (now !== brush) edit("input", index, String(brush));
}

// ---- stepping through the slide ----

function slide() {
  const {p} = model, feeding = state.from !== null, index = feeding ? state.from : state.at;
  const shape = feeding ? shapesOf(p).input : shapesOf(p)[state.of], dims = state.of === "bias_grad" ? 1 : p.dims;
  const places = shape.slice(-dims);
  return {feeding, index, dims, places, count: multiply(places), now: flatIndex(places, index.slice(-dims))};
}

function go(step) {
  const {feeding, index, dims, places, count} = slide(), at = between(step, 0, count - 1);
  picked = null;
  change({[feeding ? "from" : "at"]: [...index.slice(0, -dims), ...indexAt(places, at)]});
}

function drawSteps() {
  const {count, now} = slide();
  $("step").max = count - 1;
  $("step").value = now;
  $("step").setAttribute("aria-valuetext", `${now + 1} / ${count}`);
  $("count").textContent = `${now + 1} / ${count}`;
  for (const [id, off] of [["first", now === 0], ["before", now === 0], ["after", now === count - 1],
    ["last", now === count - 1]])
    $(id).setAttribute("aria-disabled", String(off));
  $("play").textContent = timer ? "❚❚" : "▶";
  $("play").setAttribute("aria-label", say(timer ? "pause" : "play"));
}

function stop() {
  clearInterval(timer);
  timer = null;
}

function toggle() {
  if (timer) stop();
  else {
    const {count, now} = slide();
    if (now === count - 1) go(0);
    timer = setInterval(() => {
      const here = slide();
      if (here.now < here.count - 1) go(here.now + 1);
      if (here.now + 1 >= here.count - 1) stop();
      drawSteps();
    }, 700);
  }
  drawSteps();
}

// ---- the start ----

function begin() {
  usual = initialState();
  state = stateFrom(location.hash, usual);
  painting = state.source === "picture";
  render();
  for (const [id, step] of [["first", () => 0], ["before", () => slide().now - 1], ["after", () => slide().now + 1],
    ["last", () => slide().count]])
    $(id).addEventListener("click", () => { stop(); go(step()); });
  $("play").addEventListener("click", toggle);
  $("step").addEventListener("input", event => { stop(); go(Number(event.target.value)); });
  $("language").addEventListener("click", () => change({language: spoken === "zh" ? "en" : "zh"}));
  $("share").addEventListener("click", event => copyText(location.href.replace(/#.*/, "") + hashOf(state), event.target,
    null));
  $("skip").addEventListener("click", event => { event.preventDefault(); $("stage").focus(); });
  $("controls").addEventListener("submit", event => event.preventDefault());
  $("stage").addEventListener("pointermove", brushed);
  addEventListener("popstate", () => { picked = null; state = stateFrom(location.hash, usual); render(); });
  let width = $("stage").clientWidth;
  addEventListener("resize", () => { if ($("stage").clientWidth !== width) { width = $("stage").clientWidth;
    render(state); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => render(state));
}

begin();
