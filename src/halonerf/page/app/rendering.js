// What is shown, as a request for a picture that the server renders, and how long that takes.

import { camera, intrinsicsFor } from "./camera.js";
import { canvas } from "./picture.js";
import { activeWords, chosen, confidenceWord, facts, lights } from "./store.js";

const MIN_SIDE = 16; // px, of a picture
const HIGHLIGHT_COST = 2; // time of a picture with words, over that of one without

// What is seen in the window, in a picture of that size.
export function presentView(width, height) {
  return {
    width, height, ...intrinsicsFor(width, height), pose: poseOf(camera), ...presentLight(),
    ...(chosen.confidence ? { confidence: confidenceWord().text } : { words: activeWords().map(litWord) }),
  };
}

const litWord = ({ text, rgb, threshold, strength }) => ({ text, rgb, strength, threshold: Math.max(threshold, 0.01) });

// Camera to world, row by row.
export const poseOf = ({ right, down, forward, eye }) => [0, 1, 2].flatMap((k) => [right[k], down[k], forward[k], eye[k]]);

export const presentLight = () => ({ light: lights[chosen.from].name, to: lights[chosen.to].name, blend: chosen.blend });

// Width and height of the window's picture whose long side has `size` px.
export function sizeOfWindow(size) {
  const scale = size / Math.max(canvas.clientWidth, canvas.clientHeight, 1);
  return [canvas.clientWidth, canvas.clientHeight].map((px) => Math.max(MIN_SIDE, Math.round(px * scale)));
}

// How long the server takes, roughly, as text. hasWords: whether words are highlighted.
export function durationOf(pixels, hasWords) {
  const seconds = ((hasWords ? HIGHLIGHT_COST : 1) * pixels) / Math.max(facts.pixels_per_s, 1);
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return `about ${Math.round(seconds)} s`;
  return seconds < 5400 ? `about ${Math.round(seconds / 60)} min` : `about ${(seconds / 3600).toFixed(1)} h`;
}
