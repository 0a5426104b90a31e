"use strict";
import { at, draw, shares, unpack } from "/map.js";
import { chips } from "/words.js";

const $ = (id) => document.getElementById(id);
const make = (tag, values = {}) => Object.assign(document.createElement(tag), values);
const percent = (part) => `${(100 * part).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`;
const state = { choices: null, file: null, shown: null, answer: null, hidden: new Set(), side: "", cross: null, copied: "command", loading: null };
const words = chips($("chips"), $("word"), () => hint());

// ---- what the server has

async function start() {
  state.choices = await (await fetch("/choices")).json();
  const { choices } = state;
  $("foot").textContent = `${choices.clip} · nothing leaves this server, and nothing is kept after you leave`;
  for (const one of choices.attentions) {
    const missing = one.guided && !choices.guides.some((guide) => guide.ready);
    $("method").append(make("option", { value: one.name, disabled: missing, textContent: one.name + (missing ? " (no guide on this machine)" : "") }));
    if (!one.plugs_in) $("host").append(make("option", { value: one.name, disabled: missing, textContent: one.name }));
  }
  $("host").prepend(make("option", { value: "", textContent: "its own attention" }));
  for (const guide of choices.guides) {
    $("vision").append(make("option", { value: guide.name, disabled: !guide.ready, title: guide.about, textContent: guide.name + (guide.ready ? "" : " (not on this machine)") }));
  }
  $("method").value = choices.method;
  $("host").value = "";
  if (choices.vision) $("vision").value = choices.vision;
  choices.examples.forEach((example, number) => {
    const button = make("button", { type: "button", title: example.words });
    button.setAttribute("aria-label", `Example ${number + 1}: ${example.words}`);
    button.append(make("img", { src: `/examples/${number}`, alt: "" }));
    button.addEventListener("click", () => (state.loading = takeExample(number, example).catch(unreachable)));
    $("examples").append(button);
  });
  for (const name of ["png", "overlay", "json", "coco", "npz"].filter((name) => choices.formats.includes(name))) {
    const button = make("button", { type: "button", textContent: name });
    button.setAttribute("aria-label", `Download ${name}`);
    button.addEventListener("click", () => download(name));
    $("downloads").append(button);
  }
  methodChanged();
  hint();
}

function methodChanged() {
  const chosen = state.choices.attentions.find((one) => one.name === $("method").value);
  const host = state.choices.attentions.find((one) => one.name === $("host").value);
  $("method-note").textContent = chosen.summary;
  $("host-field").hidden = !chosen.plugs_in;
  $("fsa").disabled = !chosen.takes_feedback;
  $("vision-field").hidden = !(chosen.guided || (chosen.plugs_in && host && host.guided));
}

function asked() {
  const form = new FormData();
  const chosen = state.choices.attentions.find((one) => one.name === $("method").value);
  const host = chosen.plugs_in ? $("host").value : "";
  const named = host ? `${chosen.name}:${host}` : chosen.name;
  const fields = $("fsa").checked && chosen.takes_feedback ? { method: "fsa", host: named } : host ? { method: chosen.name, host } : { method: named };
  if (!$("vision-field").hidden) fields.vision = $("vision").value;
  form.append("photo", state.file, state.file.name);
  form.append("words", words.get().join(", "));
  form.append("background", $("background").checked);
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return form;
}

// ---- a photo

function take(file) {
  const limit = state.choices.limits.upload;
  if (!file) return;
  if (file.size > limit) return wrong(`the file is larger than ${Math.round(limit / 2 ** 20)} MiB; make the photo smaller first.`);
  forget();
  wrong("");
  state.file = file.name ? file : new File([file], "pasted.png", { type: file.type });
  if (state.shown) URL.revokeObjectURL(state.shown);
  state.shown = URL.createObjectURL(file);
  $("thumb").src = $("photo").src = state.shown;
  $("thumb").hidden = false;
  $("photo-name").textContent = state.file.name;
  $("photo-note").textContent = "drop, paste or choose another";
  hint();
}

$("photo").addEventListener("load", () => {
  const { naturalWidth: width, naturalHeight: height } = $("photo");
  size(width, height);
  $("photo").alt = `Your photo ${state.file.name}`;
  $("photo").hidden = false;
});
$("photo").addEventListener("error", () => { $("photo").hidden = $("thumb").hidden = true; });

