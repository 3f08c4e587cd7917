// Marks go to the server in the order in which they were made; its answers light the word up. Each can be undone.

import { complain, element } from "./dom.js";
import { facts, words } from "./store.js";
import { lightWord, takeWord, wordValues } from "./query_box.js";
import { deleteJson, getJson, postJson, putJson, randomHex, windowKey } from "./server.js";
import { takeTeachingState, taughtConcepts, teaching, teachingChanged } from "./teach_store.js";
import { dropWord } from "./words.js";

const done = [], undone = []; // steps { adds, mark }, the last one last
let preparing = null; // promise: the server has lifted what photos look like
let last = Promise.resolve(); // the last request
let unanswered = 0; // requests that are not answered
let told = () => {}; // called with each answer that was shown

// shown: called with a word and the text of its concept, when an answer is shown; the word is null where nothing is left
// of it.
export function whenAnswered(shown) {
  told = shown;
}

// Whether there is anything to undo, and to redo.
export const canUndo = () => done.length > 0;
export const canRedo = () => undone.length > 0;
export const isWaiting = () => unanswered > 0;

// Add a mark; one without a word waits until `nameMarks`.
export function addMark(mark) {
  const entry = { id: randomHex(16), concept: teaching.concept, ...mark };
  teaching.marks.push(entry);
  remember({ adds: true, mark: entry });
  if (entry.concept) send({ adds: true, mark: entry });
  teachingChanged();
}

// Remove a mark, which `undoMark` brings back.
export function removeMark(mark) {
  remember({ adds: false, mark });
  perform({ adds: false, mark });
}

export function undoMark() {
  const step = done.pop();
  if (!step) return;
  undone.push(step);
  perform({ ...step, adds: !step.adds });
}

export function redoMark() {
  const step = undone.pop();
  if (!step) return;
  done.push(step);
  perform(step);
}

// Give the marks that have no word one, and send them.
export function nameMarks(concept) {
  for (const mark of teaching.marks.filter((one) => !one.concept)) {
    mark.concept = concept;
    send({ adds: true, mark });
  }
  teachingChanged();
}

function remember(step) {
  done.push(step);
  undone.length = 0;
}

// A step that was refused can neither be undone nor done again.
function forgetSteps({ id }) {
  for (const steps of [done, undone]) steps.splice(0, Infinity, ...steps.filter(({ mark }) => mark.id !== id));
}

function perform({ adds, mark }) {
  if (adds) {
    mark.concept ||= teaching.concept; // the word may have got its name since
    teaching.marks.push(mark);
  } else teaching.marks.splice(0, Infinity, ...teaching.marks.filter((one) => one.id !== mark.id));
  if (mark.concept) send({ adds, mark });
  teachingChanged();
}

// Send a step after those before it, and show the answer where no further one is under way.
function send({ adds, mark }) {
  const started = performance.now();
  const photo = mark.photo === null ? null : facts.photos.findIndex((one) => one.name === mark.photo);
  const request = () => (adds ? postJson("api/teaching/annotations", { ...mark, photo }) : deleteJson(`api/teaching/annotations/${mark.id}`));
  unanswered++;
  last = last.then(async () => {
    try {
      const answer = await request().catch((error) => { forgetSteps(mark); throw error; }).finally(() => { unanswered--; });
      if (!unanswered) await showTaught(answer, started);
    } catch (error) {
      complain(error.message);
      fetchTeaching().catch(() => {}); // what went wrong is said above
    }
    teachingChanged();
  });
}

// Show what is believed of a concept: light its word up, or take it away where nothing is left of it. lights: whether a
// word that is off is switched on.
async function showTaught(answer, started, lights = true) {
  const shown = words.find((word) => word.text === answer.concept);
  let word = null;
  if (answer.word) word = (lights ? lightWord : takeWord)(answer.word, await wordValues(answer.concept));
  else if (shown && teaching.corrected.has(answer.concept)) word = await findAgain(answer.concept);
  else if (shown) dropWord(shown);
  if (answer.concept === teaching.concept) Object.assign(teaching, { next: answer.next, said: summary(answer, performance.now() - started) });
  told(word, answer.concept);
}

// The word as the segmenter finds it, or as marks teach it by now; on or off as it was.
async function findAgain(text) {
  return takeWord(await postJson("api/words", { text }), await wordValues(text));
}

function summary({ word, certainty }, milliseconds) {
  if (!word) return "";
  const seconds = `${(milliseconds / 1000).toFixed(2)} s`;
  if (!word.parts.length) return `nothing of any size found yet (${seconds})`;
  return `${word.parts.length} ${word.parts.length === 1 ? "part" : "parts"} · ${Math.round(100 * certainty)} % sure · ${seconds}`;
}

// Show what the marks of the present word say, where it has any. lights: whether it is switched on where it is off.
export async function showPresentConcept(lights = true) {
  await last;
  const { concept } = teaching;
  if (!concept || !teaching.marks.some((mark) => mark.concept === concept)) return;
  const started = performance.now();
  await showTaught(await getJson(`api/teaching/taught?concept=${encodeURIComponent(concept)}`), started, lights);
  teachingChanged();
}

// Let the marks of a word correct what the text finds, or stand alone.
export async function correctConcept(concept, on) {
  takeTeachingState(await putJson("api/teaching/corrected", { concept, on }));
  await showPresentConcept();
}

export async function chooseMode(mode) {
  takeTeachingState(await putJson("api/teaching/mode", { mode }));
  await refreshTaught(teaching.marks.map((mark) => mark.concept));
  await showPresentConcept();
}

// Take over all marks as the server has them, when it has those of this window.
export async function fetchTeaching() {
  let state = null;
  do {
    await last;
    state = await getJson("api/teaching");
  } while (unanswered);
  takeTeachingState(state);
}

// Marks were changed, by another window or a file: take them over, and show again what follows for words on the page.
export async function refreshTaught(concepts) {
  await fetchTeaching();
  for (const text of new Set(concepts)) {
    if (text && words.some((word) => word.text === text)) told(await findAgain(text), text);
  }
}

// A message of the server: marks of some words changed. Those of this window are known.
export function heardOfTeaching({ changed, by }) {
  if (by !== windowKey) showOthersMarks(changed).catch((error) => complain(error.message));
}

async function showOthersMarks(changed) {
  await refreshTaught(changed);
  if (teaching.open && changed.includes(teaching.concept)) await showPresentConcept(false);
}

// Take over what others marked while the server could not be heard.
export async function catchUpOnTeaching() {
  const before = taughtConcepts();
  await fetchTeaching();
  await showOthersMarks([...before, ...taughtConcepts()]);
}

// The server lifts what photos look like once, which takes seconds.
export async function prepareTeaching() {
  if (teaching.ready) return;
  element("teach-preparing").hidden = false;
  preparing ??= postJson("api/teaching/open", {});
  try {
    await preparing;
    teaching.ready = true;
  } finally {
    preparing = null;
    element("teach-preparing").hidden = true;
  }
}
