"use strict";
// What the pointer, the brush and the keys do on the stage.

// The index of a place; null where it is a zero of the border.
function indexOfPlace(plane, [r, c]) {
  const cells = [cellOf(plane.size[0], r, model.p.mode), cellOf(plane.size[1], c, model.p.mode)];
  return cells.includes(null) ? null : [...plane.lead, ...(plane.flat ? cells.slice(1) : cells)];
}

// What looking at a cell of a tensor means in this view; null where it means nothing.
function focusFor(part, index) {
  if (part === state.of) return {kind: "element", at: index};
  return part === "input" && state.of === "output" ? {kind: "feeds", at: index} : null;
}

function listen({root, place}, plane) {
  const indexNow = event => { const at = place(event); return at && indexOfPlace(plane, at); };
  root.addEventListener("pointermove", event => {
    if (event.pointerType === "touch" || (painting && event.buttons === 1)) return;
    const index = indexNow(event);
    const focus = index && focusFor(plane.part, index);
    look(focus);
    if (!focus) chooseTerm(index && termWith(plane.part, index));
  });
  root.addEventListener("pointerleave", () => {
    look(null);
    chooseTerm(null);
  });
  root.addEventListener("pointerdown", event => {
    const index = indexNow(event);
    if (!index || event.button !== 0) return;
    if (painting && plane.part === "input") {
      $("stage").setPointerCapture(event.pointerId); // which stays, while the planes are drawn anew
      paint(index, true);
    } else {
      event.preventDefault(); // the element under the pointer is about to be drawn anew
      pin(plane.part, index);
      document.querySelector(`[data-tensor="${plane.part}"]`)?.focus({preventScroll: true});
    }
  });
}

// A brush that moves, wherever it was set down.
function brushed(event) {
  if (!painting || event.buttons !== 1) return;
  for (const {plane, place} of drawnPlanes.filter(drawn => drawn.plane.part === "input")) {
    const at = place(event);
    if (at) return paint(indexOfPlace(plane, at));
  }
}

// The number of the term that one factor is in; null where it is in none.
function termWith(part, index) {
  const like = LIKE[part], at = tracedNow().terms.findIndex(term => `${term[like]}` === `${index}`);
  return at < 0 ? null : at;
}

function look(focus) {
  if (JSON.stringify(focus) === JSON.stringify(hover)) return;
  hover = focus;
  showFocus();
}

function pin(part, index) {
  const focus = focusFor(part, index);
  picked = PARTS.includes(part) ? {part, index} : null;
  hover = null;
  if (focus?.kind === "element") change({at: focus.at, from: null});
  else if (focus) change({from: focus.at});
  else showFocus();
}

const STEPS = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};

function onKey(event, part) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === " ") toggle();
  else if (event.key === "Enter" || /^[-\d]$/.test(event.key)) editByKey(event, part);
  else if (event.key in STEPS || event.key === "PageUp" || event.key === "PageDown") moveBy(event.key, part);
  else return;
  event.preventDefault();
}

// Where the keys are on a tensor: on what is pinned, on what was picked, or at its beginning.
function cursorOf(part) {
  if (part === state.of) return state.at;
  if (part === "input" && state.from) return state.from;
  if (picked?.part === part) return picked.index;
  return tensorNow(part).shape.map((_, a) => (leadsOf(part)[0] ?? [])[a] ?? 0);
}

function moveBy(key, part) {
  const index = [...cursorOf(part)], shape = tensorNow(part).shape, dims = part === "bias_grad" ? 1 : model.p.dims;
  const fresh = part !== state.of && !(part === "input" && state.from) && picked?.part !== part;
  const channel = index.length - dims - 1;
  if (key.startsWith("Page") && channel >= 0) index[channel] += key === "PageUp" ? -1 : 1;
  else if (key in STEPS && !fresh) {
    const [rows, columns] = STEPS[key];
    index[index.length - 1] += columns;
    if (dims === 2) index[index.length - 2] += rows;
  }
  pin(part, index.map((place, a) => between(place, 0, shape[a] - 1)));
}

function editByKey(event, part) {
  if (!PARTS.includes(part)) return;
  if (picked?.part !== part) pin(part, cursorOf(part));
  const field = $("value");
  if (!field) return;
  field.focus();
  if (event.key === "Enter") field.select();
  else field.value = event.key;
}
