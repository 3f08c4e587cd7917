// What is believed of a word in the marked photo: its probability as colour over the photo.

import { createElement, element } from "./dom.js";
import { getBlob } from "./server.js";
import { pictureFrame } from "./teach_frame.js";
import { teaching } from "./teach_store.js";

let levels = null; // probabilities of the last map: Uint8ClampedArray [4 w h], grey, with width and height
let newest = 0; // number of the last request

// Fetch the map of a word in a photo, and show it. word: with threshold and rgb. Returns when it is shown; a newer request
// replaces it.
export async function showBelief(word, photo) {
  const number = ++newest;
  const blob = await getBlob(`api/teaching/map?concept=${encodeURIComponent(word.text)}&photo=${photo}`);
  const picture = await createImageBitmap(blob);
  if (number !== newest) return;
  const reader = createElement("canvas");
  [reader.width, reader.height] = [picture.width, picture.height];
  const context = reader.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  levels = context.getImageData(0, 0, picture.width, picture.height);
  colourBelief(word);
}

export function hideBelief() {
  newest++;
  levels = null;
  element("teach-belief").hidden = true;
}

// Colour the last map: strongly from the word's threshold on, faintly below it.
export function colourBelief(word) {
  if (!levels) return;
  const canvas = element("teach-belief");
  const { width, height, data } = levels;
  const coloured = new ImageData(width, height);
  const opacity = Uint8ClampedArray.from({ length: 256 }, (_, p) => 255 * shownOpacity(p / 255, word.threshold));
  for (let i = 0; i < data.length; i += 4) {
    coloured.data.set(word.rgb, i);
    coloured.data[i + 3] = opacity[data[i]];
  }
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(coloured, 0, 0);
  canvas.hidden = false;
  placeBelief();
}

// Lay the map over the photo where that lies now.
export function placeBelief() {
  for (const one of [element("teach-belief"), element("teach-photo")]) {
    Object.assign(one.style, { left: `${pictureFrame.left}px`, top: `${pictureFrame.top}px`, width: `${pictureFrame.width}px`, height: `${pictureFrame.height}px` });
  }
  element("teach-belief").style.opacity = teaching.belief;
}

const shownOpacity = (p, threshold) =>
  (p >= threshold ? 0.4 + (0.55 * (p - threshold)) / Math.max(1 - threshold, 0.01) : 0.2 * (p / threshold) ** 2);
