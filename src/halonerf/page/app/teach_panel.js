// The section "Teach a word" of the panel: words that were taught, the present word's marks, what they mean, and files.

import { complain, createElement, element, plural } from "./dom.js";
import { facts } from "./store.js";
import { getAndSave, postAndSave, postJson } from "./server.js";
import { marksOfConcept, taughtConcepts, teaching } from "./teach_store.js";
import { chooseMode, correctConcept, refreshTaught, removeMark } from "./teach_words.js";

const MAX_CONCEPTS = 24, MAX_MARKS = 60; // that are listed
const TOOL_NAMES = { point: "point", stroke: "stroke", polygon: "area" };

// openConcept: opens the tool for a word; showMark: shows the picture that a mark is on.
export function fillTeachPanel(openConcept, showMark) {
  element("teach-open").addEventListener("click", () => openConcept(""));
  element("teach-correct").addEventListener("change", () => tryTeaching(() => correctConcept(teaching.concept, element("teach-correct").checked)));
  element("teach-mode").addEventListener("change", () => tryTeaching(() => chooseMode(element("teach-mode").value)));
  element("teach-save").addEventListener("click", () => tryTeaching(() => getAndSave("api/teaching/file")));
  element("teach-masks").addEventListener("click", () => tryTeaching(() => postAndSave("api/teaching/masks", {})));
  element("teach-load").addEventListener("click", () => element("teach-file").click());
  element("teach-file").addEventListener("change", () => tryTeaching(mergeFile));
  panelActions = { openConcept, showMark };
}

let panelActions = null;

export function showTeachPanel() {
  element("teach").hidden = false;
  element("teach-open").hidden = teaching.open || Boolean(teaching.missing);
  element("teach-why").textContent = teaching.missing ?? "Mark a part in one or two photos, and it is found in all of them.";
  element("teach-present").hidden = !teaching.open;
  const marks = marksOfConcept();
  const concepts = taughtConcepts();
  element("teach-words").replaceChildren(...concepts.slice(0, MAX_CONCEPTS).map(conceptButton));
  element("teach-words").hidden = !concepts.length || Boolean(teaching.missing);
  element("teach-count").textContent = marks.length ? plural(marks.length, "mark", "marks") : "no marks yet";
  element("teach-list").replaceChildren(...marks.slice(-MAX_MARKS).map(markRow));
  element("teach-correct").checked = teaching.corrected.has(teaching.concept);
  element("teach-correct").disabled = !teaching.concept;
  element("teach-mode").value = teaching.mode;
  element("teach-files").hidden = Boolean(teaching.missing);
  element("teach-names").replaceChildren(...[...new Set([...concepts, ...facts.examples])].map((value) => createElement("option", { value })));
}

function conceptButton(text) {
  const button = createElement("button", { type: "button", text, "aria-label": `Teach ${text}`, "aria-pressed": String(teaching.open && text === teaching.concept) });
  button.addEventListener("click", () => panelActions.openConcept(text));
  return createElement("li", {}, button);
}

function markRow(mark) {
  const where = mark.photo ?? "3D view";
  const what = `${mark.positive ? "it is" : "it is not"} · ${TOOL_NAMES[mark.tool]} · ${where}`;
  const show = createElement("button", { type: "button", class: "show", text: what, title: what });
  show.addEventListener("click", () => panelActions.showMark(mark));
  const remove = createElement("button", { type: "button", class: "remove", text: "×", "aria-label": `Remove this mark: ${what}` });
  remove.addEventListener("click", () => removeMark(mark));
  return createElement("li", { "data-sign": mark.positive ? "is" : "is-not" }, show, remove);
}

async function mergeFile() {
  const [file] = element("teach-file").files;
  element("teach-file").value = "";
  if (!file) return;
  let content;
  try {
    content = JSON.parse(await file.text());
  } catch {
    throw new Error(`Expected a file of marks, such as annotations.json; ${file.name} is none.`);
  }
  await refreshTaught(await postJson("api/uploads/annotations", content));
}

// Do something that the server may refuse, and say so.
async function tryTeaching(act) {
  complain("");
  try {
    await act();
  } catch (error) {
    complain(error.message);
    showTeachPanel();
  }
}
