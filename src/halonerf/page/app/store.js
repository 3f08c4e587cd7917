// What the page shows: facts and arrays of the scene, its lights and words. `shared.js` takes them from the document,
// `live.js` from a server.

// The scene, set once by `openStore`:
// facts: title, photos, lights and more, as `halonerf.page` writes them.
// source: where the rest comes from. array(name): a typed array, flattened. A live source has also
// loadLight(number), partsOf(word), saveParts(word, kind), pinPart(word, number) and, where words can be taught, correct(word).
export let facts = null, source = null;
export const words = [], lights = [];
export const USUAL_STRENGTH = 0.85; // of a word's colour
export const chosen = { from: 0, to: 0, blend: 0, confidence: false };

export function openStore(opened) {
  [facts, source] = [opened.facts, opened];
  facts.lights.forEach((light, number) => {
    lights.push({ ...light, colours: facts.arrays[`colour/${number}`] ? source.array(`colour/${number}`) : null });
  });
  facts.words.forEach((word, number) => addWord(word, source.array(`probability/${number}`), source.array(`confidence/${number}`)));
}

// Add a word that is not shown yet. own: its threshold, which a person can change. probability, confidence: Uint8Array [N] of the Gaussians. first: before all others.
export function addWord(entry, probability, confidence, first = false) {
  const rgb = rgbOf(entry.colour);
  const word = { ...entry, rgb, own: entry.threshold, on: false, strength: USUAL_STRENGTH, probability, confidence };
  words.splice(first ? 0 : words.length, 0, word);
  return word;
}

// Red, green and blue of a colour "#rrggbb", in 0..255.
export const rgbOf = (colour) => [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16));

// The words that are highlighted.
export const activeWords = () => words.filter((word) => word.on);

// The word whose confidence is shown: the first that is highlighted, or the first of all.
export const confidenceWord = () => activeWords()[0] ?? words[0];
