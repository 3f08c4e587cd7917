// The live page: its scene comes from the server that sent it, which also finds the words that people type.

import { complain, element } from "./dom.js";
import { fetchFilms, openFilms, showFilm } from "./films.js";
import { openLightUpload } from "./light_upload.js";
import { start } from "./main.js";
import { openNotes, pinPart, refreshNotes, startMeasuring } from "./notes.js";
import { findText, openBox, partsOf, showProgress, startFinding } from "./query_box.js";
import { getAndSave, getBytes, getJson, listen } from "./server.js";
import { showStills } from "./still.js";
import { lights } from "./store.js";
import { openTeaching, startTeaching } from "./teach.js";
import { taughtConcepts } from "./teach_store.js";
import { catchUpOnTeaching, heardOfTeaching } from "./teach_words.js";

const ARRAYS = { uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array };

async function openScene() {
  const [facts, bytes] = await Promise.all([getJson("api/scene"), getBytes("api/splats")]);
  return {
    facts: { ...facts, words: [] },
    array: (name) => {
      const { type, shape, start } = facts.arrays[name];
      return new ARRAYS[type](bytes, start, shape.reduce((a, b) => a * b, 1));
    },
    loadLight,
    partsOf,
    pinPart,
    saveParts,
  };
}

// Save the list of a word's parts. kind: "csv" or "json".
function saveParts(word, kind) {
  const moved = word.threshold === word.own ? {} : { threshold: String(Math.max(word.threshold, 0.01)) };
  const asked = new URLSearchParams({ text: word.text, kind, ...moved });
  complain("");
  getAndSave(`api/words/parts?${asked}`).catch((error) => complain(error.message));
}

const loading = new Map(); // promises of lights by number

// Fetch the colours and the sky of a light, once.
function loadLight(number) {
  if (!loading.has(number)) {
    const both = Promise.all([getJson(`api/lights/${number}`), getBytes(`api/lights/${number}/colours`)]);
    loading.set(number, both.then(([{ sky }, colours]) => Object.assign(lights[number], { sky, colours: new Uint8Array(colours) })));
    loading.get(number).catch(() => loading.delete(number));
  }
  return loading.get(number);
}

// A message of the server: of a film, of notes or marks that another window changed, or of a query.
function hear(message) {
  if ("film" in message) showFilm(message);
  else if ("notes" in message) refreshNotes();
  else if ("changed" in message) heardOfTeaching(message);
  else showProgress(message);
}

// The socket is open again: take over what changed while it was not.
function catchUp() {
  fetchFilms();
  refreshNotes();
  catchUpOnTeaching().catch((error) => complain(error.message));
}

try {
  // The address may be copied or looked at by others: the token in it has done its work.
  if (location.search) history.replaceState(null, "", location.pathname + location.hash);
  openBox();
  const source = await openScene();
  const focusBox = () => { element("query-text").focus(); element("query-text").select(); };
  const marks = await getJson("api/teaching");
  if (!marks.missing) source.correct = (word) => openTeaching(word.text, !taughtConcepts().includes(word.text));
  start(source, findText, { "/": focusBox, m: startMeasuring });
  startTeaching(marks);
  startFinding();
  openLightUpload();
  openFilms();
  openNotes();
  showStills();
  listen("api/progress", hear, catchUp);
  if (!location.hash) source.facts.initial_words.forEach(findText);
} catch (error) {
  element("no-picture").hidden = false;
  element("no-picture-title").textContent = "The landmark cannot be shown.";
  element("no-picture-why").textContent = error.message;
}
