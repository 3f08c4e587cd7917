// The colour of every Gaussian: a blend of two lights, with highlights of words over it, or the confidence of a word.

import { activeWords, chosen, confidenceWord, lights } from "./store.js";
import { clamp } from "./vectors.js";

const UNKNOWN = [104, 82, 150];
const CONFIDENCE = [[18, 50, 58], [38, 132, 128], [238, 244, 196]]; // from low to high
// Half the width of a highlight's edge, around its threshold, so that edges do not flicker: a share of the threshold, up to a probability.
const SOFT_SHARE = 0.16;
const SOFT_MOST = 0.08;

// Colours of all Gaussians, and the share of opacity that each keeps, Uint8Array [4 N].
export function splatColours() {
  const a = lights[chosen.from].colours, t = chosen.blend, b = t ? lights[chosen.to].colours : a;
  const count = a.length / 3, out = new Uint8Array(4 * count).fill(255);
  const active = activeWords();
  const tables = active.map((word) => strengthTable(word));
  const confidence = chosen.confidence && confidenceWord();
  for (let i = 0; i < count; i++) {
    let red = a[3 * i] + t * (b[3 * i] - a[3 * i]);
    let green = a[3 * i + 1] + t * (b[3 * i + 1] - a[3 * i + 1]);
    let blue = a[3 * i + 2] + t * (b[3 * i + 2] - a[3 * i + 2]);
    if (confidence || active.length) {
      const grey = 0.3 * red + 0.59 * green + 0.11 * blue;
      const shade = 0.55 + 0.55 * (grey / 255); // the surface's shading stays visible
      if (confidence) {
        const level = confidence.confidence[i];
        const colour = level ? between(CONFIDENCE, level / 255) : UNKNOWN;
        [red, green, blue] = colour.map((value) => Math.min(255, value * shade));
      } else {
        red = grey * 0.42 + red * 0.1;
        green = grey * 0.42 + green * 0.1;
        blue = grey * 0.44 + blue * 0.1;
        for (let w = 0; w < active.length; w++) {
          const strength = tables[w][active[w].probability[i]];
          if (!strength) continue;
          red += strength * (Math.min(255, active[w].rgb[0] * shade) - red);
          green += strength * (Math.min(255, active[w].rgb[1] * shade) - green);
          blue += strength * (Math.min(255, active[w].rgb[2] * shade) - blue);
        }
      }
    }
    out[4 * i] = red;
    out[4 * i + 1] = green;
    out[4 * i + 2] = blue;
  }
  return out;
}

// Strength of a word's highlight for each of the 256 levels of probability; 0 for elements of which nothing is known.
function strengthTable({ threshold, strength }) {
  const soft = clamp(SOFT_SHARE * threshold, 1e-6, SOFT_MOST);
  return Float32Array.from({ length: 256 }, (_, p) =>
    p === 0 ? 0 : strength * clamp((p / 255 - threshold + soft) / (2 * soft), 0, 1));
}

// The colour at `share` in [0, 1] of a piecewise linear ramp.
function between(stops, share) {
  const place = share * (stops.length - 1), k = Math.min(stops.length - 2, Math.floor(place));
  return stops[k].map((value, c) => value + (place - k) * (stops[k + 1][c] - value));
}

// Colours of the background in [0, 1]: the sky of the lights where they have one, else the dark of the page.
export function background() {
  const dark = [16, 18, 22];
  const dim = chosen.confidence || activeWords().length ? 0.25 : 1;
  const sky = (name) => {
    const [from, to] = [chosen.from, chosen.to].map((light) => lights[light].sky?.[name] ?? dark);
    return from.map((value, k) => (dark[k] + dim * (value + chosen.blend * (to[k] - value) - dark[k])) / 255);
  };
  const low = sky("low");
  return { low, high: sky("high"), ground: low.map((value) => 0.35 * value) };
}
