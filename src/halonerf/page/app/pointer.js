// Mouse, touch and keyboard input on the picture. Keys work while the picture has the focus.

import { look, orbit, pan, walk, zoom } from "./camera.js";
import { stopFlight } from "./flight.js";
import { clamp } from "./vectors.js";

const KEY_ANGLE = (5 * Math.PI) / 180;
const CLICK_PX = 5; // that a pointer may move between down and up
const clickHandlers = []; // the last ones are asked first
let pressed = null; // where the only pointer went down, and has not moved away since

// Call `handler` with the place of a click on the picture, px of the window's picture, until one returns true.
export const onClick = (handler) => clickHandlers.unshift(handler);

// moved: called after every move of the camera. actions: further functions by key.
export function listenToPointerAndKeys(canvas, moved, actions) {
  const pointers = new Map(); // by id, those that are down
  const centroid = () => {
    const all = [...pointers.values()];
    const mean = (name) => all.reduce((sum, pointer) => sum + pointer[name], 0) / all.length;
    const [x, y] = [mean("x"), mean("y")];
    return { x, y, spread: all.length < 2 ? 0 : Math.hypot(all[0].x - all[1].x, all[0].y - all[1].y) };
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    pressed = pointers.size === 1 && event.button === 0 ? { x: event.clientX, y: event.clientY } : null;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = centroid();
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const after = centroid();
    if (pressed && Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > CLICK_PX) pressed = null;
    const [x, y] = [after.x - before.x, after.y - before.y].map((px) => px / canvas.clientHeight);
    if (!x && !y && before.spread === after.spread) return;
    stopFlight();
    if (pointers.size > 1 || event.shiftKey || event.buttons & 6) pan(x, y);
    else orbit(-2.6 * x, -2.6 * y);
    if (before.spread && after.spread) zoom(before.spread / after.spread);
    moved();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("pointerup", ({ offsetX, offsetY }) => {
    if (pressed) clickHandlers.some((handler) => handler(offsetX, offsetY));
    pressed = null;
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    stopFlight();
    zoom(Math.exp(clamp(event.deltaY * (event.deltaMode ? 30 : 1), -300, 300) * 0.0015));
    moved();
  }, { passive: false });

  const moves = {
    ArrowLeft: (shift) => (shift ? pan(0.05, 0) : orbit(KEY_ANGLE, 0)),
    ArrowRight: (shift) => (shift ? pan(-0.05, 0) : orbit(-KEY_ANGLE, 0)),
    ArrowUp: (shift) => (shift ? pan(0, 0.05) : orbit(0, -KEY_ANGLE)),
    ArrowDown: (shift) => (shift ? pan(0, -0.05) : orbit(0, KEY_ANGLE)),
    "+": () => zoom(0.9),
    "=": () => zoom(0.9),
    "-": () => zoom(1 / 0.9),
    w: () => walk(0.08, 0),
    s: () => walk(-0.08, 0),
    a: () => walk(0, -0.06),
    d: () => walk(0, 0.06),
    q: () => look(KEY_ANGLE, 0),
    e: () => look(-KEY_ANGLE, 0),
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (moves[key]) {
      stopFlight();
      moves[key](event.shiftKey);
      moved();
    } else if (actions[key]) actions[key]();
    else return;
    event.preventDefault();
  });
}
