// Puts the page together: picture, panel, keys and address.

import { fillAbout } from "./about.js";
import { followAddress, writeAddress } from "./address.js";
import { element } from "./dom.js";
import { fillLights, setLight } from "./lights.js";
import { openPhotoCameras, togglePhotoCameras } from "./photo_cameras.js";
import { fillPhotos, leavePhoto, refitPhoto, showNextPhoto, showPreviousPhoto } from "./photos.js";
import { canvas, fly, homeCamera, onRest, openPicture, redraw, wake } from "./picture.js";
import { listenToPointerAndKeys } from "./pointer.js";
import { chosen, lights, openStore, words } from "./store.js";
import { openUndo } from "./undo.js";
import { fillWords } from "./words.js";

// Show a scene. source: see `openStore`. find: called with a text in the address that the page has no word of.
// keys: further actions by key.
export function start(source, find = () => {}, keys = {}) {
  openStore(source);
  const goHome = () => { leavePhoto(); fly(homeCamera()); };
  openPicture();
  onRest(writeAddress);
  fillWords();
  fillLights();
  fillPhotos();
  openPhotoCameras();
  openUndo(find);
  fillAbout();
  const digits = Array.from({ length: 9 }, (_, number) => [number + 1, () => words[number]?.toggle()]);
  listenToPointerAndKeys(canvas, () => { leavePhoto(); redraw(); }, {
    Home: goHome,
    n: showNextPhoto,
    p: showPreviousPhoto,
    f: togglePhotoCameras,
    l: () => setLight({ from: (chosen.from + 1) % lights.length, blend: 0 }),
    c: () => element(chosen.confidence ? "show-where" : "show-confidence").click(),
    0: () => words.forEach((word) => word.toggle(false)),
    "?": () => { element("about").open = true; element("about").scrollIntoView(); },
    ...Object.fromEntries(digits),
    ...keys,
  });
  element("home").addEventListener("click", goHome);
  new ResizeObserver(() => {
    refitPhoto();
    wake();
  }).observe(canvas);
  if (location.hash) followAddress(find);
  window.addEventListener("hashchange", () => followAddress(find));
}
