// The address of what is shown, as the part after "#": view, words and light; it can be kept, sent and opened again.
// A change of words or light, and a flight, is a step that the browser's Back undoes; a drag is none.

import { camera, lookingAt } from "./camera.js";
import { flight, flights } from "./flight.js";
import { setLight } from "./lights.js";
import { leavePhoto } from "./photos.js";
import { fly, homeCamera } from "./picture.js";
import { activeWords, chosen, lights, words } from "./store.js";
import { add } from "./vectors.js";

const DIGITS = 4; // of a view's numbers
let written = ""; // the last address that the page itself wrote
let writtenFlights = 0; // begun until then
let awaited = 0; // texts of the address that are looked for: until they are found it is not written

// Show what the address says: what it leaves out is as at the start. find: called with each text of it that the page has
// no word of.
export function followAddress(find) {
  if (location.hash === written) return;
  written = location.hash;
  const wanted = new URLSearchParams(location.hash.slice(1));
  leavePhoto();
  fly(readView(wanted.get("view")) ?? homeCamera());
  writtenFlights = flights;
  const light = (name) => lights.findIndex((one) => one.name === wanted.get(name));
  const [from, to] = [Math.max(0, light("light")), light("to")];
  setLight({ from, ...(to >= 0 ? { to, blend: Math.min(1, Number(wanted.get("blend")) || 0) } : { blend: 0 }) });
  const texts = wanted.getAll("word");
  for (const word of words) word.toggle(texts.includes(word.text));
  const missing = texts.filter((text) => !words.some((word) => word.text === text));
  awaited += missing.length;
  for (const text of missing) Promise.resolve(find(text)).finally(() => { awaited--; });
}

// Write what is shown into the address; nothing for the first view in the first light without words.
export function writeAddress() {
  if (flight || awaited) return;
  const shown = new URLSearchParams();
  const view = formatView(camera);
  if (view !== formatView(homeCamera())) shown.set("view", view);
  if (chosen.from || chosen.blend) shown.set("light", lights[chosen.from].name);
  if (chosen.blend) {
    shown.set("to", lights[chosen.to].name);
    shown.set("blend", String(chosen.blend));
  }
  for (const word of activeWords()) shown.append("word", word.text);
  const text = shown.toString(), before = written;
  written = text ? `#${text}` : "";
  const steps = withoutView(before) !== withoutView(written) || flights !== writtenFlights;
  writtenFlights = flights;
  if (location.hash === written) return;
  const place = written || location.pathname + location.search;
  if (steps) history.pushState(null, "", place);
  else history.replaceState(null, "", place);
}

function withoutView(fragment) {
  const parts = new URLSearchParams(fragment.slice(1));
  parts.delete("view");
  return parts.toString();
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
