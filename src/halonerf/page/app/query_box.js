// The box in which a person types a word: it is found by the server, added to the list and lit up.

import { announce, complain, createElement, element, plural } from "./dom.js";
import { canvas } from "./picture.js";
import { getBytes, postJson } from "./server.js";
import { addWord, facts, words } from "./store.js";
import { teaching } from "./teach_store.js";
import { refreshWord, showWord } from "./words.js";

const MAX_EXAMPLES = 8;
const MAX_WORDS = 24; // of a window
const waiting = new Map(); // texts that the server looks for, with their rows
let sayReady = null;
const ready = new Promise((done) => { sayReady = done; }); // kept when words can be added

// Make the box work, before the scene has come: texts typed by then are found after. It has the focus where there is a
// keyboard: on a phone that would hide the picture.
export function openBox() {
  const box = element("query-text");
  box.disabled = false;
  element("query").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = box.value.trim().replace(/\s+/g, " ");
    if (!text) return;
    box.value = "";
    findText(text);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") (teaching.open ? element("teach-marks") : canvas).focus();
  });
  if (window.matchMedia("(hover: hover)").matches) box.focus({ preventScroll: true });
}

// Find what was typed so far, and offer examples, now that the scene is there.
export function startFinding() {
  for (const text of facts.examples.slice(0, MAX_EXAMPLES)) {
    const button = createElement("button", { type: "button", text });
    button.addEventListener("click", () => findText(text));
    element("examples").append(createElement("li", {}, button));
  }
  sayReady();
}

// Find a text and light it up. Returns when it is lit up, or the reason why it cannot be has been shown.
export async function findText(text) {
  complain("");
  if (waiting.has(text)) return;
  const shown = words.find((word) => word.text === text);
  if (shown) {
    shown.toggle(true);
    return;
  }
  if (words.length + waiting.size >= MAX_WORDS) {
    complain(`There are ${MAX_WORDS} words in this window: remove one first.`);
    return;
  }
  const row = createElement("li", { class: "word waiting" }, createElement("span", { class: "text", text }), createElement("progress"));
  waiting.set(text, row);
  element("words").prepend(row);
  try {
    await ready;
    const entry = await postJson("api/words", { text });
    const values = await wordValues(entry.text);
    row.remove();
    lightWord(entry, values);
  } catch (error) {
    complain(error.message);
  } finally {
    row.remove();
    waiting.delete(text);
  }
}

// Probability of every Gaussian, then confidence of every Gaussian, Uint8Array [2 N].
export const wordValues = async (text) => new Uint8Array(await getBytes(`api/words/values?text=${encodeURIComponent(text)}`));

// Show an answer in the list: in the place of an earlier answer to the same text, on or off as that was, or before all others.
export function takeWord(entry, values) {
  const [probability, confidence] = [values.subarray(0, values.length / 2), values.subarray(values.length / 2)];
  let word = words.find((one) => one.text === entry.text);
  if (word) refreshWord(word, entry, probability, confidence);
  else {
    word = addWord({ ...entry, colour: entry.colour ?? freeColour() }, probability, confidence, true);
    showWord(word);
  }
  return word;
}

// Show an answer in the list, switched on.
export function lightWord(entry, values) {
  const word = takeWord(entry, values);
  word.toggle(true);
  announce(`${word.text}: ${word.known ? plural(word.parts.length, "part", "parts") : "unknown"}`);
  return word;
}

// The first colour after those of the scene's concepts that no word has.
export function freeColour() {
  const taken = new Set(words.map((word) => word.colour));
  return facts.palette.find((colour) => !taken.has(colour)) ?? facts.palette[words.length % facts.palette.length];
}

// Find a word's parts again, from its present threshold on.
export async function partsOf(word) {
  try {
    word.parts = (await postJson("api/words", { text: word.text, threshold: Math.max(word.threshold, 0.01) })).parts;
  } catch (error) {
    complain(error.message);
  }
}

// Show how far a query is: text, and share of the photos in which it has been looked for.
export function showProgress({ text, share }) {
  const bar = waiting.get(text)?.querySelector("progress");
  if (bar) bar.value = share;
}
