"use strict";
// The page reads without this script. It adds a crosshair that moves in all maps of a window, with the numbers below
// it, and a comparison: a map shows the host while it is pressed.
const values = JSON.parse(document.getElementById("values").textContent);
const digits = (x) => (x === 0 ? "0" : Math.abs(x) >= 0.01 ? x.toFixed(3) : x.toExponential(1));

function cell(shot, event) {
  const [a, b, rows, c, d, columns] = shot.dataset.cells.split(" ").map(Number);
  const box = shot.getBoundingClientRect();
  const at = (start, step, part, most) => Math.min(Math.max(Math.floor(start + step * part), 0), most - 1);
  return [
    at(a, b, (event.clientY - box.top) / box.height, rows),
    at(c, d, (event.clientX - box.left) / box.width, columns),
  ];
}

function frame(shot, [row, column]) {
  const [a, b, , c, d] = shot.dataset.cells.split(" ").map(Number);
  const mark = shot.querySelector("i");
  const top = Math.max((row - a) / b, 0), left = Math.max((column - c) / d, 0);
  const bottom = Math.min((row + 1 - a) / b, 1), right = Math.min((column + 1 - c) / d, 1);
  mark.style.cssText = `display:block;top:${100 * top}%;left:${100 * left}%;` +
    `height:${100 * (bottom - top)}%;width:${100 * (right - left)}%`;
}

for (const group of document.querySelectorAll("[data-group]")) {
  const shots = [...group.querySelectorAll(".shot[data-cells]")];
  const told = group.querySelector("output");
  const hint = shots.length ? "Move over a picture: the same patch in all of them, in numbers." : "";
  told.textContent = hint;
  const kept = values[group.dataset.group] || {};
  for (const shot of shots) {
    shot.append(document.createElement("i"));
    shot.addEventListener("pointermove", (event) => {
      const patch = cell(shot, event);
      const columns = Number(shot.dataset.cells.split(" ")[5]);
      const number = patch[0] * columns + patch[1];
      shots.forEach((other) => frame(other, patch));
      const parts = Object.entries(kept).map(([name, list]) => `${name} ${digits(list[number])}`);
      told.textContent = [`patch (${patch[0]}, ${patch[1]})`, ...parts].join("   ");
    });
    shot.addEventListener("pointerleave", () => {
      shots.forEach((other) => (other.querySelector("i").style.display = "none"));
      told.textContent = hint;
    });
  }
}

for (const shot of document.querySelectorAll(".blink")) {
  const image = shot.querySelector("img");
  const own = image.src, host = document.querySelector("#map-host img").src;
  const show = (source) => () => (image.src = source);
  shot.tabIndex = 0;
  shot.addEventListener("pointerdown", (event) => { event.preventDefault(); shot.focus(); image.src = host; });
  for (const end of ["pointerup", "pointerleave", "blur"]) shot.addEventListener(end, show(own));
  shot.addEventListener("keydown", (event) => {
    if (event.key === " " || event.key === "Enter") { event.preventDefault(); image.src = host; }
  });
  shot.addEventListener("keyup", show(own));
}

window.addEventListener("load", () => {
  const images = [...document.images];
  const drawn = images.filter((image) => image.naturalWidth > 0);
  document.body.dataset.pictures = `${drawn.length} of ${images.length}`;
});
