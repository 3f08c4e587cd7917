// The page's own clock: moves, sorts and draws when something changed, and rests when nothing did.

const canvas = element("picture");
const centres = readCentres();
const FINEST = 2; // device pixels drawn for one of the page's, at most
const SLOW = 45, QUICK = 24; // ms a frame while something moves: coarser above, finer below
const PATIENCE = 1200; // ms that the picture may take once all rests
const PAUSE = 180; // ms after the last change until it is drawn finely
const AROUND = 1.2; // times what the first photo shows is shown first
const COARSEST = 0.3, TRIAL = 0.5; // shares of the width: the least ever drawn (below it, pixels cost nothing); that of the trial

let picture = null, ask = null;
let frame = 0, last = 0, changedAt = -Infinity, changed = false;
let stale = true; // colours
let question = 0, answer = 0, sortedFor = ""; // the last order asked for, the last that came, and its camera
let fineness = 1; // while something moves; follows how long frames take
let rolling = false; // whether the last frame was one of a movement: only then does the time since say how slow frames are
let cost = 0; // ms a pixel, by a trial; 0 before it

function wake() {
  canvas.dataset.settled = "no";
  if (!frame) frame = requestAnimationFrame(step);
}

function repaint() {
  stale = changed = true;
  wake();
}

function moved() {
  leavePhoto();
  changed = true;
  wake();
}

function step(now) {
  frame = 0;
  if (!picture) return;
  if (changed) changedAt = now;
  changed = false;
  const moving = advance(now) || now - changedAt < PAUSE;
  if (rolling && moving) fineness = finenessAfter(now - last);
  rolling = moving;
  last = now;
  const place = [...camera.forward, ...camera.eye].join();
  if (place !== sortedFor && question === answer) {
    sortedFor = place;
    ask(camera.forward, -dot(camera.forward, camera.eye), ++question);
  }
  if (stale) picture.recolour(tints());
  stale = false;
  element("guess").hidden = !isGuess();
  draw(moving ? fineness : restful());
  if (moving || place !== sortedFor) wake();
  else if (question === answer && !frame) canvas.dataset.settled = "yes";
}

function pixels() {
  const scale = Math.min(window.devicePixelRatio || 1, FINEST);
  return [canvas.clientWidth * scale, canvas.clientHeight * scale];
}

// share: of the width and height that the screen has.
function draw(share) {
  const [width, height] = pixels().map((px) => Math.max(1, Math.round(px * share)));
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  picture.draw({ turn: turnOf(camera), eye: camera.eye }, lensFor(width, height), air());
}

// Pixels take most of the time, so that a frame that took many times too long should have as many times fewer of them.
function finenessAfter(ms) {
  const wanted = ms > SLOW ? fineness * Math.max(0.5, Math.sqrt(SLOW / ms)) : ms < QUICK ? fineness * 1.06 : fineness;
  return clamp(wanted, COARSEST, 1);
}

function restful() {
  const [width, height] = pixels();
  return clamp(Math.sqrt(PATIENCE / Math.max(cost * width * height, 1)), COARSEST, 1);
}

// What a pixel costs this machine: the second of two small pictures, as the first one starts its engine.
function trial() {
  draw(TRIAL);
  picture.wait();
  const start = performance.now();
  draw(TRIAL);
  picture.wait();
  cost = (performance.now() - start) / Math.max(1, canvas.width * canvas.height);
  const [width, height] = pixels();
  fineness = clamp(Math.sqrt(SLOW / Math.max(cost * width * height, 1)), COARSEST, 1);
}

function open() {
  try {
    picture = openPicture(canvas, readShapes(centres), facts.splats);
  } catch (error) {
    element("no-picture").hidden = false;
    element("no-picture-why").textContent = error.message;
    return;
  }
  picture.recolour(tints());
  sortedFor = "";
  wake();
}

ask = openSorter(centres, (order, number) => {
  answer = number;
  if (picture) picture.order(order);
  if (picture && !cost) trial();
  wake();
});
const home = cameraOf(facts.photos[facts.home]);
home.half = home.half.map((half) => AROUND * half);
Object.assign(camera, home);
fillWords();
fillLights();
fillPhotos();
fillAbout();
open();
openHands(canvas, moved, {
  Home: () => { leavePhoto(); flyTo(home); },
  n: () => visit(visited + 1),
  p: () => visit(visited < 0 ? -1 : visited - 1),
  l: () => setLight({ from: (chosen.from + 1) % lights.length, blend: 0 }),
  c: () => element(chosen.sureness ? "show-where" : "show-sure").click(),
  0: () => words.forEach((word) => word.toggle(false)),
  "?": () => { element("about").open = true; element("about").scrollIntoView(); },
  ...Object.fromEntries(words.slice(0, 9).map((word, number) => [number + 1, () => word.toggle()])),
});
element("home").addEventListener("click", () => { leavePhoto(); flyTo(home); });
canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); picture = null; });
canvas.addEventListener("webglcontextrestored", open);
new ResizeObserver(() => {
  if (visited >= 0 && !flight) layOver(facts.photos[visited]);
  wake();
}).observe(canvas);
