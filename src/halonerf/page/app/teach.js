// The teaching tool: a person marks a part in a photo or in the 3D view, names it, and sees at once where it is found.

import { announce, complain, element } from "./dom.js";
import { currentPhoto, leavePhoto, showNextPhoto, showPhoto, showPreviousPhoto, whenPhotoShown } from "./photos.js";
import { canvas, fly } from "./picture.js";
import { freeColour } from "./query_box.js";
import { facts, rgbOf, words } from "./store.js";
import { colourBelief, hideBelief, placeBelief, showBelief } from "./teach_belief.js";
import { fitFrame, refitFrame } from "./teach_frame.js";
import { paintMarks } from "./teach_paint.js";
import { fillTeachPanel, showTeachPanel } from "./teach_panel.js";
import { cancelDrawing, drawing, listenToDrawing } from "./teach_pointer.js";
import { THE_VIEW, marksOfConcept, takeTeachingState, teaching, teachingChanged, whenTeachingChanges } from "./teach_store.js";
import { chooseSign, chooseTool, fillTools, showTools, snapOf } from "./teach_tools.js";
import { addMark, correctConcept, fetchTeaching, nameMarks, prepareTeaching, redoMark, showPresentConcept, undoMark, whenAnswered } from "./teach_words.js";
import { cameraOfMark, fittedToView, holdView, isOfThisScene, isOnView, moveView, viewCamera, zoomView } from "./teach_view.js";
import { onUndo } from "./undo.js";

let painted = 0; // number of the next frame in which marks are painted
let newColour = ""; // of the word that has no entry yet

// Offer the tool. state: `GET /api/teaching`.
export function startTeaching(state) {
  whenTeachingChanges(showAll);
  whenAnswered(showAnswer);
  whenPhotoShown((number) => { if (teaching.open) markPhoto(number); });
  fillTeachPanel(openTeaching, showMark);
  fillTools();
  element("teach-marks").addEventListener("pointerdown", () => { if (teaching.photo === THE_VIEW) holdView(); });
  listenToDrawing(element("teach-marks"), () => teaching, {
    drawn: (mark) => addMark({ ...mark, ...presentPicture(), snap: snapOf(mark) }),
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
}

// Open the tool for a word; "": one that gets its name later. correcting: its marks correct what the text finds.
export async function openTeaching(concept, correcting = false) {
  complain("");
  teaching.open = true;
  document.querySelector("main").classList.add("teaching");
  element("teach-stage").hidden = false;
  canvas.tabIndex = -1; // its keys would act below the tool
  takeConcept(concept);
  showPhoto(firstPhoto());
  const typesFirst = !concept && window.matchMedia("(hover: hover)").matches; // on a phone the keys would hide the photo
  element(typesFirst ? "teach-name" : "teach-marks").focus({ preventScroll: true });
  try {
    await prepareTeaching();
    if (correcting) await correctConcept(concept, true);
    await showPresentConcept();
  } catch (error) {
    complain(error.message);
  }
}

function closeTeaching() {
  teaching.open = false;
  cancelDrawing();
  hideBelief();
  document.querySelector("main").classList.remove("teaching");
  element("teach-stage").hidden = true;
  canvas.tabIndex = 0;
  teachingChanged();
  canvas.focus({ preventScroll: true });
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
  const concept = text.normalize("NFC").trim().replace(/\s+/g, " ");
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
  const marked = marksOfConcept().findLast((mark) => photoNumber(mark) >= 0);
  if (marked) return photoNumber(marked);
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
  holdView();
  cancelDrawing();
  hideBelief();
  teaching.photo = THE_VIEW;
  element("teach-photo").hidden = true;
  element("teach-where").textContent = "the 3D view";
  fitFrame(element("teach-picture"), null);
  teachingChanged();
}

// Show the picture that a mark is on, or say why it cannot be shown.
function showMark(mark) {
  complain("");
  if (mark.photo === null) showMarkedView(mark);
  else if (photoNumber(mark) >= 0) showPhoto(photoNumber(mark));
  else complain(`Expected a mark on a photo of this scene; this one is on ${mark.photo}, which the scene does not have. Choose another mark, or remove this one.`);
}

function showMarkedView(mark) {
  if (!isOfThisScene(mark)) {
    complain("Expected a mark on the 3D view of this reconstruction; this one was drawn in another, where the view was another. Choose another mark, or remove this one.");
    return;
  }
  leavePhoto();
  markView();
  fly(cameraOfMark(mark));
}

const photoNumber = (mark) => facts.photos.findIndex((photo) => photo.name === mark.photo);

// What the next mark is on: a photo, or the present camera.
function presentPicture() {
  if (teaching.photo === THE_VIEW) return { photo: null, camera: viewCamera() };
  return { photo: facts.photos[teaching.photo].name, camera: null };
}

// The present word's marks on the present picture.
function presentMarks() {
  if (teaching.photo === THE_VIEW) return marksOfConcept().filter(isOnView).map(fittedToView);
  return marksOfConcept().filter((mark) => mark.photo === facts.photos[teaching.photo].name);
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
    marks: presentMarks(), ...drawing,
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
