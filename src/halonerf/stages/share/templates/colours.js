// What colour every Gaussian has: two lights blended, the words that are on over that, or how sure the words are.

const UNKNOWN = [104, 82, 150];
const SURE = [[18, 50, 58], [38, 132, 128], [238, 244, 196]]; // from hardly known to well known
const SOFT = 0.08; // of probability, either side of the threshold: lit and unlit do not flicker

const words = facts.words.map((word, number) => ({
  ...word,
  rgb: [1, 3, 5].map((k) => parseInt(word.colour.slice(k, k + 2), 16)),
  on: false,
  threshold: facts.threshold,
  strength: 0.85,
  said: array(`word/${number}`),
  sure: array(`sure/${number}`),
}));
const lights = facts.lights.map((light, number) => ({ ...light, colours: array(`colour/${number}`) }));
const chosen = { from: 0, to: 0, blend: 0, sureness: false };

// The words that are on.
const lit = () => words.filter((word) => word.on);

// The word whose sureness is shown: the first that is on, or the first.
const asked = () => lit()[0] ?? words[0];

// Colour and share of opacity of all Gaussians, Uint8Array [4 N].
function tints() {
  const a = lights[chosen.from].colours, b = lights[chosen.to].colours, t = chosen.blend;
  const count = a.length / 3, out = new Uint8Array(4 * count).fill(255);
  const shown = lit();
  const tables = shown.map((word) => ramp(word));
  const sureness = chosen.sureness && asked();
  for (let i = 0; i < count; i++) {
    let red = a[3 * i] + t * (b[3 * i] - a[3 * i]);
    let green = a[3 * i + 1] + t * (b[3 * i + 1] - a[3 * i + 1]);
    let blue = a[3 * i + 2] + t * (b[3 * i + 2] - a[3 * i + 2]);
    if (sureness || shown.length) {
      const grey = 0.3 * red + 0.59 * green + 0.11 * blue;
      const shade = 0.55 + 0.55 * (grey / 255); // lit stone keeps its relief
      if (sureness) {
        const colour = sureness.sure[i] ? between(SURE, sureness.sure[i] / 255) : UNKNOWN;
        [red, green, blue] = colour.map((value) => Math.min(255, value * shade));
      } else {
        red = grey * 0.42 + red * 0.1;
        green = grey * 0.42 + green * 0.1;
        blue = grey * 0.44 + blue * 0.1;
        for (let w = 0; w < shown.length; w++) {
          const strength = tables[w][shown[w].said[i]];
          if (!strength) continue;
          red += strength * (Math.min(255, shown[w].rgb[0] * shade) - red);
          green += strength * (Math.min(255, shown[w].rgb[1] * shade) - green);
          blue += strength * (Math.min(255, shown[w].rgb[2] * shade) - blue);
        }
      }
    }
    out[4 * i] = red;
    out[4 * i + 1] = green;
    out[4 * i + 2] = blue;
  }
  return out;
}

// How strongly a word colours, for each of the 256 probabilities; nothing is lit that nobody said anything of.
function ramp({ threshold, strength }) {
  return Float32Array.from({ length: 256 }, (_, p) =>
    p === 0 ? 0 : strength * clamp((p / 255 - threshold + SOFT) / (2 * SOFT), 0, 1));
}

function between(stops, share) {
  const place = share * (stops.length - 1), k = Math.min(stops.length - 2, Math.floor(place));
  return stops[k].map((value, c) => value + (place - k) * (stops[k + 1][c] - value));
}

// The colours of the air, in [0, 1]: the lights' own where they have a sky, else the dark of the page.
function air() {
  const dark = [16, 18, 22];
  const dim = chosen.sureness || lit().length ? 0.25 : 1;
  const sky = (name) => {
    const [from, to] = [chosen.from, chosen.to].map((light) => lights[light].sky?.[name] ?? dark);
    return from.map((value, k) => (dark[k] + dim * (value + chosen.blend * (to[k] - value) - dark[k])) / 255);
  };
  const low = sky("low");
  return { low, high: sky("high"), ground: low.map((value) => 0.35 * value) };
}
