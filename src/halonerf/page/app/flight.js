// Animated camera moves: position along a line, rotation by spherical interpolation.

import { camera } from "./camera.js";
import { clamp, rotationMatrix, unit } from "./vectors.js";

const REDUCED_MOTION = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
const FLIGHT_SECONDS = 1.1;
export let flight = null;
export let flights = 0; // begun so far

// Start a move to the camera `goal`. ended: called once with whether it arrived; it does not where it is stopped or replaced.
export function flyTo(goal, ended = () => {}) {
  stopFlight();
  const from = { ...camera };
  flights++;
  flight = { from, goal, first: quaternion(from), last: quaternion(goal), ended, start: performance.now() };
}

export function stopFlight() {
  endFlight(false);
}

function endFlight(arrived) {
  const stopped = flight;
  flight = null;
  stopped?.ended(arrived);
}

// Set the camera for the time `now`, ms; whether the move goes on after it.
export function advance(now) {
  if (!flight) return false;
  const { from, goal, first, last } = flight;
  const time = REDUCED_MOTION ? 1 : clamp((now - flight.start) / 1000 / FLIGHT_SECONDS, 0, 1);
  const t = time * time * (3 - 2 * time);
  const between = (a, b) => (Array.isArray(a) ? a.map((value, k) => value + t * (b[k] - value)) : a + t * (b - a));
  for (const name of ["eye", "distance", "half", "shift"]) camera[name] = between(from[name], goal[name]);
  const m = rotationMatrix(...slerp(first, last, t));
  Object.assign(camera, { right: [m[0], m[3], m[6]], down: [m[1], m[4], m[7]], forward: [m[2], m[5], m[8]] });
  if (time < 1) return true;
  Object.assign(camera, goal);
  endFlight(true);
  return false;
}

// The quaternion wxyz of the rotation whose columns are right, down, forward (Shepperd 1978: no division by small numbers).
function quaternion({ right: [a, d, g], down: [b, e, h], forward: [c, f, i] }) {
  const w = 1 + a + e + i, x = 1 + a - e - i, y = 1 - a + e - i, z = 1 - a - e + i;
  const most = Math.max(w, x, y, z);
  if (most === w) return unit([w, h - f, c - g, d - b]);
  if (most === x) return unit([h - f, x, b + d, c + g]);
  if (most === y) return unit([c - g, b + d, y, f + h]);
  return unit([d - b, c + g, f + h, z]);
}

function slerp(a, b, t) {
  let cosine = a.reduce((sum, value, k) => sum + value * b[k], 0);
  if (cosine < 0) [b, cosine] = [b.map((value) => -value), -cosine];
  if (cosine > 0.9995) return unit(a.map((value, k) => value + t * (b[k] - value)));
  const angle = Math.acos(cosine);
  return a.map((value, k) => (value * Math.sin((1 - t) * angle) + b[k] * Math.sin(t * angle)) / Math.sin(angle));
}
