// The address of what is shown, as the part after "#": view, words and light; it can be kept, sent and opened again.

import { camera, lookingAt } from "./camera.js";
import { flight } from "./flight.js";
import { setLight } from "./lights.js";
import { fly, homeCamera } from "./picture.js";
import { activeWords, chosen, lights, words } from "./store.js";
import { add } from "./vectors.js";

const DIGITS = 4; // of a view's numbers
let written = ""; // the last address that the page itself wrote

// Show what the address says. find: called with each text of it that the page has no word of.
export function followAddress(find) {
  if (location.hash === written) return;
  const wanted = new URLSearchParams(location.hash.slice(1));
  const view = readView(wanted.get("view"));
  if (view) fly(view);
  const light = (name) => lights.findIndex((one) => one.name === wanted.get(name));
  if (light("light") >= 0) {
    const to = light("to");
    setLight({ from: light("light"), ...(to >= 0 ? { to, blend: Math.min(1, Number(wanted.get("blend")) || 0) } : { blend: 0 }) });
  }
  for (const text of wanted.getAll("word")) {
    const word = words.find((one) => one.text === text);
    if (word) word.toggle(true);
    else find(text);
  }
}

// Write what is shown into the address; nothing for the first view in the first light without words.
export function writeAddress() {
  if (flight) return;
  const shown = new URLSearchParams();
  const view = formatView(camera);
  if (view !== formatView(homeCamera())) shown.set("view", view);
  if (chosen.from || chosen.blend) shown.set("light", lights[chosen.from].name);
  if (chosen.blend) {
    shown.set("to", lights[chosen.to].name);
    shown.set("blend", String(chosen.blend));
  }
  for (const word of activeWords()) shown.append("word", word.text);
  const text = shown.toString();
  written = text ? `#${text}` : "";
  if (location.hash !== written) history.replaceState(null, "", written || location.pathname + location.search);
}

// Eye, direction times distance, and tangents of half the field of view.
function formatView({ eye, forward, distance, half }) {
  return [...eye, ...forward.map((value) => value * distance), ...half].map((value) => Number(value.toFixed(DIGITS))).join(",");
}

function readView(text) {
  const values = (text ?? "").split(",").map(Number);
  if (values.length !== 8 || !values.every(Number.isFinite)) return null;
  const [eye, ahead, half] = [values.slice(0, 3), values.slice(3, 6), values.slice(6)];
  return Math.hypot(...ahead) > 1e-3 && Math.min(...half) > 1e-3 ? lookingAt(eye, add(eye, ahead), half) : null;
}
