// The render loop: moves, sorts and draws after changes, and idles without them.

const canvas = element("picture");
const centres = readCentres();
const MAX_PIXEL_RATIO = 2; // device pixels per CSS pixel
const SLOW_MS = 45, FAST_MS = 24; // per frame in motion: the resolution falls above, rises below
const MAX_STILL_MS = 1200; // that the picture may take at rest
const REST_MS = 180; // after the last change until the picture at rest is drawn
const HOME_MARGIN = 1.2; // field of view of the first view, over that of its photo
const MIN_RESOLUTION = 0.3, TRIAL_RESOLUTION = 0.5; // shares of the full width; below the first, fewer pixels save no time

let renderer = null, requestOrder = null;
let frame = 0, lastTime = 0, changedAt = -Infinity, changed = false;
let coloursChanged = true;
let requested = 0, received = 0, sortedFor = ""; // numbers of the last orders requested and received, and the camera of the former
let resolution = 1; // in motion; adapts to the time that frames take
let inMotion = false; // whether the last frame was one of a motion: only then is the time since then that of a frame
let msPerPixel = 0; // measured by `measureSpeed`; 0 before it

// Draw the next frame.
function wake() {
  canvas.dataset.idle = "no";
  if (!frame) frame = requestAnimationFrame(step);
}

// Draw with new colours.
function repaint() {
  coloursChanged = changed = true;
  wake();
}

// Draw after a move of the camera.
function moved() {
  leavePhoto();
  changed = true;
  wake();
}

function step(now) {
  frame = 0;
  if (!renderer) return;
  if (changed) changedAt = now;
  changed = false;
  const moving = advance(now) || now - changedAt < REST_MS;
  if (inMotion && moving) resolution = adaptedResolution(now - lastTime);
  inMotion = moving;
  lastTime = now;
  const pose = [...camera.forward, ...camera.eye].join();
  if (pose !== sortedFor && requested === received) {
    sortedFor = pose;
    requestOrder(camera.forward, -dot(camera.forward, camera.eye), ++requested);
  }
  if (coloursChanged) renderer.recolour(splatColours());
  coloursChanged = false;
  element("guess").hidden = !isExtrapolated();
  draw(moving ? resolution : stillResolution());
  if (moving || pose !== sortedFor) wake();
  else if (requested === received && !frame) canvas.dataset.idle = "yes";
}

// Full width and height of the picture, device pixels.
function fullSize() {
  const scale = Math.min(window.devicePixelRatio || 1, MAX_PIXEL_RATIO);
  return [canvas.clientWidth * scale, canvas.clientHeight * scale];
}

// share: of the full width and height.
function draw(share) {
  const [width, height] = fullSize().map((px) => Math.max(1, Math.round(px * share)));
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  renderer.draw({ rotation: worldToCamera(camera), eye: camera.eye }, intrinsicsFor(width, height), background());
}

// The resolution in motion after a frame of `ms`: the time of a frame is proportional to its pixels.
function adaptedResolution(ms) {
  const wanted = ms > SLOW_MS ? resolution * Math.max(0.5, Math.sqrt(SLOW_MS / ms)) : ms < FAST_MS ? resolution * 1.06 : resolution;
  return clamp(wanted, MIN_RESOLUTION, 1);
}

// The resolution at which a picture takes `ms`.
function resolutionFor(ms) {
  const [width, height] = fullSize();
  return clamp(Math.sqrt(ms / Math.max(msPerPixel * width * height, 1)), MIN_RESOLUTION, 1);
}

const stillResolution = () => resolutionFor(MAX_STILL_MS);

// Time the second of two small pictures: the first one includes the start of the engine.
function measureSpeed() {
  draw(TRIAL_RESOLUTION);
  renderer.wait();
  const start = performance.now();
  draw(TRIAL_RESOLUTION);
  renderer.wait();
  msPerPixel = (performance.now() - start) / Math.max(1, canvas.width * canvas.height);
  resolution = resolutionFor(SLOW_MS);
}

// Start drawing, or say why it is impossible; also after a lost context.
function open() {
  try {
    renderer = openRenderer(canvas, readShapes(centres), facts.splats);
  } catch (error) {
    element("no-picture").hidden = false;
    element("no-picture-why").textContent = error.message;
    return;
  }
  renderer.recolour(splatColours());
  sortedFor = "";
  wake();
}

requestOrder = openSorter(centres, (order, number) => {
  received = number;
  if (renderer) renderer.order(order);
  if (renderer && !msPerPixel) measureSpeed();
  wake();
});
const home = cameraOf(facts.photos[facts.home]);
home.half = home.half.map((half) => HOME_MARGIN * half);
Object.assign(camera, home);
fillWords();
fillLights();
fillPhotos();
fillAbout();
open();
listenToPointerAndKeys(canvas, moved, {
  Home: () => { leavePhoto(); flyTo(home); },
  n: () => showPhoto(currentPhoto + 1),
  p: () => showPhoto(currentPhoto < 0 ? -1 : currentPhoto - 1),
  l: () => setLight({ from: (chosen.from + 1) % lights.length, blend: 0 }),
  c: () => element(chosen.confidence ? "show-where" : "show-confidence").click(),
  0: () => words.forEach((word) => word.toggle(false)),
  "?": () => { element("about").open = true; element("about").scrollIntoView(); },
  ...Object.fromEntries(words.slice(0, 9).map((word, number) => [number + 1, () => word.toggle()])),
});
element("home").addEventListener("click", () => { leavePhoto(); flyTo(home); });
canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); renderer = null; });
canvas.addEventListener("webglcontextrestored", open);
new ResizeObserver(() => {
  if (currentPhoto >= 0 && !flight) overlayPhoto(facts.photos[currentPhoto]);
  wake();
}).observe(canvas);