// A kind of photo that this browser does not show comes back from the server as one that it does.
async function seePhoto() {
  if (!$("photo").hidden) return;
  const response = await fetch("/photo", { headers: { "x-session": state.answer.token } });
  if (!response.ok) return;
  URL.revokeObjectURL(state.shown);
  $("thumb").src = $("photo").src = state.shown = URL.createObjectURL(await response.blob());
  $("thumb").hidden = false;
}

function size(width, height) {
  $("empty").hidden = true;
  $("stage").classList.remove("empty");
  $("stage").style.aspectRatio = `${width} / ${height}`;
  $("stage").style.maxWidth = `calc(74vh * ${width / height})`;
}

async function takeExample(number, example) {
  const data = await (await fetch(`/examples/${number}`)).blob();
  take(new File([data], example.name, { type: "image/png" }));
  words.set(example.words.split(",").map((word) => word.trim()));
}

function forget() {
  if (state.answer) fetch("/leave", { method: "POST", body: state.answer.token, keepalive: true });
  state.answer = null;
  state.hidden = new Set();
  state.cross = null;
  for (const id of ["map-host", "map-asked", "tag-host", "tag-asked", "line", "cross", "sliders", "threshold-note", "point", "found"]) $(id).hidden = true;
  $("readout").textContent = "";
  $("stage").tabIndex = -1;
}

// ---- a run

function hint() {
  $("word").placeholder = words.get().length ? "" : "road, car | automobile, sky";
  const missing = !state.file ? "Choose a photo first." : !words.get().length ? "Name what is in it." : "";
  if (!$("run").ariaBusy) say(missing && (state.file || words.get().length) ? missing : "");
}
const say = (text) => ($("status").textContent = text);
function wrong(text) { $("error").textContent = text; $("error").hidden = !text; }
const unreachable = () => wrong("the server cannot be reached; is segloop demo still running?");
async function refused(response) {
  try { const { error, remedy } = await response.json(); return `${error}; ${remedy}.`; }
  catch { return "the server gave no answer that can be read; try again."; }
}

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  await state.loading; // an example that was clicked just now
  if ($("run").ariaBusy) return;
  words.add($("word").value);
  wrong("");
  if (!state.file) { wrong("no photo came; choose a picture file."); return $("file").focus(); }
  if (!words.get().length) { wrong("no words came; name what to look for, such as road, car | automobile, sky."); return $("word").focus(); }
  $("run").ariaBusy = "true";
  const file = state.file;
  say("working ...");
  const watching = setInterval(async () => {
    const { waiting } = await (await fetch("/queue")).json();
    if ($("run").ariaBusy) say(waiting ? `working, ${waiting} in the queue ...` : "working ...");
  }, 1500);
  try {
    const response = await fetch("/run", { method: "POST", body: asked() });
    if (!response.ok) return wrong(await refused(response));
    const told = await response.json();
    const sides = {};
    for (const side of told.sides) {
      const planes = await fetch(`/planes/${side}`, { headers: { "x-session": told.token } });
      if (!planes.ok) return wrong(await refused(planes));
      sides[side] = unpack(await planes.arrayBuffer(), told);
    }
    if (file === state.file) { forget(); show(told, sides); }
  } catch { unreachable(); }
  finally { clearInterval(watching); $("run").ariaBusy = null; if (!state.answer) say(""); }
});

function show(told, sides) {
  state.answer = { ...told, maps: sides };
  state.side = told.sides[told.sides.length - 1];
  const two = told.sides.length > 1;
  size(told.size.width, told.size.height);
  for (const id of ["map-asked", "sliders", "found"]) $(id).hidden = false;
  for (const id of ["map-host", "wipe-label"]) $(id).hidden = !two;
  $("notices").replaceChildren(...told.notices.map((text) => make("li", { textContent: `${text}.` })));
  $("threshold").disabled = !told.background;
  $("threshold-note").hidden = told.background;
  if (!told.background) $("threshold").value = 0;
  $("wipe").value = 0;
  $("stage").tabIndex = 0;
  $("stage").setAttribute("role", "application");
  $("stage").setAttribute("aria-label", "Map over the photo. Arrow keys move a point, Enter shows its attention.");
  redraw();
  wipe();
  opacity();
  seePhoto();
  const box = $("stage").getBoundingClientRect();
  if (box.bottom > innerHeight || box.top < 0) $("stage").scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  const only = told.classes.length === 1;
  say(only ? `every pixel becomes ${told.classes[0]}, the only class: add others, or the background` : `done: ${told.classes.length} classes on ${told.size.width} × ${told.size.height} pixels`);
}

// ---- the map

const stop = () => Number($("threshold").value);

