// A picture of the present view that the server renders from the field itself, to keep.

import { cameraPose, intrinsicsFor } from "./camera.js";
import { complain, element, saveBlob } from "./dom.js";
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
      saveBlob(await postForBlob("api/renderings", presentView()), "picture.png");
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
  return {
    width, height, ...intrinsicsFor(width, height),
    pose: cameraPose(),
    light: lights[chosen.from].name, to: lights[chosen.to].name, blend: chosen.blend,
    words: activeWords().map(({ text, rgb, threshold, strength }) => ({ text, rgb, strength, threshold: Math.max(threshold, 0.01) })),
  };
}
