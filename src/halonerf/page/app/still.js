// A picture of the present view that the server renders from the field itself, to keep.

import { camera, intrinsicsFor } from "./camera.js";
import { complain, createElement, element } from "./dom.js";
import { canvas } from "./picture.js";
import { postForBlob } from "./server.js";
import { activeWords, chosen, facts, lights } from "./store.js";

export function offerStill() {
  const button = element("save-picture");
  button.hidden = !facts.still_size;
  button.addEventListener("click", async () => {
    button.disabled = true;
    complain("");
    try {
      save(await postForBlob("api/renderings", presentView()), "picture.png");
    } catch (error) {
      complain(error.message);
    }
    button.disabled = false;
  });
}

// What is seen, at the largest size that the server renders.
function presentView() {
  const scale = facts.still_size / Math.max(canvas.clientWidth, canvas.clientHeight);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((px) => Math.max(16, Math.round(px * scale)));
  const { right, down, forward, eye } = camera;
  return {
    width, height, ...intrinsicsFor(width, height),
    pose: [0, 1, 2].flatMap((k) => [right[k], down[k], forward[k], eye[k]]),
    light: lights[chosen.from].name, to: lights[chosen.to].name, blend: chosen.blend,
    words: activeWords().map(({ text, rgb, threshold, strength }) => ({ text, rgb, strength, threshold: Math.max(threshold, 0.01) })),
  };
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  createElement("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
