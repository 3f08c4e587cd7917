// The photos' cameras as small pyramids over the picture, off until they are asked for; a click flies to a photo.

import { camera, cameraOf, projected } from "./camera.js";
import { element } from "./dom.js";
import { showPhoto } from "./photos.js";
import { canvas, onDraw, wake } from "./picture.js";
import { onClick } from "./pointer.js";
import { facts } from "./store.js";
import { add, clamp } from "./vectors.js";

const SMALLEST_PYRAMID = 0.01, LARGEST_PYRAMID = 0.06; // world units, from apex to base
const NEAR_PX = 14; // from a pyramid's middle, within which it is pointed at
const PYRAMID_COLOUR = "#f4efe6", POINTED_COLOUR = "#ffb25c";

let pyramids = []; // eye and corners of each photo's, world units
let pyramidSize = 0, pyramidsShown = false, pointedAt = -1; // number of the photo

// Make the key and the button work.
export function openPhotoCameras() {
  const cameras = facts.photos.map(cameraOf);
  pyramidSize = pyramidSizeFor(cameras.map(({ eye }) => eye));
  pyramids = cameras.map((one) => ({ eye: one.eye, corners: [[-1, -1], [1, -1], [1, 1], [-1, 1]].map((signs) => cornerOf(one, signs)) }));
  element("show-cameras").addEventListener("click", togglePhotoCameras);
  onDraw(drawPyramids);
  onClick((x, y) => {
    const number = pyramidAt(x, y);
    if (number >= 0) showPhoto(number);
    return number >= 0;
  });
  canvas.addEventListener("pointermove", ({ offsetX, offsetY, buttons }) => pointTo(buttons ? -1 : pyramidAt(offsetX, offsetY)));
  canvas.addEventListener("pointerleave", () => pointTo(-1));
}

export function togglePhotoCameras() {
  pyramidsShown = !pyramidsShown;
  element("show-cameras").setAttribute("aria-pressed", String(pyramidsShown));
  element("photo-cameras").hidden = !pyramidsShown;
  pointTo(-1);
  wake();
}

// Length of the pyramids: a quarter of the median distance to the nearest camera, so that they hardly overlap.
function pyramidSizeFor(eyes) {
  const nearest = eyes.map((eye, i) => Math.min(...eyes.map((other, j) => (i === j ? Infinity : Math.hypot(...add(eye, other, -1))))));
  nearest.sort((a, b) => a - b);
  return clamp(0.25 * (nearest[nearest.length >> 1] ?? 0), SMALLEST_PYRAMID, LARGEST_PYRAMID);
}

function cornerOf({ eye, right, down, forward, half, shift }, [across, along]) {
  const ahead = add(eye, forward, pyramidSize);
  return add(add(ahead, right, pyramidSize * (across * half[0] - shift[0])), down, pyramidSize * (along * half[1] - shift[1]));
}

// Apex and corners of the photo's pyramid in the window, px; null where it is not seen whole, or the camera is in it.
function pyramidInWindow({ eye, corners }) {
  if (Math.hypot(...add(eye, camera.eye, -1)) < 2 * pyramidSize) return null;
  const points = [eye, ...corners].map((point) => projected(point, canvas.clientWidth, canvas.clientHeight));
  return points.every(Boolean) ? points : null;
}

// The photo whose pyramid is nearest to a place in the window; -1: none is near.
function pyramidAt(x, y) {
  let best = -1, least = Infinity;
  if (!pyramidsShown) return best;
  pyramids.forEach((pyramid, number) => {
    const points = pyramidInWindow(pyramid);
    if (!points) return;
    const [middleX, middleY] = [0, 1].map((k) => points.reduce((sum, point) => sum + point[k], 0) / points.length);
    const reach = Math.max(NEAR_PX, 0.7 * Math.hypot(points[1][0] - points[3][0], points[1][1] - points[3][1]) / 2);
    const distance = Math.hypot(x - middleX, y - middleY) / reach;
    if (distance <= 1 && distance < least) [best, least] = [number, distance];
  });
  return best;
}

// Mark the pyramid that the mouse points at, and show its photo.
function pointTo(number) {
  if (number === pointedAt) return;
  pointedAt = number;
  canvas.classList.toggle("points", number >= 0);
  const preview = element("camera-photo");
  preview.hidden = number < 0;
  if (number >= 0) preview.src = facts.photos[number].thumbnail ?? facts.photos[number].picture;
  drawPyramids();
}

function drawPyramids() {
  if (!pyramidsShown) return;
  const layer = element("photo-cameras"), scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [layer.width, layer.height] = [width * scale, height * scale];
  const pen = layer.getContext("2d");
  pen.scale(scale, scale);
  pen.lineJoin = "round";
  pyramids.forEach((pyramid, number) => {
    const points = pyramidInWindow(pyramid);
    if (!points) return;
    const outline = new Path2D();
    points.slice(1).forEach(([x, y], k) => (k ? outline.lineTo(x, y) : outline.moveTo(x, y)));
    outline.closePath();
    for (const [x, y] of points.slice(1)) {
      outline.moveTo(...points[0].slice(0, 2));
      outline.lineTo(x, y);
    }
    for (const [colour, line] of [["rgb(0 0 0 / .55)", 3], [number === pointedAt ? POINTED_COLOUR : PYRAMID_COLOUR, 1.2]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = line;
      pen.stroke(outline);
    }
    if (number === pointedAt) placePreview(points[0]);
  });
}

function placePreview([x, y]) {
  const { style } = element("camera-photo");
  style.left = `${clamp(x + 12, 0, Math.max(0, canvas.clientWidth - 190))}px`;
  style.top = `${clamp(y + 12, 0, Math.max(0, canvas.clientHeight - 150))}px`;
}
