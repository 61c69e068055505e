"use strict";
// Drawing: elements, and one plane of numbers or pixels as SVG. Text reaches the page through textContent alone.

const SPACE = "http://www.w3.org/2000/svg", TICK = 16, READABLE = 22;

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(child => child !== null));
  return element;
}
const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SPACE, tag), attributes, children);
const $ = id => document.getElementById(id);

// A plane is {part, lead, size: [rows, columns], low, high, value(row, column), kind, scale}: one channel of a tensor
// with its border, whose cells have negative places on the low side.
const planeRows = plane => plane.size[0] + plane.low[0] + plane.high[0];
const planeColumns = plane => plane.size[1] + plane.low[1] + plane.high[1];
const isBorder = (plane, r, c) => r < 0 || c < 0 || r >= plane.size[0] || c >= plane.size[1];
const placesOf = plane => range(planeRows(plane)).flatMap(r =>
  range(planeColumns(plane)).map(c => [r - plane.low[0], c - plane.low[1]]));

const hasNumbers = (plane, cell) => plane.kind !== "grey" && cell >= READABLE;

// The figure of one plane: an SVG with a layer for marks, and the way from a pointer to a place.
function drawPlane(plane, cell, dtype) {
  const ticks = hasNumbers(plane, cell) ? TICK : 0, columns = planeColumns(plane), rows = planeRows(plane);
  const width = columns * cell + ticks + 2, height = rows * cell + ticks + 2;
  const x = c => ticks + 1 + (c + plane.low[1]) * cell, y = r => ticks + 1 + (r + plane.low[0]) * cell;
  const marks = svg("g"), root = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, class: `plane ${plane.kind}${cell < 8 ? " fine" : ""}`,
      "data-part": plane.part,
    "data-lead": plane.lead.join("."), "aria-hidden": "true",
  });
  if (ticks) root.append(numbers(plane, cell, x, y, dtype), ticksOf(plane, cell, x, y));
  else root.append(raster(plane, cell, x, y));
  if (plane.missed) root.append(svg("path", {d: cellsPath(plane.missed, cell, x, y), class: "missed"}));
  root.append(svg("rect", {x: x(0), y: y(0), width: plane.size[1] * cell, height: plane.size[0] * cell, class: "edge"}),
    marks);
  const place = event => {
    const box = root.getBoundingClientRect(), scale = width / box.width;
    const r = Math.floor(((event.clientY - box.top) * scale - ticks - 1) / cell) - plane.low[0];
    const c = Math.floor(((event.clientX - box.left) * scale - ticks - 1) / cell) - plane.low[1];
    return r < -plane.low[0] || c < -plane.low[1] || r >= plane.size[0] + plane.high[0]
      || c >= plane.size[1] + plane.high[1] ? null : [r, c];
  };
  return {root, place, mark: found => mark(marks, found, cell, x, y)};
}

const cellsPath = (cells, cell, x, y) => cells.map(([r, c]) => `M${x(c)} ${y(r)}h${cell}v${cell}h${-cell}z`).join("");

function numbers(plane, cell, x, y, dtype) {
  return svg("g", {class: "cells"}, placesOf(plane).flatMap(([r, c]) => {
    const value = plane.value(r, c), text = brief(value, dtype), border = isBorder(plane, r, c);
    const size = Math.min(cell * .42, cell * 1.5 / Math.max(text.length, 2));
    return [
      svg("rect", {
        x: x(c) + .5, y: y(r) + .5, width: cell - 1, height: cell - 1, rx: 2,
        class: `${border ? "border" : "cell"} ${value < 0 ? "minus" : "plus"}`,
        "fill-opacity": border || !Number.isFinite(value) ? 0 : (.4 * Math.min(1, Math.abs(value) / plane.scale))
          .toFixed(3),
      }),
      svg("text", {
        x: x(c) + cell / 2, y: y(r) + cell / 2, "font-size": size.toFixed(1), class: border ? "ghost" : "number", text,
      }),
    ];
  }));
}

function ticksOf(plane, cell, x, y) {
  const every = count => count > 12 && cell < 26 ? 2 : 1;
  const top = range(plane.size[1]).filter(c => c % every(plane.size[1]) === 0)
    .map(c => svg("text", {x: x(c) + cell / 2, y: TICK / 2, text: c}));
  const left = plane.flat ? [] : range(plane.size[0]).map(r => svg("text", {x: TICK / 2, y: y(r) + cell / 2, text: r}));
  return svg("g", {class: "ticks"}, top, left);
}

