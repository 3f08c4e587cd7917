// The field's own picture of the view, over the browser's Gaussians while the camera rests.

import { element } from "./dom.js";
import { canvas, onChange, onRest } from "./picture.js";
import { presentView, sizeOfWindow } from "./rendering.js";
import { postForBlob } from "./server.js";
import { facts } from "./store.js";

const WAIT_MS = 400; // at rest until a picture is asked for
const MIN_SHARE = 0.5; // of the window's width: a picture with fewer pixels shows less than the Gaussians do

let stillTimer = 0, asked = null; // AbortController of the request on its way
let stillUrl = "";

// Show such pictures, where the server makes them.
export function showStills() {
  if (!facts.still_size) return;
  onRest(() => {
    clearTimeout(stillTimer);
    stillTimer = setTimeout(askForStill, WAIT_MS);
  });
  onChange(hideStill);
  new ResizeObserver(hideStill).observe(canvas);
}

async function askForStill() {
  const longest = Math.max(canvas.clientWidth, canvas.clientHeight);
  const size = Math.min(facts.still_size, Math.round(longest * window.devicePixelRatio));
  if (size < MIN_SHARE * longest) return;
  asked?.abort();
  const mine = (asked = new AbortController());
  try {
    const blob = await postForBlob("api/renderings", presentView(...sizeOfWindow(size)), mine.signal);
    if (asked !== mine) return;
    stillUrl = URL.createObjectURL(blob);
    element("still").src = stillUrl;
    element("still").hidden = false;
  } catch {
    // without it, the Gaussians stay: nothing was asked for by a person
  }
}

function hideStill() {
  clearTimeout(stillTimer);
  asked?.abort();
  asked = null;
  if (element("still").hidden) return;
  element("still").hidden = true;
  URL.revokeObjectURL(stillUrl);
}
