"use strict";
// Chips: a class each, as the command line has them between commas.

export function chips(list, input, changed) {
  let words = [];

  function item(text, index) {
    const li = document.createElement("li");
    const span = document.createElement("span");
    text.split("|").forEach((part, n) => {
      if (n) span.append(Object.assign(document.createElement("b"), { textContent: " | " }));
      span.append(part.trim());
    });
    const remove = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
    remove.setAttribute("aria-label", `Remove ${text}`);
    remove.addEventListener("click", () => { set(words.filter((_, n) => n !== index)); input.focus(); });
    li.append(span, remove);
    return li;
  }

  function set(next) {
    words = next;
    list.replaceChildren(...words.map(item));
    changed(words);
  }

  function add(text) {
    const parts = text.split(/[,;，、；\n]/).map((part) => part.trim()).filter(Boolean);
    input.value = "";
    if (parts.length) set([...words, ...parts.filter((part) => !words.includes(part))]);
  }

  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && input.value.trim()) { event.preventDefault(); add(input.value); }
    if (event.key === "Backspace" && !input.value && words.length) set(words.slice(0, -1));
  });
  input.addEventListener("input", () => { if (/[,;，、；\n]/.test(input.value)) add(input.value); });
  input.addEventListener("blur", () => add(input.value));

  return { set, add, get: () => words };
}
