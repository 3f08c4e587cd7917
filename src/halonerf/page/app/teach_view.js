// The 3D view as the picture that is marked: its marks belong to a camera, and it moves by moving the camera.

import { camera, cameraOf, intrinsicsFor, orbit, zoom } from "./camera.js";
import { flight, stopFlight } from "./flight.js";
import { leavePhoto } from "./photos.js";
import { canvas, redraw } from "./picture.js";
import { poseOf } from "./rendering.js";
import { cancelDrawing } from "./teach_pointer.js";
import { THE_VIEW, teaching } from "./teach_store.js";

const SAME_POSE = 1e-4; // by which numbers of two equal poses may differ
const LEAST_SIDE = 16; // px, of a camera

// Stop a flight, which would change the view under a mark.
export function holdView() {
  if (!flight) return;
  stopFlight();
  leavePhoto();
}

// Turn and zoom the view, where it is marked; whether it is. A mark that is being drawn belongs to the camera before: it
// is given up.
export const moveView = (dx, dy) => changeView(() => orbit(-2.6 * dx / canvas.clientHeight, -2.6 * dy / canvas.clientHeight));
export const zoomView = (factor) => changeView(() => zoom(1 / factor));

function changeView(change) {
  if (teaching.photo !== THE_VIEW) return false;
  stopFlight();
  leavePhoto();
  cancelDrawing();
  change();
  redraw();
  return true;
}

// The present camera, as marks have it.
export function viewCamera() {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((px) => Math.max(LEAST_SIDE, Math.round(px)));
  return { width, height, ...intrinsicsFor(width, height), pose: poseOf(camera) };
}

// The camera of a mark, to fly to.
export const cameraOfMark = ({ camera: { width, height, focal, principal, pose } }) =>
  cameraOf({ pose, size: [width, height], focal: [focal, focal], principal, distance: camera.distance });

// Whether a mark on the 3D view is in this scene's world frame; the server names it when the mark arrives.
export const isOfThisScene = (mark) => !mark.camera.reconstruction || mark.camera.reconstruction === teaching.reconstruction;

// Whether a mark is on the present view, in a window of any size.
export function isOnView(mark) {
  const pose = poseOf(camera);
  return mark.camera !== null && isOfThisScene(mark) && pose.every((value, k) => Math.abs(value - mark.camera.pose[k]) < SAME_POSE);
}

// A mark on the present view with points and radius for the present window.
export function fittedToView(mark) {
  const [then, now] = [mark.camera, viewCamera()];
  const scale = now.focal / then.focal;
  const fitted = (value, k, side) => (now.principal[k] + scale * (value * then[side] - then.principal[k])) / now[side];
  return {
    ...mark,
    points: mark.points.map(([u, v]) => [fitted(u, 0, "width"), fitted(v, 1, "height")]),
    radius: (mark.radius * scale * Math.max(then.width, then.height)) / Math.max(now.width, now.height),
  };
}
