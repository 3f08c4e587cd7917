// The list of words: each with its checkbox and, while it is on, its sliders, parts and best photos.

import { camera, cameraOf, lookingAt } from "./camera.js";
import { announce, createElement, element, plural } from "./dom.js";
import { leavePhoto, showPhoto } from "./photos.js";
import { fly, repaint } from "./picture.js";
import { chosen, confidenceWord, facts, rgbOf, source, words } from "./store.js";
import { add, unit } from "./vectors.js";

const BEST_PHOTOS = 3; // shown with a word

export function fillWords() {
  for (const word of words) showWord(word);
  for (const radio of document.querySelectorAll("input[name=show]")) {
    radio.addEventListener("change", () => {
      updateConfidence();
      repaint();
    });
  }
  element("all-off").addEventListener("click", () => words.forEach((word) => word.toggle(false)));
  updateConfidence();
}

// Show a word in the list, at its place among `words`.
export function showWord(word) {
  word.row = wordRow(word);
  element("words").insertBefore(word.row, words[words.indexOf(word) + 1]?.row ?? null);
  updateConfidence();
}

// Replace what is known of a word. Its threshold follows, unless it was moved.
export function refreshWord(word, entry, probability, confidence) {
  const threshold = word.threshold === word.own ? entry.threshold : word.threshold;
  Object.assign(word, { ...entry, colour: word.colour, threshold, own: entry.threshold, probability, confidence });
  const [on, focused, row] = [word.on, word.row.contains(document.activeElement), word.row];
  word.row = wordRow(word);
  word.on = false;
  row.replaceWith(word.row);
  word.toggle(on);
  if (focused) word.row.querySelector("input").focus();
  updateConfidence();
  repaint();
}

// Take a word from the page.
export function dropWord(word) {
  words.splice(words.indexOf(word), 1);
  word.row.remove();
  updateConfidence();
  repaint();
}

// A slider from 0 to 1 and its value as text. onInput: called with each new value; onChange: when it is released.
function slider(label, value, onInput, onChange = () => {}) {
  const output = createElement("output", { text: value.toFixed(2) });
  const input = createElement("input", { type: "range", min: "0", max: "1", step: "0.01", value: String(value), "aria-label": label });
  input.addEventListener("input", () => {
    output.textContent = Number(input.value).toFixed(2);
    onInput(Number(input.value));
    repaint();
  });
  input.addEventListener("change", () => onChange());
  return { row: [input, output], set: (to) => { input.value = String(to); output.textContent = to.toFixed(2); } };
}

function wordRow(word) {
  const box = createElement("input", { type: "checkbox" });
  const swatch = createElement("span", { class: "swatch" });
  swatch.style.background = word.colour;
  const details = createElement("div", { class: "more" });
  const parts = createElement("ol", { class: "parts" });
  const count = createElement("span", { class: "count" });
  const showParts = () => {
    count.textContent = !word.known ? "unknown" : word.guess ? "best guess" : plural(word.parts.length, "part", "parts");
    parts.replaceChildren(...partRows(word));
  };
  const refind = async () => { // parts are those from the threshold on
    await source.partsOf?.(word);
    showParts();
  };
  const tool = (label, ...controls) => createElement("div", { class: "tool" }, createElement("span", { text: label }), ...controls);
  showParts();
  const threshold = slider(`${word.text}: from probability`, word.threshold, (to) => { word.threshold = to; }, refind);
  const strength = slider(`${word.text}: strength of colour`, word.strength, (to) => { word.strength = to; });
  word.adjust = (to) => { // threshold and strength
    const moved = to.threshold !== word.threshold;
    Object.assign(word, { threshold: to.threshold, strength: to.strength });
    threshold.set(to.threshold);
    strength.set(to.strength);
    repaint();
    if (moved) refind();
  };
  details.append(
    tool("from probability", ...threshold.row),
    tool("strength of colour", ...strength.row),
    tool("colour", colourBox(word, swatch)),
    ...(word.notes ?? []).map((note) => createElement("p", { class: "soft note", text: note })),
    parts, ...listButtons(word), ...bestPhotos(word), ...correction(word));
  details.hidden = true;
  box.addEventListener("change", () => {
    word.on = box.checked;
    details.hidden = !box.checked;
    updateConfidence();
    repaint();
  });
  word.toggle = (on = !word.on) => {
    if (on !== word.on) box.click();
  };
  const head = createElement("div", { class: "head" },
    createElement("label", {}, box, swatch, createElement("span", { class: "text", text: word.text }), count));
  if (source.partsOf) { // found words can be taken away
    const remove = createElement("button", { type: "button", class: "remove", "aria-label": `Remove ${word.text}`, text: "×" });
    remove.addEventListener("click", () => dropWord(word));
    head.append(remove);
  }
  return createElement("li", { class: "word" }, head, details);
}

