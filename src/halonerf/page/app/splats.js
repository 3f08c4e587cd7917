// Decodes centres and covariances of the Gaussians, world units.

import { facts, source } from "./store.js";
import { rotationMatrix, unit } from "./vectors.js";

// Centres, Float32Array [3 N]: the inverse of the contraction of mip-NeRF 360, eq. 10.
export function readCentres() {
  const packed = source.array("centre");
  const centres = new Float32Array(packed.length);
  for (let i = 0; i < packed.length; i += 3) {
    const contracted = [0, 1, 2].map((k) => ((2 * packed[i + k]) / 65535 - 1) * facts.reach);
    const length = Math.hypot(...contracted);
    const scale = length > 1 ? 1 / Math.max(2 - length, 1e-6) / length : 1;
    for (let k = 0; k < 3; k++) centres[i + k] = contracted[k] * scale;
  }
  return centres;
}

// Three texels per Gaussian, Float32Array [12 N]: centre and opacity; xx, xy, xz, yy of the covariance; yz, zz, 0, 0.
export function readShapes(centres) {
  const size = source.array("size"), rotation = source.array("rotation"), opacity = source.array("opacity");
  const count = opacity.length, texels = new Float32Array(12 * count);
  const [smallest, largest] = facts.sizes, range = Math.log(largest / smallest);
  for (let i = 0; i < count; i++) {
    const [w, x, y, z] = unit([0, 1, 2, 3].map((k) => rotation[4 * i + k]));
    const axes = rotationMatrix(w, x, y, z);
    const s = [0, 1, 2].map((k) => smallest * Math.exp((size[3 * i + k] / 255) * range));
    const cov = (a, b) =>
      axes[3 * a] * axes[3 * b] * s[0] ** 2 +
      axes[3 * a + 1] * axes[3 * b + 1] * s[1] ** 2 +
      axes[3 * a + 2] * axes[3 * b + 2] * s[2] ** 2;
    texels.set(centres.subarray(3 * i, 3 * i + 3), 12 * i);
    texels[12 * i + 3] = opacity[i] / 255;
    texels.set([cov(0, 0), cov(0, 1), cov(0, 2), cov(1, 1), cov(1, 2), cov(2, 2)], 12 * i + 4);
  }
  return texels;
}
