// The bar of tools around the marked picture: sign, tool, size, what marks snap to, undo, and how strongly the belief covers the photo.

import { createElement, element } from "./dom.js";
import { placeBelief } from "./teach_belief.js";
import { THE_VIEW, marksOfConcept, teaching, teachingChanged } from "./teach_store.js";
import { canRedo, canUndo, isWaiting, redoMark, undoMark } from "./teach_words.js";

const SNAP_NAMES = { off: "as drawn", superpixels: "to edges", sam: "to the object (SAM)" };

const toolButtons = () => [...document.querySelectorAll("#teach-foot [data-tool]")];

// Make the bar work.
export function fillTools() {
  for (const button of toolButtons()) button.addEventListener("click", () => chooseTool(button.dataset.tool));
  element("teach-is").addEventListener("click", () => chooseSign(true));
  element("teach-is-not").addEventListener("click", () => chooseSign(false));
  element("teach-size").addEventListener("input", () => { teaching.radius = Number(element("teach-size").value); });
  element("teach-snap").addEventListener("change", () => { teaching.snap = element("teach-snap").value; });
  element("teach-cover").addEventListener("input", () => {
    teaching.belief = Number(element("teach-cover").value);
    placeBelief();
  });
  element("teach-undo").addEventListener("click", undoMark);
  element("teach-redo").addEventListener("click", redoMark);
  element("teach-size").value = String(teaching.radius);
  element("teach-cover").value = String(teaching.belief);
}

export function chooseTool(tool) {
  teaching.tool = tool;
  teachingChanged();
}

// Whether the next marks show the word, or that it is not there.
export function chooseSign(positive) {
  teaching.positive = positive;
  teachingChanged();
}

// What a mark is extended to: only what is drawn on photos is, and to objects only where a point or stroke says what it is.
export function snapOf({ tool, positive }) {
  const canSnap = teaching.photo !== THE_VIEW && (teaching.snap !== "sam" || (positive && tool !== "polygon"));
  return canSnap ? teaching.snap : "off";
}

function showSnaps() {
  const list = element("teach-snap");
  if (list.options.length !== teaching.snaps.length) {
    list.replaceChildren(...teaching.snaps.map((value) => createElement("option", { value, text: SNAP_NAMES[value] })));
  }
  list.value = teaching.snap;
}

export function showTools() {
  showSnaps();
  for (const button of toolButtons()) button.setAttribute("aria-pressed", String(button.dataset.tool === teaching.tool));
  element("teach-is").setAttribute("aria-pressed", String(teaching.positive));
  element("teach-is-not").setAttribute("aria-pressed", String(!teaching.positive));
  element("teach-on-photo").setAttribute("aria-pressed", String(teaching.photo !== THE_VIEW));
  element("teach-on-view").setAttribute("aria-pressed", String(teaching.photo === THE_VIEW));
  element("teach-photo-only").hidden = teaching.photo === THE_VIEW;
  element("teach-undo").disabled = !canUndo();
  element("teach-redo").disabled = !canRedo();
  element("teach-status").textContent = advice();
}

// What the last marks did, or what to do next.
function advice() {
  const marks = marksOfConcept();
  if (marks.length && !teaching.concept) return "Give it a name above, and it is found in all photos.";
  if (isWaiting()) return "Learning …";
  if (!marks.some((mark) => mark.positive)) return "Draw over the part: a stroke or two will do.";
  return marks.every((mark) => mark.positive) ? `${teaching.said} · now draw over what it is not` : teaching.said;
}
