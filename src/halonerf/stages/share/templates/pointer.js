// Mouse, touch and keyboard on the picture. Keys only count while the picture has the focus.

const STEP = (5 * Math.PI) / 180;

// `moved` is called after every movement; `acts` are the other things that keys do, by key.
function openHands(canvas, moved, acts) {
  const fingers = new Map();
  const middle = () => {
    const all = [...fingers.values()];
    const mean = (name) => all.reduce((sum, finger) => sum + finger[name], 0) / all.length;
    const [x, y] = [mean("x"), mean("y")];
    return { x, y, spread: all.length < 2 ? 0 : Math.hypot(all[0].x - all[1].x, all[0].y - all[1].y) };
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = middle();
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const after = middle();
    const [x, y] = [after.x - before.x, after.y - before.y].map((px) => px / canvas.clientHeight);
    if (!x && !y && before.spread === after.spread) return;
    stopFlight();
    if (fingers.size > 1 || event.shiftKey || event.buttons & 6) pan(x, y);
    else orbit(-2.6 * x, -2.6 * y);
    if (before.spread && after.spread) zoom(before.spread / after.spread);
    moved();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    stopFlight();
    zoom(Math.exp(clamp(event.deltaY * (event.deltaMode ? 30 : 1), -300, 300) * 0.0015));
    moved();
  }, { passive: false });

  const moves = {
    ArrowLeft: (shift) => (shift ? pan(0.05, 0) : orbit(STEP, 0)),
    ArrowRight: (shift) => (shift ? pan(-0.05, 0) : orbit(-STEP, 0)),
    ArrowUp: (shift) => (shift ? pan(0, 0.05) : orbit(0, -STEP)),
    ArrowDown: (shift) => (shift ? pan(0, -0.05) : orbit(0, STEP)),
    "+": () => zoom(0.9),
    "=": () => zoom(0.9),
    "-": () => zoom(1 / 0.9),
    w: () => walk(0.08, 0),
    s: () => walk(-0.08, 0),
    a: () => walk(0, -0.06),
    d: () => walk(0, 0.06),
    q: () => look(STEP, 0),
    e: () => look(-STEP, 0),
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (moves[key]) {
      stopFlight();
      moves[key](event.shiftKey);
      moved();
    } else if (acts[key]) acts[key]();
    else return;
    event.preventDefault();
  });
}
