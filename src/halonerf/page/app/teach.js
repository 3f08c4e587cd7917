// The teaching tool: a person marks a part in a photo or in the 3D view, names it, and sees at once where it is found.

import { camera, intrinsicsFor, orbit, zoom } from "./camera.js";
import { announce, complain, element } from "./dom.js";
import { currentPhoto, leavePhoto, showNextPhoto, showPhoto, showPreviousPhoto, whenPhotoShown } from "./photos.js";
import { canvas, redraw } from "./picture.js";
import { freeColour } from "./query_box.js";
import { poseOf } from "./rendering.js";
import { postJson, windowKey } from "./server.js";
import { facts, rgbOf, words } from "./store.js";
import { colourBelief, hideBelief, placeBelief, showBelief } from "./teach_belief.js";
import { fitFrame, refitFrame } from "./teach_frame.js";
import { paintMarks } from "./teach_paint.js";
import { fillTeachPanel, showTeachPanel } from "./teach_panel.js";
import { cancelDrawing, drawing, listenToDrawing } from "./teach_pointer.js";
import { THE_VIEW, marksOfConcept, takeTeachingState, teaching, teachingChanged, whenTeachingChanges } from "./teach_store.js";
import { chooseSign, chooseTool, fillTools, showTools } from "./teach_tools.js";
import { addMark, correctConcept, fetchTeaching, nameMarks, redoMark, refreshTaught, showPresentConcept, undoMark, whenAnswered } from "./teach_words.js";
import { onUndo } from "./undo.js";

let preparing = null; // promise: the server has lifted what photos look like
let painted = 0; // number of the next frame in which marks are painted
let newColour = ""; // of the word that has no entry yet

// Offer the tool. state: `GET /api/teaching`. Whether words can be taught.
export function startTeaching(state) {
  whenTeachingChanges(showAll);
  whenAnswered(showAnswer);
  whenPhotoShown((number) => { if (teaching.open) markPhoto(number); });
  fillTeachPanel(openTeaching, showMark);
  fillTools(repaintMarks);
  listenToDrawing(element("teach-marks"), () => teaching, {
    drawn: (mark) => addMark({ ...mark, ...presentPicture(), snap: teaching.snap && teaching.photo !== THE_VIEW, radius: teaching.radius }),
    repaint: () => { placeBelief(); repaintMarks(); },
    choose: chooseTool,
    moved: moveView,
    zoomed: zoomView,
  });
  element("teach-done").addEventListener("click", closeTeaching);
  element("teach-on-photo").addEventListener("click", () => showPhoto(firstPhoto()));
  element("teach-on-view").addEventListener("click", markView);
  element("teach-name").addEventListener("change", () => nameConcept(element("teach-name").value));
  element("teach-name").addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === "Escape") element("teach-marks").focus(); });
  element("teach-next").addEventListener("click", () => showPhoto(Number(element("teach-next").dataset.photo)));
  document.addEventListener("keydown", pressedWhileMarking);
  onUndo(undoWhileMarking);
  new ResizeObserver(() => { refitFrame(); placeBelief(); repaintMarks(); }).observe(element("teach-picture"));
  new MutationObserver(repaintMarks).observe(canvas, { attributeFilter: ["data-idle"] }); // marks belong to a camera
  window.addEventListener("focus", () => fetchTeaching().catch(() => {})); // the next request says what is wrong
  takeTeachingState(state);
  return !state.missing;
}

// Open the tool for a word; "": one that gets its name later. correcting: its marks correct what the text finds.
export async function openTeaching(concept, correcting = false) {
  complain("");
  teaching.open = true;
  document.querySelector("main").classList.add("teaching");
  element("teach-stage").hidden = false;
  takeConcept(concept);
  showPhoto(firstPhoto());
  const typesFirst = !concept && window.matchMedia("(hover: hover)").matches; // on a phone the keys would hide the photo
  element(typesFirst ? "teach-name" : "teach-marks").focus({ preventScroll: true });
  try {
    await prepared();
    if (correcting) await correctConcept(concept, true);
    await showPresentConcept();
  } catch (error) {
    complain(error.message);
  }
}

export function closeTeaching() {
  teaching.open = false;
  cancelDrawing();
  hideBelief();
  document.querySelector("main").classList.remove("teaching");
  element("teach-stage").hidden = true;
  teachingChanged();
  canvas.focus({ preventScroll: true });
}

// A message of the server: marks of some words changed. Those of this window are known.
export function heardOfTeaching({ changed, by }) {
  if (by !== windowKey) refreshTaught(changed).then(showPresentConcept).catch((error) => complain(error.message));
}

// The server lifts what photos look like once, which takes seconds.
function prepared() {
  element("teach-preparing").hidden = false;
  preparing ??= postJson("api/teaching/open", {});
  return preparing.then(() => { element("teach-preparing").hidden = true; }, (error) => {
    preparing = null;
    element("teach-preparing").hidden = true;
    throw error;
  });
}

// --- the word

