// The live page: its scene comes from the server that sent it, which also finds the words that people type.

import { element } from "./dom.js";
import { start } from "./main.js";
import { findText, openBox, partsOf, showProgress, startFinding } from "./query_box.js";
import { getBytes, getJson, listen } from "./server.js";
import { offerStill } from "./still.js";
import { lights } from "./store.js";
import { heardOfTeaching, openTeaching, startTeaching } from "./teach.js";

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
  };
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

try {
  // The address may be copied or looked at by others: the token in it has done its work.
  if (location.search) history.replaceState(null, "", location.pathname + location.hash);
  openBox();
  const source = await openScene();
  const focusBox = () => { element("query-text").focus(); element("query-text").select(); };
  const state = await getJson("api/teaching");
  if (!state.missing) source.correct = (word) => openTeaching(word.text, true);
  start(source, findText, { "/": focusBox });
  startTeaching(state);
  startFinding();
  listen("api/progress", (message) => ("changed" in message ? heardOfTeaching : showProgress)(message));
  offerStill();
  if (!location.hash) source.facts.initial_words.forEach(findText);
} catch (error) {
  element("no-picture").hidden = false;
  element("no-picture-title").textContent = "The landmark cannot be shown.";
  element("no-picture-why").textContent = error.message;
}
