// Undo and redo of view, light and words: Ctrl-Z, Ctrl-Shift-Z. A step is what changed until the picture rested.

import { camera } from "./camera.js";
import { setLight } from "./lights.js";
import { leavePhoto } from "./photos.js";
import { fly, onRest } from "./picture.js";
import { chosen, words } from "./store.js";

const MOST_STEPS = 100;
const VIEW_DIGITS = 4; // to which two views are the same
const past = [], future = []; // states, the nearest last
const undoHandlers = []; // of tools, the last ones are asked first
let presentState = null, restoringState = false;

// Let a tool take Ctrl-Z while it is open. handler: called with whether it is a redo; true where it did something.
export const onUndo = (handler) => undoHandlers.unshift(handler);

// Make the keys work. find: finds a text that the page has no word of.
export function openUndo(find) {
  onRest(rememberState);
  window.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.key.toLowerCase() !== "z") return;
    if (event.target.closest("textarea, [contenteditable], input[type=text], input[type=number]")) return;
    event.preventDefault();
    if (!undoHandlers.some((handler) => handler(event.shiftKey))) undoStep(event.shiftKey, find);
  });
}

function rememberState() {
  const state = takeState();
  if (!restoringState && presentState && sameStates(state, presentState)) return;
  if (!restoringState && presentState) {
    past.push(presentState);
    past.splice(0, past.length - MOST_STEPS);
    future.length = 0;
  }
  presentState = state;
}

async function undoStep(forwards, find) {
  const [from, to] = forwards ? [future, past] : [past, future];
  if (restoringState) return;
  rememberState(); // what the picture has not rested at yet
  if (!from.length) return;
  to.push(presentState);
  restoringState = true;
  presentState = from.pop();
  try {
    await restoreState(presentState, find);
  } finally {
    restoringState = false;
  }
}

function takeState() {
  return {
    view: { ...camera },
    light: { from: chosen.from, to: chosen.to, blend: chosen.blend },
    words: words.filter((word) => word.on).map(({ text, strength, threshold }) => ({ text, strength, threshold })),
  };
}

const rounded = (key, value) => (typeof value === "number" ? Number(value.toFixed(VIEW_DIGITS)) : value);
const sameStates = (one, other) => JSON.stringify(one, rounded) === JSON.stringify(other, rounded);

// Show a state again; returns when it is shown, or the flight to its view was stopped.
async function restoreState({ view, light, words: lit }, find) {
  leavePhoto();
  const flown = new Promise((ended) => fly({ ...view }, ended));
  setLight(light);
  await Promise.all(lit.filter(({ text }) => !words.some((word) => word.text === text)).map(({ text }) => find(text)));
  for (const word of words) {
    const wanted = lit.find(({ text }) => text === word.text);
    word.toggle(Boolean(wanted));
    if (wanted) word.adjust(wanted);
  }
  await flown;
}
