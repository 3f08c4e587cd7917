// Where the marked picture lies on the screen: a photo, zoomed and moved, or the 3D view.

import { canvas } from "./picture.js";
import { clamp } from "./vectors.js";

const MOST_ZOOM = 12; // of a photo, beyond where it fits
const BEYOND = 0.45; // shares of the picture by which marks may leave it

// Left, top, width and height of the picture, px of the area that marks are drawn in.
export const pictureFrame = { left: 0, top: 0, width: 1, height: 1 };
let area = null; // the element that the picture lies in
let aspect = null; // width over height of a photo; null: the 3D view
let zoomed = 1;

// Fit a picture into an element. shape: width over height of a photo; null: the 3D view, which lies behind it.
export function fitFrame(inside, shape) {
  [area, aspect, zoomed] = [inside, shape, 1];
  place(0.5, 0.5);
}

// Fit the picture again after a change of the window's size.
export function refitFrame() {
  if (area) place(0.5, 0.5);
}

// Zoom a photo by a factor, such that the point (x, y) of the area stays where it is.
export function zoomFrame(factor, x, y) {
  const [u, v] = toPicture(x, y);
  zoomed = clamp(zoomed * factor, 1, MOST_ZOOM);
  const [width, height] = photoSize();
  Object.assign(pictureFrame, { width, height, left: x - u * width, top: y - v * height });
  keepInside();
}

// Move a zoomed photo, px.
export function moveFrame(dx, dy) {
  pictureFrame.left += dx;
  pictureFrame.top += dy;
  keepInside();
}

// Coordinates in widths and heights of the picture of a point (x, y) of the area.
export const toPicture = (x, y) =>
  [(x - pictureFrame.left) / pictureFrame.width, (y - pictureFrame.top) / pictureFrame.height].map((value) => clamp(value, -BEYOND, 1 + BEYOND));

// A point of the picture in px of the area.
export const toArea = ([u, v]) => [pictureFrame.left + u * pictureFrame.width, pictureFrame.top + v * pictureFrame.height];

export const longSide = () => Math.max(pictureFrame.width, pictureFrame.height);

function photoSize() {
  const fit = Math.min(area.clientWidth / aspect, area.clientHeight) * zoomed;
  return [fit * aspect, fit];
}

// Lay the picture out with its point (u, v) in the middle of the area.
function place(u, v) {
  if (aspect === null) {
    const [outer, inner] = [canvas.getBoundingClientRect(), area.getBoundingClientRect()];
    Object.assign(pictureFrame, { left: outer.left - inner.left, top: outer.top - inner.top, width: outer.width, height: outer.height });
    return;
  }
  const [width, height] = photoSize();
  Object.assign(pictureFrame, { width, height, left: area.clientWidth / 2 - u * width, top: area.clientHeight / 2 - v * height });
  keepInside();
}

// A photo covers the area where it is larger, and is in its middle where it is smaller.
function keepInside() {
  if (aspect === null) return;
  for (const [from, length, room] of [["left", pictureFrame.width, area.clientWidth], ["top", pictureFrame.height, area.clientHeight]]) {
    pictureFrame[from] = length <= room ? (room - length) / 2 : clamp(pictureFrame[from], room - length, 0);
  }
}
