// The camera: where it stands, how it is turned, what it turns around. Vectors are arrays of three, world units.

const add = (a, b, times = 1) => a.map((value, k) => value + times * b[k]);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

// `vector` turned by `angle` around the unit vector `axis` (Rodrigues).
function spun(vector, axis, angle) {
  const along = add([0, 0, 0], axis, dot(axis, vector) * (1 - Math.cos(angle)));
  return add(add(along, vector, Math.cos(angle)), cross(axis, vector), Math.sin(angle));
}

// eye; right, down, forward: unit axes; distance: from the eye to what it turns around, along forward; half: tangents of
// half the picture's width and height; shift: how far off the optical axis is from the picture's middle, in tangents.
const camera = { eye: [0, 0, 0], right: [1, 0, 0], down: [0, 1, 0], forward: [0, 0, 1], distance: 1, half: [0.6, 0.45], shift: [0, 0] };

// A photo's camera, in the same terms.
function cameraOf(photo) {
  const [a, b, c, x, d, e, f, y, g, h, i, z] = photo.pose;
  const half = [0, 1].map((k) => (0.5 * photo.size[k]) / photo.focal[k]);
  const shift = [0, 1].map((k) => (photo.middle[k] - 0.5 * photo.size[k]) / photo.focal[k]);
  return { eye: [x, y, z], right: [a, d, g], down: [b, e, h], forward: [c, f, i], distance: photo.distance, half, shift };
}

// A camera at `eye` that looks at `target`, upright.
function lookingAt(eye, target, half) {
  const away = add(target, eye, -1);
  const forward = unit(away);
  let right = cross(forward, facts.up);
  if (Math.hypot(...right) < 1e-3) right = camera.right;
  right = unit(right);
  return { eye, right, down: cross(forward, right), forward, distance: Math.hypot(...away), half, shift: [0, 0] };
}

const target = () => add(camera.eye, camera.forward, camera.distance);

function orbit(yaw, pitch) {
  const around = target();
  const tilt = Math.asin(clamp(dot(camera.forward, facts.up), -1, 1));
  pitch = clamp(tilt + pitch, -1.45, 1.45) - tilt; // not over the top
  const turn = (v) => spun(spun(v, camera.right, pitch), facts.up, yaw);
  const [right, down, forward] = [turn(camera.right), turn(camera.down), turn(camera.forward)];
  Object.assign(camera, straightened(right, down, forward));
  camera.eye = add(around, camera.forward, -camera.distance);
}

// Turn without moving: what it turns around comes along.
function look(yaw, pitch) {
  const eye = camera.eye;
  orbit(yaw, pitch);
  camera.eye = eye;
}

function zoom(factor) {
  const around = target();
  camera.distance = clamp(camera.distance * factor, 0.03, 200);
  camera.eye = add(around, camera.forward, -camera.distance);
}

// By shares of the picture's height.
function pan(x, y) {
  const step = 2 * camera.half[1] * camera.distance;
  camera.eye = add(add(camera.eye, camera.right, -x * step), camera.down, -y * step);
}

function walk(ahead, aside) {
  camera.eye = add(add(camera.eye, camera.forward, ahead * camera.distance), camera.right, aside * camera.distance);
}

// Rounding must not bend the axes.
function straightened(right, down, forward) {
  forward = unit(forward);
  right = unit(add(right, forward, -dot(right, forward)));
  return { forward, right, down: cross(forward, right) };
}

const GUESS = Math.cos(Math.PI / 4); // no photo looked within 45 degrees of this direction

// Whether no photo on the page looked about the same way: what is seen then is what the others imply.
function isGuess() {
  const looks = facts.photos.map((photo) => [2, 6, 10].map((k) => photo.pose[k]));
  return looks.every((look) => dot(look, camera.forward) < GUESS);
}

// For WebGL: world to camera, column by column.
const turnOf = (c) => [0, 1, 2].flatMap((k) => [c.right[k], c.down[k], c.forward[k]]);

// focal, px, and where the optical axis meets a picture of that size, so that all of `half` is in it.
function lensFor(width, height) {
  const focal = Math.min(width / 2 / camera.half[0], height / 2 / camera.half[1]);
  return { focal, middle: [width / 2 + camera.shift[0] * focal, height / 2 + camera.shift[1] * focal] };
}