function redraw() {
  const { answer } = state;
  if (!answer) return;
  draw($("map-asked"), answer.maps[state.side], answer, stop(), state.hidden);
  if (answer.sides.length > 1) draw($("map-host"), answer.maps.host, answer, stop(), state.hidden);
  $("threshold-value").textContent = stop() ? (stop() / answer.stops).toFixed(3) : "off";
  legend();
  snippet();
}

function legend() {
  const { answer } = state;
  const now = shares(answer.maps[state.side], answer, stop());
  const before = answer.sides.length > 1 ? shares(answer.maps.host, answer, stop()) : null;
  const order = [...now.keys()].sort((a, b) => now[b] - now[a] || a - b);
  const focused = document.activeElement?.dataset?.class;
  $("legend").replaceChildren(...order.map((c) => {
    const li = make("li"), label = make("label");
    label.style.setProperty("--colour", `rgb(${answer.colours[c]})`);
    const box = make("input", { type: "checkbox", checked: !state.hidden.has(c) });
    box.dataset.class = c;
    box.setAttribute("aria-label", `Show ${answer.classes[c]}, ${percent(now[c])} of the photo`);
    box.addEventListener("change", () => { box.checked ? state.hidden.delete(c) : state.hidden.add(c); redraw(); });
    const bar = make("span", { className: "bar" }), inner = make("i");
    inner.style.width = `${100 * now[c]}%`;
    bar.append(inner);
    label.append(box, make("span", { className: "name", textContent: answer.classes[c] }), make("span", { className: "share", textContent: percent(now[c]) }), bar);
    if (before) label.append(make("small", { textContent: `host ${percent(before[c])}` }));
    li.append(label);
    return li;
  }));
  if (focused) document.querySelector(`[data-class="${focused}"]`)?.focus();
}

function wipe() {
  const part = Number($("wipe").value), inside = part > 0 && state.answer?.sides.length > 1;
  $("map-host").style.clipPath = `inset(0 ${100 - part}% 0 0)`;
  $("map-asked").style.clipPath = inside ? `inset(0 0 0 ${part}%)` : "none";
  $("wipe-value").textContent = part === 0 ? "FSA" : part === 100 ? "host" : `${part} %`;
  for (const id of ["line", "tag-host"]) $(id).hidden = !inside || (id === "line" && part === 100);
  $("tag-asked").hidden = !inside || part === 100;
  $("line").style.left = `${part}%`;
}

function opacity() {
  for (const id of ["map-host", "map-asked"]) $(id).style.opacity = Number($("opacity").value) / 100;
  $("opacity-value").textContent = `${$("opacity").value} %`;
}

function pixel(event) {
  const box = $("stage").getBoundingClientRect();
  const { width, height } = state.answer.size;
  const place = (part, most) => Math.min(most - 1, Math.max(0, Math.floor(part * most)));
  return [place((event.clientX - box.left) / box.width, width), place((event.clientY - box.top) / box.height, height)];
}

function sideAt(x) {
  const { answer } = state;
  const left = answer.sides.length > 1 && (x + 0.5) / answer.size.width < Number($("wipe").value) / 100;
  return left ? "host" : state.side;
}

function read([x, y]) {
  const { answer } = state, side = sideAt(x);
  const found = at(answer.maps[side], answer, x, y, stop());
  const parts = found.map(([c, score], place) => {
    const span = make("span"), key = make("i", { className: "key" });
    key.style.background = `rgb(${answer.colours[c]})`;
    span.append(key, make(place ? "span" : "b", { textContent: `${answer.classes[c]} ${score.toFixed(2)}` }));
    return span;
  });
  const where = answer.sides.length > 1 && side === "host" ? "host, " : "";
  $("readout").replaceChildren(...parts, make("span", { textContent: `${where}x ${x}, y ${y}` }));
}

function mark([x, y]) {
  const { width, height } = state.answer.size;
  state.cross = [x, y];
  $("cross").hidden = false;
  $("cross").style.left = `${(100 * (x + 0.5)) / width}%`;
  $("cross").style.top = `${(100 * (y + 0.5)) / height}%`;
}

