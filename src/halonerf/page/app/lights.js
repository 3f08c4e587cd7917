// The choice of light: one of the lights, or a blend of two.

import { complain, createElement, element } from "./dom.js";
import { repaint } from "./picture.js";
import { chosen, lights, source } from "./store.js";

const FEW = 8; // lights up to which those of photos stand in no group of their own
let changes = 0; // number of the last change of light, the only one that is shown when its colours have come

const lightOption = (light, number) => createElement("option", { value: String(number), text: light.name });

export function fillLights() {
  for (const [id, name] of [["light-from", "from"], ["light-to", "to"]]) {
    const select = element(id), options = lights.map(lightOption);
    const isPhoto = (option, number) => lights.length > FEW && lights[number].name.startsWith("photo ");
    const photos = options.filter(isPhoto);
    select.append(...options.filter((option, number) => !isPhoto(option, number)));
    if (photos.length) select.append(createElement("optgroup", { label: "photos" }, ...photos));
    select.addEventListener("change", () => setLight({ [name]: Number(select.value) }));
  }
  const blend = element("light-blend");
  blend.addEventListener("input", () => setLight({ blend: Number(blend.value) }));
  setLight({ from: 0, to: Math.min(1, lights.length - 1), blend: 0 });
}

// Add lights that the page does not have yet to the choice, at the end.
export function offerLights(added) {
  for (const light of added) {
    const number = lights.push({ ...light, colours: null }) - 1;
    for (const id of ["light-from", "light-to"]) element(id).append(lightOption(light, number));
  }
}

// Choose a light: numbers `from` and `to`, and the share `blend` of the second. Colours that the page does not have yet
// are fetched first.
export function setLight(change) {
  const wanted = { from: chosen.from, to: chosen.to, blend: chosen.blend, ...change };
  const number = ++changes;
  const missing = [wanted.from, ...(wanted.blend ? [wanted.to] : [])].filter((light) => !lights[light].colours);
  if (!missing.length) {
    show(wanted);
    return;
  }
  Promise.all(missing.map(source.loadLight)).then(
    () => { if (number === changes) show(wanted); },
    (error) => { complain(error.message); show({}); });
}

function show(wanted) {
  Object.assign(chosen, wanted);
  element("light-from").value = String(chosen.from);
  element("light-to").value = String(chosen.to);
  element("light-blend").value = String(chosen.blend);
  repaint();
}