function colourBox(word, swatch) {
  const box = createElement("input", { type: "color", value: word.colour, "aria-label": `${word.text}: colour` });
  box.addEventListener("input", () => {
    Object.assign(word, { colour: box.value, rgb: rgbOf(box.value) });
    swatch.style.background = word.colour;
    repaint();
  });
  return box;
}

function partRows(word) {
  const rows = word.parts.map((part, number) => {
    const sure = part.probability.toFixed(2);
    const button = createElement("button", { type: "button", title: `probability ${sure}`, "aria-label": `Fly to ${word.text} ${number + 1}` },
      createElement("b", { text: String(number + 1) }),
      createElement("span", { text: `${plural(part.elements, "element", "elements")}, ${Math.round(100 * part.probability)} %` }));
    button.addEventListener("click", () => {
      leavePhoto();
      fly(cameraAt(part));
      announce(`${word.text} ${number + 1} of ${word.parts.length}`);
    });
    if (!source.pinPart) return createElement("li", {}, button);
    const pin = createElement("button", { type: "button", class: "remove", title: "Pin a note to this part", "aria-label": `Pin a note to ${word.text} ${number + 1}`, text: "⚑" });
    pin.addEventListener("click", () => source.pinPart(word, number));
    return createElement("li", {}, button, pin);
  });
  const remark = (text) => rows.push(createElement("li", { class: "none", text }));
  if (!word.parts.length) {
    remark(word.known ? "no connected part above the threshold" : "no photo shows whether it is anywhere, which is not a no");
  }
  if (word.guess && word.parts.length) {
    remark(`a guess: nowhere more probable than not; this is the best part, with probability ${word.parts[0].probability.toFixed(2)}`);
  }
  return rows;
}

// Buttons that save the list of a word's parts, where a server makes it.
function listButtons(word) {
  if (!source.saveParts) return [];
  const buttons = ["csv", "json"].map((kind) => {
    const button = createElement("button", { type: "button", text: kind.toUpperCase(), "aria-label": `${word.text}: save its parts as ${kind.toUpperCase()}` });
    button.addEventListener("click", () => source.saveParts(word, kind));
    return button;
  });
  return [createElement("div", { class: "lists" }, createElement("span", { text: "list of parts" }), ...buttons)];
}

// The photos that show most of a word, to fly to, where they are known.
function bestPhotos(word) {
  const best = (word.photos ?? []).slice(0, BEST_PHOTOS);
  if (!best.length) return [];
  const buttons = best.map((number) => {
    const photo = facts.photos[number];
    const button = createElement("button", { type: "button", title: photo.caption || photo.name, "aria-label": `Fly to photo ${photo.name}, which shows ${word.text}` },
      createElement("img", { src: photo.thumbnail, alt: "", loading: "lazy" }));
    button.addEventListener("click", () => showPhoto(number));
    return button;
  });
  return [createElement("div", { class: "best" }, ...buttons)];
}

// A button that lets a person correct a word by marks in photos, where that is possible.
function correction(word) {
  if (!source.correct || /\b(AND|OR|NOT)\b/.test(word.text)) return [];
  const button = createElement("button", { type: "button", class: "correct", text: "Correct this word", "aria-label": `Correct ${word.text} by marks in photos` });
  button.addEventListener("click", () => source.correct(word));
  return [button];
}

// A camera that looks at a part from the direction of the photo that shows it best; the part fills half the picture.
function cameraAt(part) {
  const half = facts.photos[facts.home] ? cameraOf(facts.photos[facts.home]).half : camera.half;
  const from = part.photo === null ? camera.eye : cameraOf(facts.photos[part.photo]).eye;
  const direction = unit(add(from, part.centre, -1));
  const radius = Math.max(0.5 * Math.hypot(...part.extent), 0.02);
  return lookingAt(add(part.centre, direction, (1.9 * radius) / Math.min(...half)), part.centre, half);
}

// Whether confidence is shown, and of which word.
function updateConfidence() {
  chosen.confidence = element("show-confidence").checked && words.length > 0;
  element("no-words").hidden = words.length > 0 || Boolean(source.partsOf);
  element("confidence-legend").hidden = !chosen.confidence;
  element("confidence-word").textContent = chosen.confidence && words.length ? `of “${confidenceWord().text}”` : "";
}