const stage = $("stage");
let dragging = false, pressed = null;
const atLine = (event) => {
  const box = stage.getBoundingClientRect(), part = (event.clientX - box.left) / box.width;
  return !$("line").hidden && Math.abs(part - Number($("wipe").value) / 100) * box.width < 14;
};
stage.addEventListener("pointerdown", (event) => {
  if (!state.answer) return;
  dragging = atLine(event);
  pressed = [event.clientX, event.clientY];
  if (dragging) { stage.setPointerCapture(event.pointerId); event.preventDefault(); }
});
stage.addEventListener("pointermove", (event) => {
  if (!state.answer) return;
  if (dragging) {
    const box = stage.getBoundingClientRect();
    $("wipe").value = Math.round((100 * (event.clientX - box.left)) / box.width);
    return wipe();
  }
  stage.style.cursor = atLine(event) ? "ew-resize" : "";
  read(pixel(event));
});
stage.addEventListener("pointerup", (event) => {
  const moved = !pressed || Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > 6;
  if (state.answer && !dragging && !moved) look(pixel(event));
  dragging = false;
});
stage.addEventListener("pointerleave", () => { if (!dragging) $("readout").textContent = ""; });
stage.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!state.answer || (!steps && event.key !== "Enter")) return;
  event.preventDefault();
  const { width, height } = state.answer.size;
  const [x, y] = state.cross || [width >> 1, height >> 1];
  if (!steps) return look([x, y]);
  const stride = event.shiftKey ? 1 : Math.max(1, Math.round(Math.max(width, height) / 48));
  const next = [x + steps[0] * stride, y + steps[1] * stride];
  mark([Math.min(width - 1, Math.max(0, next[0])), Math.min(height - 1, Math.max(0, next[1]))]);
  read(state.cross);
});

async function look(place) {
  const { answer } = state;
  mark(place);
  read(place);
  say("looking at the point ...");
  const response = await fetch(`/point/${place[0]}/${place[1]}`, { headers: { "x-session": answer.token } });
  if (answer !== state.answer) return;
  say("");
  if (!response.ok) return wrong(await refused(response));
  const seen = await response.json();
  for (const when of ["before", "after"]) {
    $(`point-${when}`).src = seen[when];
    $(`point-${when}`).alt = `What the patch at ${place[0]}, ${place[1]} listens to, ${when} feedback`;
  }
  const { before, after } = seen.scores;
  const order = [...after.keys()].sort((a, b) => after[b] - after[a]).slice(0, 6);
  const row = (cells, tag) => { const tr = make("tr"); tr.append(...cells.map((text) => make(tag, { textContent: text }))); return tr; };
  const body = order.map((c) => row([answer.classes[c], before[c].toFixed(2), after[c].toFixed(2)], "td"));
  $("point-scores").replaceChildren($("point-scores").caption, row(["class", "before", "after"], "th"), ...body);
  $("point").hidden = false;
}

let due = false; // once a frame, however fast the slider goes
function soon() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => { due = false; redraw(); });
}

for (const [id, act] of [["opacity", opacity], ["wipe", wipe], ["threshold", soon]]) $(id).addEventListener("input", act);
for (const id of ["method", "host"]) $(id).addEventListener("change", methodChanged);

// ---- out of the page

const chosenThreshold = () => (state.answer.background && stop() ? String(stop() / state.answer.stops) : "0");

async function download(name) {
  const { answer } = state;
  const response = await fetch(`/download/${name}?threshold=${chosenThreshold()}`, { headers: { "x-session": answer.token } });
  if (!response.ok) return wrong(await refused(response));
  const suffix = { png: ".png", overlay: ".overlay.png", json: ".json", coco: ".coco.json", npz: ".npz" }[name];
  const link = make("a", { href: URL.createObjectURL(await response.blob()), download: state.file.name.replace(/\.[^.]*$/, "") + suffix });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function snippet() {
  const value = chosenThreshold();
  const text = state.answer.snippets[state.copied][value === "0" ? "plain" : "with"].replace("{threshold}", value);
  $("snippet").textContent = text;
  $("snippet").setAttribute("aria-label", state.copied === "command" ? "Command" : "Python");
  return text;
}

for (const kind of ["command", "python"]) {
  $(`copy-${kind}`).addEventListener("click", async () => {
    state.copied = kind;
    const text = snippet();
    try { await navigator.clipboard.writeText(text); say("copied"); }
    catch {
      getSelection().selectAllChildren($("snippet"));
      say("selected: press Ctrl+C to copy");
    }
  });
}

// ---- in from everywhere

$("file").addEventListener("change", () => { take($("file").files[0]); $("file").value = ""; });
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) { event.preventDefault(); take(file); }
});
for (const name of ["dragenter", "dragover"]) document.addEventListener(name, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files[0]); });
window.addEventListener("pagehide", () => { if (state.answer) navigator.sendBeacon("/leave", state.answer.token); });

start().then(() => (document.body.dataset.ready = "yes"), unreachable);
