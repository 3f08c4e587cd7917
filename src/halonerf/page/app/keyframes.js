// The key-frames of a film: what is shown now is added to them; they are flown to, timed, saved and loaded.

import { camera, cameraAlong, intrinsicsFor } from "./camera.js";
import { announce, complain, createElement, element, plural } from "./dom.js";
import { leavePhoto } from "./photos.js";
import { canvas, fly } from "./picture.js";
import { poseOf, presentLight } from "./rendering.js";
import { postAndSave, postFile, postJson } from "./server.js";
import { activeWords, facts } from "./store.js";

const MOST_KEYFRAMES = 200;
const USUAL_SECONDS = 3; // from a key-frame to the next
const keyframes = []; // as paths store them
let keyframesChanged = () => {};

export const keyframeCount = () => keyframes.length;
export const hasWords = () => keyframes.some((key) => key.words.length > 0);
export const presentPath = () => ({ loop: element("film-loop").checked, keyframes });

// Seconds from the first to the last key-frame; of a loop, back to the first.
export function pathDuration() {
  const counted = element("film-loop").checked || keyframes.length === 1 ? keyframes : keyframes.slice(0, -1);
  return counted.reduce((sum, key) => sum + key.seconds, 0);
}

// Make the list work. changed: called after every change of it.
export function openKeyframes(changed) {
  keyframesChanged = changed;
  element("add-keyframe").addEventListener("click", addKeyframe);
  element("film-loop").addEventListener("change", showKeyframes);
  element("save-path").addEventListener("click", () => attempt(async () => {
    announce(`Saved as paths/${await postAndSave("api/paths", { path: presentPath() })}`);
  }));
  element("load-path").addEventListener("change", ({ target }) => {
    const file = target.files[0];
    target.value = ""; // so that the same file can be chosen again
    if (file) attempt(async () => takePath(await postFile("api/uploads/path", file)));
  });
  restorePath();
  showKeyframes();
}

async function addKeyframe() {
  if (keyframes.length >= MOST_KEYFRAMES) {
    complain(`There are ${MOST_KEYFRAMES} key-frames: remove one first.`);
    return;
  }
  await attempt(async () => keyframes.push(await postJson("api/paths/keyframes", presentMoment())));
  showKeyframes();
}

// What is shown, to become a key-frame. A path has one strength and one threshold for all words of a key-frame.
function presentMoment() {
  const { focal } = intrinsicsFor(canvas.clientWidth, canvas.clientHeight), lit = activeWords();
  const moved = lit.find((word) => word.threshold !== word.own);
  return {
    pose: poseOf(camera), fov: 2 * Math.atan(canvas.clientHeight / 2 / focal), ...presentLight(),
    words: lit.map(({ text }) => text), opacity: Math.max(0, ...lit.map(({ strength }) => strength)),
    threshold: moved ? moved.threshold : 0, seconds: keyframes.at(-1)?.seconds ?? USUAL_SECONDS,
  };
}

function takePath(path) {
  keyframes.splice(0, keyframes.length, ...path.keyframes);
  element("film-loop").checked = path.loop;
  showKeyframes();
}

// Do something that the server may refuse, and say why it did.
async function attempt(action) {
  complain("");
  try {
    await action();
  } catch (error) {
    complain(error.message);
  }
}

function showKeyframes() {
  element("keyframes").replaceChildren(...keyframes.map(keyframeRow));
  const none = !keyframes.length;
  element("no-keyframes").hidden = !none;
  for (const id of ["save-path", "play-path", "render-film"]) element(id).disabled = none;
  element("path-length").textContent = none ? "" : `${plural(keyframes.length, "key-frame", "key-frames")}, ${pathDuration().toFixed(1)} s`;
  keepPath();
  keyframesChanged();
}

function keyframeRow(key, number) {
  const label = [...key.words, lightText(key.light)].join(" · ");
  const there = createElement("button", { type: "button", class: "there", "aria-label": `Fly to key-frame ${number + 1}` },
    createElement("b", { text: String(number + 1) }), createElement("span", { text: label }));
  there.addEventListener("click", () => {
    leavePhoto();
    fly(cameraAlong(key.camera_to_world.flat(), key.fov, canvas.clientWidth / canvas.clientHeight));
  });
  const seconds = createElement("input", { type: "number", min: "0.1", max: "3600", step: "0.5", value: String(key.seconds), "aria-label": `Seconds from key-frame ${number + 1} to the next` });
  seconds.addEventListener("change", () => {
    key.seconds = Math.min(3600, Math.max(0.1, Number(seconds.value) || USUAL_SECONDS));
    showKeyframes();
  });
  const remove = createElement("button", { type: "button", class: "remove", "aria-label": `Remove key-frame ${number + 1}`, text: "×" });
  remove.addEventListener("click", () => {
    keyframes.splice(number, 1);
    showKeyframes();
  });
  return createElement("li", {}, there, seconds, createElement("span", { class: "soft", text: "s" }), remove);
}

function lightText(light) {
  if (typeof light === "string") return light;
  return Array.isArray(light) ? "light of an uploaded photo" : Object.keys(light).join(" + ");
}

// Key-frames outlive a reload of the page in the same window.
const storageKey = () => `halonerf path of ${facts.title}`;
const keepPath = () => sessionStorage.setItem(storageKey(), JSON.stringify(presentPath()));

function restorePath() {
  const kept = sessionStorage.getItem(storageKey());
  if (kept) takePath(JSON.parse(kept));
}
