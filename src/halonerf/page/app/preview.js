// Plays the path through the key-frames in the window: camera, light and words as the film will have them.

import { camera, cameraAlong } from "./camera.js";
import { complain, element } from "./dom.js";
import { stopFlight } from "./flight.js";
import { presentPath } from "./keyframes.js";
import { fetchLights } from "./light_upload.js";
import { leavePhoto } from "./photos.js";
import { canvas, redraw, repaint } from "./picture.js";
import { findText } from "./query_box.js";
import { postJson } from "./server.js";
import { USUAL_STRENGTH, chosen, lights, source, words } from "./store.js";

const PREVIEW_FPS = 20; // of the moments that the server computes; the camera moves between them
const RECOLOUR_MS = 250; // between two changes of light and words, which colour every Gaussian
let stopPreview = null; // ends the preview that plays

// Make the button play, and stop, the path.
export function openPreview() {
  element("play-path").addEventListener("click", async () => {
    if (stopPreview) {
      stopPreview();
      return;
    }
    complain("");
    element("play-path").disabled = true; // while what it shows is fetched
    const before = { light: { ...chosen }, words: new Map(words.map((word) => [word, { on: word.on, strength: word.strength, threshold: word.threshold }])) };
    try {
      const samples = await postJson("api/paths/samples", { path: presentPath(), fps: PREVIEW_FPS });
      await fetchWhatIsShown(samples);
      play(samples, before);
    } catch (error) {
      complain(error.message);
    } finally {
      element("play-path").disabled = false;
    }
  });
  for (const name of ["pointerdown", "wheel", "keydown"]) canvas.addEventListener(name, () => stopPreview?.());
}

async function fetchWhatIsShown(samples) {
  const missing = new Set(samples.flatMap((sample) => sample.lights.map(([number]) => number)));
  if ([...missing].some((number) => number >= lights.length)) await fetchLights(); // another window uploaded it
  await Promise.all([...missing].filter((number) => !lights[number].colours).map(source.loadLight));
  const shown = new Set(words.map(({ text }) => text));
  for (const text of new Set(samples.flatMap((sample) => Object.keys(sample.words)))) {
    if (!shown.has(text)) await findText(text);
  }
}

// Move the camera along the samples. before: light and words that are shown again at the end.
function play(samples, before) {
  stopFlight();
  leavePhoto();
  const start = performance.now(), length = samples.at(-1).seconds;
  let frame = 0, colouredAt = -Infinity;
  const step = (now) => {
    const seconds = Math.max(0, now - start) / 1000; // the time of a frame may lie before that of the click
    moveTo(samples, Math.min(seconds, length));
    if (now - colouredAt > RECOLOUR_MS) {
      colourAs(sampleAt(samples, seconds)[0]);
      colouredAt = now;
    }
    redraw();
    if (seconds < length) frame = requestAnimationFrame(step);
    else stop();
  };
  const stop = () => {
    cancelAnimationFrame(frame);
    stopPreview = null;
    element("play-path").textContent = "Play";
    Object.assign(chosen, before.light);
    for (const word of words) {
      const state = before.words.get(word);
      Object.assign(word, state ?? { on: true, strength: USUAL_STRENGTH, threshold: word.own });
      if (!state) word.toggle(false); // it was found for the preview
    }
    repaint();
  };
  stopPreview = stop;
  element("play-path").textContent = "Stop";
  frame = requestAnimationFrame(step);
}

// The samples before and after a time, and the share of the second.
function sampleAt(samples, seconds) {
  const step = samples.length > 1 ? samples.at(-1).seconds / (samples.length - 1) : 1;
  const place = Math.min(seconds / step, samples.length - 1), k = Math.floor(place);
  return [samples[k], samples[Math.min(k + 1, samples.length - 1)], place - k];
}

function moveTo(samples, seconds) {
  const [one, two, share] = sampleAt(samples, seconds);
  const between = (a, b) => a + share * (b - a);
  const pose = one.pose.map((value, k) => between(value, two.pose[k]));
  Object.assign(camera, cameraAlong(pose, between(one.fov, two.fov), canvas.clientWidth / canvas.clientHeight));
}

function colourAs(sample) {
  const [[from, share] = [0, 1], [to, more] = [chosen.to, 0]] = sample.lights;
  Object.assign(chosen, { from, to, blend: more / (share + more), confidence: false });
  for (const word of words) {
    const strength = sample.words[word.text] ?? 0;
    Object.assign(word, { on: strength > 0, strength, threshold: sample.threshold || word.own });
  }
  repaint();
}
