// The camera: position, orientation, and the point that it orbits. Vectors are arrays of three, world units.

import { facts } from "./store.js";
import { add, clamp, cross, dot, rotated, unit } from "./vectors.js";

// eye: position; right, down, forward: unit axes; distance: along forward to the point that is orbited; half: tangents of
// half the horizontal and vertical field of view; shift: offset of the optical axis from the picture's centre, in tangents.
export const camera = { eye: [0, 0, 0], right: [1, 0, 0], down: [0, 1, 0], forward: [0, 0, 1], distance: 1, half: [0.6, 0.45], shift: [0, 0] };

// The camera of a photo.
export function cameraOf(photo) {
  const [a, b, c, x, d, e, f, y, g, h, i, z] = photo.pose;
  const half = [0, 1].map((k) => (0.5 * photo.size[k]) / photo.focal[k]);
  const shift = [0, 1].map((k) => (photo.principal[k] - 0.5 * photo.size[k]) / photo.focal[k]);
  return { eye: [x, y, z], right: [a, d, g], down: [b, e, h], forward: [c, f, i], distance: photo.distance, half, shift };
}

// A camera with a pose (camera to world [3, 4], row by row) and a vertical field of view, in a window of that aspect.
export function cameraAlong([a, b, c, x, d, e, f, y, g, h, i, z], fov, aspect) {
  const half = Math.tan(fov / 2);
  return { eye: [x, y, z], ...orthonormal([a, d, g], [b, e, h], [c, f, i]), distance: camera.distance, half: [half * aspect, half], shift: [0, 0] };
}

// An upright camera at `eye` that looks at `target`.
export function lookingAt(eye, target, half) {
  const offset = add(target, eye, -1);
  const forward = unit(offset);
  let right = cross(forward, facts.up);
  if (Math.hypot(...right) < 1e-3) right = camera.right;
  right = unit(right);
  return { eye, right, down: cross(forward, right), forward, distance: Math.hypot(...offset), half, shift: [0, 0] };
}

const orbitCentre = () => add(camera.eye, camera.forward, camera.distance);

// Move around the orbit centre; angles in radians.
export function orbit(yaw, pitch) {
  const centre = orbitCentre();
  const tilt = Math.asin(clamp(dot(camera.forward, facts.up), -1, 1));
  pitch = clamp(tilt + pitch, -1.45, 1.45) - tilt; // not beyond the vertical
  const turn = (v) => rotated(rotated(v, camera.right, pitch), facts.up, yaw);
  const [right, down, forward] = [turn(camera.right), turn(camera.down), turn(camera.forward)];
  Object.assign(camera, orthonormal(right, down, forward));
  camera.eye = add(centre, camera.forward, -camera.distance);
}

// Turn the camera without moving it; the orbit centre moves with it.
export function look(yaw, pitch) {
  const eye = camera.eye;
  orbit(yaw, pitch);
  camera.eye = eye;
}

// Multiply the distance to the orbit centre.
export function zoom(factor) {
  const centre = orbitCentre();
  camera.distance = clamp(camera.distance * factor, 0.03, 200);
  camera.eye = add(centre, camera.forward, -camera.distance);
}

// Move sideways; x, y: shares of the picture's height.
export function pan(x, y) {
  const step = 2 * camera.half[1] * camera.distance;
  camera.eye = add(add(camera.eye, camera.right, -x * step), camera.down, -y * step);
}

// Move along the view direction and sideways, in multiples of the distance.
export function walk(ahead, aside) {
  camera.eye = add(add(camera.eye, camera.forward, ahead * camera.distance), camera.right, aside * camera.distance);
}

// Orthonormal axes again after rounding errors.
function orthonormal(right, down, forward) {
  forward = unit(forward);
  right = unit(add(right, forward, -dot(right, forward)));
  return { forward, right, down: cross(forward, right) };
}

const SIMILAR_DIRECTION = Math.cos(Math.PI / 4); // cosine of the angle between similar view directions

// Whether no photo of the page has a similar view direction: what is visible then is an extrapolation.
export function isExtrapolated() {
  const directions = facts.photos.map((photo) => [2, 6, 10].map((k) => photo.pose[k]));
  return directions.every((direction) => dot(direction, camera.forward) < SIMILAR_DIRECTION);
}

// World to camera for WebGL, column by column.
export const worldToCamera = (c) => [0, 1, 2].flatMap((k) => [c.right[k], c.down[k], c.forward[k]]);

// Where a point is in a picture of that size: x, y in px, and its depth; null behind the camera.
export function projected(point, width, height) {
  const offset = add(point, camera.eye, -1), depth = dot(offset, camera.forward);
  if (depth < 0.01) return null;
  const { focal, principal } = intrinsicsFor(width, height);
  return [principal[0] + (focal * dot(offset, camera.right)) / depth, principal[1] + (focal * dot(offset, camera.down)) / depth, depth];
}

// Focal length and principal point, px, of a picture of that size that contains all of `half`.
export function intrinsicsFor(width, height) {
  const focal = Math.min(width / 2 / camera.half[0], height / 2 / camera.half[1]);
  return { focal, principal: [width / 2 + camera.shift[0] * focal, height / 2 + camera.shift[1] * focal] };
}