// Pixels: grey from the lowest to the highest value, or the colours of positive and negative numbers.
function raster(plane, cell, x, y) {
  const columns = planeColumns(plane), rows = planeRows(plane), canvas = make("canvas", {width: columns, height: rows});
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows), colours = tints();
  placesOf(plane).forEach(([r, c], at) => {
    image.data.set(pixel(plane, plane.value(r, c), isBorder(plane, r, c), colours), 4 * at);
  });
  context.putImageData(image, 0, 0);
  return svg("image", {
    x: x(-plane.low[1]), y: y(-plane.low[0]), width: columns * cell, height: rows * cell, href: canvas.toDataURL(),
    preserveAspectRatio: "none",
  });
}

function pixel(plane, value, border, colours) {
  const alpha = border ? 110 : 255;
  if (!Number.isFinite(value)) return [...colours.minus, alpha];
  if (plane.kind === "grey") {
    const [low, high] = plane.limits, level = high > low ? 255 * (value - low) / (high - low) : 128;
    return [level, level, level, alpha];
  }
  return [...(value < 0 ? colours.minus : colours.plus),
    alpha * (.06 + .94 * Math.min(1, Math.abs(value) / plane.scale))];
}

function tints() {
  const style = getComputedStyle(document.documentElement);
  const read = name => style.getPropertyValue(name).match(/\d+/g).map(Number);
  return {plus: read("--plus"), minus: read("--minus")};
}

// Marks are {met, one, chosen}: lists of places.
function mark(layer, found, cell, x, y) {
  layer.replaceChildren(...Object.entries(found).filter(([, cells]) => cells.length).map(([kind, cells]) =>
    svg("path", {d: cellsPath(cells, cell, x, y), class: kind})));
}

// ---- sizes: how large a cell may be, so that everything fits ----

const TALLEST = 640, LARGEST_CELL = 38, PIXELS = 330;
const widest = tensor => Math.max(...tensor.planes.map(planeColumns));
const highest = tensor => Math.max(...tensor.planes.map(planeRows));

// Tensors side by side, each with so many planes in a row: the cell that width and height leave.
function cellBeside(tensors, width, across, grey) {
  const fixed = tensors.filter(tensor => widest(tensor) <= 7 && tensors.some(other => widest(other) > 20));
  const columns = tensor => across[tensors.indexOf(tensor)] * widest(tensor), free = tensors.filter(tensor =>
    !fixed.includes(tensor));
  const titles = 48 * tensors.filter(tensor => columns(tensor) <= 2).length; // a heading is wider than so few cells
  const gaps = 28 * (tensors.length - 1) + titles + across.reduce((sum, count) => sum + count * (TICK + 12), 0);
  const room = width - gaps - fixed.reduce((sum, tensor) => sum + 34 * columns(tensor), 0);
  const wide = room / free.reduce((sum, tensor) => sum + columns(tensor), 0);
  const high = Math.min(...free.map(tensor => {
    const down = Math.ceil(tensor.planes.length / across[tensors.indexOf(tensor)]);
    return ((grey ? 1.4 * TALLEST : TALLEST) - 44 * down) / (down * highest(tensor));
  }));
  const cell = Math.min(LARGEST_CELL, wide, grey ? high : Math.max(high, READABLE));
  const tall = Math.max(...tensors.map((tensor, at) => Math.ceil(tensor.planes.length / across[at]) * highest(tensor)));
  return {across, fixed, cell: grey && cell < READABLE ? cell : Math.floor(cell), tall};
}

// Side by side where the numbers can be read then, or are pictures; else one below the other.
function cellSizes(tensors, width) {
  const flat = tensors[0].planes[0].flat, grey = tensors.some(tensor => tensor.planes[0].kind === "grey");
  const choices = everyChoice(tensors.map(tensor => [1, 2, 4].filter(count => count === 1
    || count <= tensor.planes.length)));
  const best = choices.map(across => cellBeside(tensors, width, across, grey))
    .reduce((a, b) => b.cell > a.cell || (b.cell === a.cell && b.tall < a.tall) ? b : a);
  if (!flat && width >= 560 && (best.cell >= READABLE || (grey && best.cell >= 2)))
    return {across: best.across, cells: tensors.map(tensor => best.fixed.includes(tensor) ? 34 : best.cell)};
  const room = width - TICK - 4, alike = Math.min(LARGEST_CELL, room / Math.max(...tensors.map(widest)));
  return {across: null, cells: tensors.map(({planes}, at) => {
    const columns = widest(tensors[at]), strip = !flat && planes.length > 1;
      // a part of the next plane shows that there is one
    if (planes[0].kind === "grey") return Math.min(room / (strip ? 1.35 : 1), PIXELS) / columns;
    if (room / columns < READABLE) return flat ? alike : Math.min(room, PIXELS) / columns;
    return Math.floor(flat ? alike : strip ? Math.min(32, Math.max(READABLE, room / columns / 1.35))
      : Math.min(36, room / columns));
  })};
}
