// Notes, distances and saved views: made by clicks on the model, kept by the server, listed in the panel.

import { camera, intrinsicsFor, lookingAt } from "./camera.js";
import { announce, complain, createElement, element } from "./dom.js";
import { leavePhoto } from "./photos.js";
import { canvas, fly, wake } from "./picture.js";
import { openPins } from "./pins.js";
import { onClick } from "./pointer.js";
import { poseOf } from "./rendering.js";
import { deleteJson, getJson, postJson, putJson } from "./server.js";
import { add } from "./vectors.js";

const NOTE_DISTANCE = 0.4; // world units, from which a note is looked at
let notes = { entries: [], scale: null, metres_per_unit: null };
let picking = "", picked = []; // what is made by clicks, "note" or "distance"; its points so far

const notesNow = () => ({ ...notes, picked });

// Make the buttons work, and show what there is.
export function openNotes() {
  openPins(notesNow, lengthText);
  for (const [id, kind] of [["pin-note", "note"], ["measure", "distance"]]) {
    element(id).addEventListener("click", () => startPicking(picking === kind ? "" : kind));
  }
  element("save-view").addEventListener("click", () => {
    const name = takeText("Give the view a name first.");
    if (name) change(postJson("api/notes", { kind: "view", name, address: location.hash }));
  });
  onClick((x, y) => {
    if (picking) pick(x, y);
    return Boolean(picking);
  });
  window.addEventListener("keydown", ({ key }) => { if (key === "Escape") startPicking(""); });
  refreshNotes();
}

export const refreshNotes = () => change(getJson("api/notes"));
export const startMeasuring = () => startPicking("distance");

// Pin the text of the box to a part of a word, or the part's name where the box is empty.
export function pinPart(word, number) {
  const box = element("note-text");
  change(postJson("api/notes", { kind: "note", text: box.value.trim() || `${word.text} ${number + 1}`, point: word.parts[number].centre }));
  box.value = "";
}

function startPicking(kind) {
  if (kind === "note" && !element("note-text").value.trim()) {
    complainAboutText("Write the note first, then click where it belongs.");
    return;
  }
  [picking, picked] = [kind, []];
  element("pin-note").setAttribute("aria-pressed", String(kind === "note"));
  element("measure").setAttribute("aria-pressed", String(kind === "distance"));
  element("pick-hint").textContent = kind === "note" ? "Click where the note belongs." : kind === "distance" ? "Click two points on the model." : "";
  canvas.classList.toggle("picks", Boolean(kind));
  if (kind) showHint();
  wake();
}

// The hint is of use where it is seen, also when a key began.
function showHint() {
  element("notes-section").open = true;
  element("pick-hint").scrollIntoView({ block: "nearest" });
}

function takeText(missing) {
  const box = element("note-text"), text = box.value.trim();
  if (!text) complainAboutText(missing);
  box.value = "";
  return text;
}

function complainAboutText(text) {
  element("pick-hint").textContent = text;
  element("note-text").focus();
}

// Add the point of the surface at a place of the window to what is being made.
async function pick(x, y) {
  const [width, height, kind] = [canvas.clientWidth, canvas.clientHeight, picking];
  try {
    const { point } = await postJson("api/surface", { width, height, ...intrinsicsFor(width, height), pose: poseOf(camera), x, y });
    if (!point) {
      element("pick-hint").textContent = "There is no surface at that place: click on the building.";
      return;
    }
    if (kind !== picking) return;
    picked.push(point);
    wake();
    if (kind === "note") {
      startPicking("");
      await change(postJson("api/notes", { kind, text: takeText(""), point }));
    } else if (picked.length === 2) {
      const points = picked, name = element("note-text").value.trim();
      startPicking("");
      element("note-text").value = "";
      await change(postJson("api/notes", { kind, name, points }));
    }
  } catch (error) {
    complain(error.message);
  }
}

// Take over what the server answers to a change. answer: a promise of all notes.
async function change(answer) {
  try {
    notes = await answer;
    element("notes").replaceChildren(...notes.entries.map(entryRow));
    element("notes-scale").textContent = notes.metres_per_unit ? `A world unit is ${notes.metres_per_unit.toFixed(3)} m.` : "";
    wake();
  } catch (error) {
    complain(error.message);
  }
}

// A length in metres where the scale is known, else in world units.
function lengthText(length) {
  return notes.metres_per_unit ? `${(length * notes.metres_per_unit).toPrecision(4)} m` : `${length.toFixed(3)} units`;
}

function entryRow(entry) {
  const label = { note: () => entry.text, view: () => entry.name, distance: () => [entry.name, lengthText(entry.length)].filter(Boolean).join(": ") }[entry.kind]();
  const there = createElement("button", { type: "button", class: "there" }, createElement("b", { text: String(entry.number) }), createElement("span", { text: label }));
  there.addEventListener("click", () => showEntry(entry));
  const remove = createElement("button", { type: "button", class: "remove", "aria-label": `Remove ${entry.kind} ${entry.number}`, text: "×" });
  remove.addEventListener("click", () => change(deleteJson(`api/notes/${entry.number}`)));
  return createElement("li", {}, there, ...(entry.kind === "distance" ? [metresBox(entry), createElement("span", { class: "soft", text: "m" })] : []), remove);
}

// A box for the true length of a distance, from which the scale follows.
function metresBox(entry) {
  const known = notes.scale?.number === entry.number;
  const box = createElement("input", { type: "number", min: "0.001", step: "any", placeholder: "true", value: known ? String(notes.scale.metres) : "", "aria-label": `True length of distance ${entry.number}, metres` });
  box.addEventListener("change", () => {
    const metres = Number(box.value);
    change(metres > 0 ? putJson("api/notes/scale", { number: entry.number, metres }) : known ? putJson("api/notes/scale", null) : getJson("api/notes"));
  });
  return box;
}

function showEntry(entry) {
  if (entry.kind === "view") {
    location.hash = entry.address;
    announce(`view ${entry.name}`);
    return;
  }
  leavePhoto();
  const [target, distance] = entry.kind === "note" ? [entry.point, NOTE_DISTANCE]
    : [entry.points[0].map((value, k) => (value + entry.points[1][k]) / 2), Math.max(NOTE_DISTANCE, 1.5 * entry.length)];
  fly(lookingAt(add(target, camera.forward, -distance), target, camera.half));
}
