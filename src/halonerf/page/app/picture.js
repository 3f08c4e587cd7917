// The picture: moves, sorts and draws after changes, and idles without them.

import { camera, cameraOf, intrinsicsFor, isExtrapolated, worldToCamera } from "./camera.js";
import { background, splatColours } from "./colours.js";
import { element } from "./dom.js";
import { openRenderer } from "./draw.js";
import { advance, flyTo } from "./flight.js";
import { openSorter } from "./sort.js";
import { readCentres, readShapes } from "./splats.js";
import { facts } from "./store.js";
import { clamp, dot } from "./vectors.js";

export const canvas = element("picture");
const MAX_PIXEL_RATIO = 2; // device pixels per CSS pixel
const SLOW_MS = 45, FAST_MS = 24; // per frame in motion: the resolution falls above, rises below
const MAX_STILL_MS = 1200; // that the picture may take at rest
const REST_MS = 180; // after the last change until the picture at rest is drawn
const HOME_MARGIN = 1.2; // field of view of the first view, over that of its photo
const MIN_RESOLUTION = 0.3, TRIAL_RESOLUTION = 0.5; // shares of the full width; below the first, fewer pixels save no time

let centres = null, renderer = null, requestOrder = null;
let frame = 0, lastTime = 0, changedAt = -Infinity, changed = false;
let coloursChanged = true;
let requested = 0, received = 0, sortedFor = ""; // numbers of the last orders requested and received, and the camera of the former
let resolution = 1; // in motion; adapts to the time that frames take
let inMotion = false; // whether the last frame was one of a motion: only then is the time since then that of a frame
let msPerPixel = 0; // measured by `measureSpeed`; 0 before it
const restListeners = [], changeListeners = []; // called when the picture is finished, and when it begins to change
const drawListeners = []; // called after every frame

// Draw the next frame.
export function wake() {
  canvas.dataset.idle = "no";
  if (!frame) frame = requestAnimationFrame(step);
}

// Draw with new colours.
export function repaint() {
  coloursChanged = changed = true;
  wake();
}

// Draw after a move of the camera.
export function redraw() {
  changed = true;
  wake();
}

// Move to the camera `goal`. ended: called once with whether it arrived.
export function fly(goal, ended) {
  flyTo(goal, ended);
  wake();
}

// The camera of the first view.
export function homeCamera() {
  const home = cameraOf(facts.photos[facts.home]);
  return { ...home, half: home.half.map((half) => HOME_MARGIN * half) };
}

// Call `listener` whenever the picture is finished, or begins to change after that.
export const onRest = (listener) => restListeners.push(listener);
export const onChange = (listener) => changeListeners.push(listener);

// Call `listener` after every frame.
export const onDraw = (listener) => drawListeners.push(listener);

// Start to draw.
export function openPicture() {
  centres = readCentres();
  Object.assign(camera, homeCamera());
  requestOrder = openSorter(centres, (order, number) => {
    received = number;
    if (renderer) renderer.order(order);
    if (renderer && !msPerPixel) measureSpeed();
    wake();
  });
  openContext();
  canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); renderer = null; });
  canvas.addEventListener("webglcontextrestored", openContext);
}

// Draw from now on, or say why it is impossible; also after a lost context.
function openContext() {
  try {
    renderer = openRenderer(canvas, readShapes(centres), facts.splats);
  } catch (error) {
    element("no-picture").hidden = false;
    element("no-picture-why").textContent = error.message;
    return;
  }
  renderer.recolour(splatColours());
  sortedFor = "";
  wake();
}

function step(now) {
  frame = 0;
  if (!renderer) return;
  if (changed) changedAt = now;
  changed = false;
  const moving = advance(now) || now - changedAt < REST_MS;
  if (moving && !inMotion) for (const listener of changeListeners) listener();
  if (inMotion && moving) resolution = adaptedResolution(now - lastTime);
  inMotion = moving;
  lastTime = now;
  const pose = [...camera.forward, ...camera.eye].join();
  if (pose !== sortedFor && requested === received) {
    sortedFor = pose;
    requestOrder(camera.forward, -dot(camera.forward, camera.eye), ++requested);
  }
  if (coloursChanged) renderer.recolour(splatColours());
  coloursChanged = false;
  element("guess").hidden = !isExtrapolated();
  draw(moving ? resolution : stillResolution());
  for (const listener of drawListeners) listener();
  if (moving || pose !== sortedFor) wake();
  else if (requested === received && !frame) {
    canvas.dataset.idle = "yes";
    for (const listener of restListeners) listener();
  }
}

// Full width and height of the picture, device pixels.
function fullSize() {
  const scale = Math.min(window.devicePixelRatio || 1, MAX_PIXEL_RATIO);
  return [canvas.clientWidth * scale, canvas.clientHeight * scale];
}

// share: of the full width and height.
function draw(share) {
  const [width, height] = fullSize().map((px) => Math.max(1, Math.round(px * share)));
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  renderer.draw({ rotation: worldToCamera(camera), eye: camera.eye }, intrinsicsFor(width, height), background());
}

// The resolution in motion after a frame of `ms`: the time of a frame is proportional to its pixels.
function adaptedResolution(ms) {
  const wanted = ms > SLOW_MS ? resolution * Math.max(0.5, Math.sqrt(SLOW_MS / ms)) : ms < FAST_MS ? resolution * 1.06 : resolution;
  return clamp(wanted, MIN_RESOLUTION, 1);
}

// The resolution at which a picture takes `ms`.
function resolutionFor(ms) {
  const [width, height] = fullSize();
  return clamp(Math.sqrt(ms / Math.max(msPerPixel * width * height, 1)), MIN_RESOLUTION, 1);
}

const stillResolution = () => resolutionFor(MAX_STILL_MS);

// Time the second of two small pictures: the first one includes the start of the engine.
function measureSpeed() {
  draw(TRIAL_RESOLUTION);
  renderer.wait();
  const start = performance.now();
  draw(TRIAL_RESOLUTION);
  renderer.wait();
  msPerPixel = (performance.now() - start) / Math.max(1, canvas.width * canvas.height);
  resolution = resolutionFor(SLOW_MS);
}