function takeConcept(concept) {
  Object.assign(teaching, { concept, next: [], said: "" });
  newColour = freeColour();
  hideBelief();
  element("teach-name").value = concept;
  teachingChanged();
}

// Give the present marks a name, or go on with the marks of another word.
function nameConcept(text) {
  const concept = text.trim().replace(/\s+/g, " ");
  if (!concept || concept === teaching.concept) {
    element("teach-name").value = teaching.concept;
    return;
  }
  takeConcept(concept);
  nameMarks(concept);
  showPresentBelief();
  showPresentConcept().catch((error) => complain(error.message));
}

const presentWord = () => words.find((word) => word.text === teaching.concept);

// --- the picture

// The photo to mark first: one with marks of the word, one that shows most of it, the one that is looked at.
function firstPhoto() {
  const marked = marksOfConcept().findLast((mark) => mark.photo !== null);
  if (marked) return facts.photos.findIndex((photo) => photo.name === marked.photo);
  return presentWord()?.photos?.[0] ?? (currentPhoto >= 0 ? currentPhoto : facts.home);
}

function markPhoto(number) {
  const photo = facts.photos[number];
  cancelDrawing();
  hideBelief();
  teaching.photo = number;
  element("teach-photo").src = photo.picture;
  element("teach-photo").hidden = false;
  element("teach-where").textContent = photo.caption || photo.name;
  fitFrame(element("teach-picture"), photo.size[0] / photo.size[1]);
  placeBelief();
  showPresentBelief();
  teachingChanged();
}

function markView() {
  cancelDrawing();
  hideBelief();
  teaching.photo = THE_VIEW;
  element("teach-photo").hidden = true;
  element("teach-where").textContent = "the 3D view";
  fitFrame(element("teach-picture"), null);
  teachingChanged();
}

// Show the picture that a mark is on.
function showMark(mark) {
  if (mark.photo !== null) showPhoto(facts.photos.findIndex((photo) => photo.name === mark.photo));
}

// What the next mark is on: a photo, or the present camera.
function presentPicture() {
  if (teaching.photo !== THE_VIEW) return { photo: facts.photos[teaching.photo].name, camera: null };
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((px) => Math.max(16, Math.round(px)));
  return { photo: null, camera: { width, height, ...intrinsicsFor(width, height), pose: poseOf(camera) } };
}

const isPresent = (mark) =>
  (teaching.photo === THE_VIEW ? mark.camera !== null && poseOf(camera).every((value, k) => Math.abs(value - mark.camera.pose[k]) < 1e-4)
    : mark.photo === facts.photos[teaching.photo].name);

// In the 3D view, the picture moves by moving the camera.
function moveView(dx, dy) {
  if (teaching.photo !== THE_VIEW) return false;
  leavePhoto();
  orbit(-2.6 * dx / canvas.clientHeight, -2.6 * dy / canvas.clientHeight);
  redraw();
  return true;
}

function zoomView(factor) {
  if (teaching.photo !== THE_VIEW) return false;
  leavePhoto();
  zoom(1 / factor);
  redraw();
  return true;
}

// --- what is shown

function showAll() {
  showTeachPanel();
  if (!teaching.open) return;
  showTools();
  const next = teaching.next.find((number) => number !== teaching.photo);
  element("teach-next").hidden = next === undefined;
  if (next !== undefined) {
    element("teach-next").dataset.photo = String(next);
    element("teach-next-photo").src = facts.photos[next].thumbnail;
    element("teach-next-name").textContent = facts.photos[next].name;
  }
  repaintMarks();
}

// An answer came: word lights up in 3D by itself, and in the marked photo here.
function showAnswer(word, concept) {
  if (!teaching.open || concept !== teaching.concept) return;
  if (word) showPresentBelief();
  else hideBelief();
  if (teaching.said) announce(`${concept}: ${teaching.said}`);
}

function showPresentBelief() {
  const word = presentWord();
  if (!word || teaching.photo === THE_VIEW) return;
  colourBelief(word);
  showBelief(word, teaching.photo).catch((error) => complain(error.message));
}

function repaintMarks() {
  if (!painted && teaching.open) painted = requestAnimationFrame(paintNow);
}

function paintNow() {
  painted = 0;
  paintMarks(element("teach-marks"), {
    marks: marksOfConcept().filter(isPresent), ...drawing,
    rgb: rgbOf(presentWord()?.colour ?? newColour),
  });
}

// --- keys

function undoWhileMarking(redo) {
  if (teaching.open) (redo ? redoMark : undoMark)();
  return teaching.open;
}

function pressedWhileMarking(event) {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && !/^(range|checkbox)$/.test(event.target.type);
  if (!teaching.open || typing || event.defaultPrevented) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === "x") chooseSign(!teaching.positive);
  else if (key === "n") showNextPhoto();
  else if (key === "p") showPreviousPhoto();
  else if (key === "escape") { if (cancelDrawing()) repaintMarks(); else closeTeaching(); }
  else return;
  event.preventDefault();
}
