// Arithmetic of vectors, arrays of three, and of rotations.

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
export const add = (a, b, scale = 1) => a.map((value, k) => value + scale * b[k]);
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

export function unit(values) {
  const length = Math.hypot(...values) || 1;
  return values.map((value) => value / length);
}

// `vector` rotated by `angle` (radians) around the unit vector `axis` (Rodrigues' formula).
export function rotated(vector, axis, angle) {
  const along = add([0, 0, 0], axis, dot(axis, vector) * (1 - Math.cos(angle)));
  return add(add(along, vector, Math.cos(angle)), cross(axis, vector), Math.sin(angle));
}

// The rotation matrix of a unit quaternion wxyz, row by row.
export function rotationMatrix(w, x, y, z) {
  return [
    1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
    2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
    2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
  ];
}
