"use strict";
// Maps as the server sends them: bytes of labels and of levels, a level being the last stop of the threshold's slider
// that a probability reaches. So the slider decides here exactly as a run with that threshold does.

const MOST = 2e6; // pixels that are drawn
const EDGE = 0.62; // brightness of a boundary

export function unpack(buffer, told) {
  const bytes = new Uint8Array(buffer);
  const pixels = told.size.width * told.size.height;
  const samples = told.samples[0] * told.samples[1] * told.samples[2];
  let at = 0;
  const take = (count) => bytes.subarray(at, (at += count));
  const labels = take(pixels), levels = take(pixels), ground = told.background ? take(pixels) : null;
  return { labels, levels, ground, ranked: take(samples), probability: take(samples) };
}

// Pixels of each class at each level, counted once: shares at any stop are sums of it.
function counted(side, told) {
  if (!side.counts) {
    const { labels, levels } = side, width = told.stops + 1;
    side.counts = new Float64Array(told.classes.length * width);
    for (let i = 0; i < labels.length; i++) side.counts[labels[i] * width + levels[i]]++;
  }
  return side.counts;
}

export function shares(side, told, stop) {
  const counts = counted(side, told), width = told.stops + 1, found = new Array(told.classes.length).fill(0);
  for (let c = 0; c < found.length; c++) {
    for (let level = 0; level < width; level++) found[side.ground && level < stop ? 0 : c] += counts[c * width + level];
  }
  return found.map((count) => count / side.labels.length);
}

export function draw(canvas, side, told, stop, hidden) {
  const { width, height } = told.size;
  const { labels, levels } = side, least = side.ground ? stop : 0;
  const scale = Math.min(1, Math.sqrt(MOST / (width * height)));
  const w = Math.max(1, Math.round(width * scale)), h = Math.max(1, Math.round(height * scale));
  canvas.width = w;
  canvas.height = h;
  const image = new ImageData(w, h);
  const out = new Uint32Array(image.data.buffer);
  const pack = (colour, part) => (255 << 24) | (colour[2] * part << 16) | (colour[1] * part << 8) | (colour[0] * part);
  const fill = told.colours.map((colour, c) => (hidden.has(c) ? 0 : pack(colour, 1)));
  const edge = told.colours.map((colour, c) => (hidden.has(c) ? 0 : pack(colour, EDGE)));
  const columns = Int32Array.from({ length: w + 1 }, (_, x) => Math.min(width - 1, Math.floor((x * width) / w)));
  const row = new Uint8Array(w + 1), below = new Uint8Array(w + 1);
  const fillRow = (into, y) => {
    const start = Math.min(height - 1, Math.floor((y * height) / h)) * width;
    for (let x = 0; x <= w; x++) into[x] = levels[start + columns[x]] < least ? 0 : labels[start + columns[x]];
  };
  fillRow(below, 0);
  for (let y = 0; y < h; y++) {
    row.set(below);
    fillRow(below, y + 1);
    for (let x = 0; x < w; x++) out[y * w + x] = (row[x] === row[x + 1] && row[x] === below[x] ? fill : edge)[row[x]];
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// What stands at a pixel: the class that the map shows first, with its probability, then the others of the sample.
export function at(side, told, x, y, stop) {
  const { width, height } = told.size;
  const i = y * width + x;
  const unsure = side.ground && stop && side.levels[i] < stop;
  const first = unsure ? 0 : side.labels[i];
  const found = [[first, (unsure ? side.ground : side.levels)[i] / told.stops]];
  const [count, rows, columns] = told.samples;
  const sample = Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width);
  for (let k = 0; k < count; k++) {
    const place = k * rows * columns + sample;
    if (side.ranked[place] !== first && side.probability[place]) found.push([side.ranked[place], side.probability[place] / told.stops]);
  }
  return found.slice(0, 3);
}
