// Pictures and films of a chosen size: ordered from the server, which keeps them, and downloaded.

import { announce, complain, createElement, element } from "./dom.js";
import { hasWords, keyframeCount, openKeyframes, pathDuration, presentPath } from "./keyframes.js";
import { canvas } from "./picture.js";
import { openPreview } from "./preview.js";
import { durationOf, presentView, sizeOfWindow } from "./rendering.js";
import { deleteJson, getJson, postAndSave, postJson, saveAs } from "./server.js";
import { activeWords, facts } from "./store.js";

const USUAL_SIZE = 1920; // px, long side of a picture
const LISTED_FILMS = 6;
const orderedFilms = new Map(); // by number, as the server told of them last
const ours = new Set(); // numbers of those that this window ordered and has not downloaded yet
let sizeIsChosen = false; // by a person; until then it follows the window

const filmWidth = () => Number(element("film-width").value);
const filmHeight = () => Number(element("film-height").value);

// Make the buttons for pictures and films work.
export function openFilms() {
  openKeyframes(showEstimate);
  openPreview();
  for (const id of ["film-width", "film-height"]) {
    element(id).max = String(facts.picture_size);
    element(id).addEventListener("input", () => { sizeIsChosen = true; showEstimate(); });
  }
  element("film-fps").addEventListener("input", showEstimate);
  element("film-section").addEventListener("toggle", showEstimate);
  for (const id of ["save-picture", "save-sized-picture"]) {
    element(id).hidden = false;
    element(id).addEventListener("click", savePicture);
  }
  element("render-film").addEventListener("click", orderFilm);
  new ResizeObserver(() => {
    if (!sizeIsChosen) [element("film-width").value, element("film-height").value] = sizeOfWindow(Math.min(USUAL_SIZE, facts.picture_size));
    showEstimate();
  }).observe(canvas);
  fetchFilms();
}

// Show the films that the server has.
export function fetchFilms() {
  getJson("api/films").then((films) => films.reverse().forEach(showFilm), (error) => complain(error.message));
}

async function savePicture({ currentTarget }) {
  currentTarget.disabled = true;
  complain("");
  try {
    const name = await postAndSave("api/pictures", presentView(filmWidth(), filmHeight()));
    announce(`Saved as pictures/${name}`);
  } catch (error) {
    complain(error.message);
  }
  currentTarget.disabled = false;
}

async function orderFilm() {
  complain("");
  const [fps, kind] = [Number(element("film-fps").value), element("film-kind").value];
  try {
    const film = await postJson("api/films", { path: presentPath(), width: filmWidth(), height: filmHeight(), fps, kind });
    ours.add(film.film);
    showFilm(orderedFilms.get(film.film) ?? film); // the socket may have been quicker
  } catch (error) {
    complain(error.message);
  }
}

// Show how far a film is; a finished one that was ordered here is downloaded. film: as the server tells of it.
export function showFilm(film) {
  orderedFilms.set(film.film, film);
  if (film.state === "done" && ours.delete(film.film)) {
    saveAs(`api/films/${film.film}/file`, film.file);
    announce(`Saved as films/${film.file}`);
  }
  const shown = element("films").querySelector(`[data-film="${film.film}"]`);
  if (shown?.dataset.state === film.state) { // a new row would take the button from under the mouse
    const bar = shown.querySelector("progress");
    if (bar) bar.value = film.share;
    return;
  }
  const listed = [...orderedFilms.values()].sort((a, b) => b.film - a.film).slice(0, LISTED_FILMS);
  element("films").replaceChildren(...listed.map(filmRow));
}

function filmRow(film) {
  const size = `${film.width} × ${film.height}, ${film.frames} frames`;
  const known = { "data-film": String(film.film), "data-state": film.state };
  const text = (label) => createElement("span", { class: "text", text: label });
  if (film.state === "done") {
    return createElement("li", known, createElement("a", { href: `api/films/${film.film}/file`, download: film.file, text: film.file }), text(size));
  }
  if (film.state === "failed" || film.state === "cancelled") return createElement("li", known, text(film.problem || "cancelled"), text(size));
  const cancel = createElement("button", { type: "button", text: "Cancel", "aria-label": `Cancel film ${film.film}` });
  cancel.addEventListener("click", () => deleteJson(`api/films/${film.film}`).catch((error) => complain(error.message)));
  return createElement("li", known, text(film.state === "waiting" ? "waits for another film" : size),
    createElement("progress", { max: "1", value: String(film.share), "aria-label": `Film ${film.film}` }), cancel);
}

// Say how long a picture and a film take, while the section is open.
function showEstimate() {
  if (!element("film-section").open) return;
  const pixels = filmWidth() * filmHeight(), frames = Math.max(1, Math.round(pathDuration() * Number(element("film-fps").value)));
  const film = keyframeCount() ? ` A film of ${frames.toLocaleString("en")} frames takes ${durationOf(frames * pixels, hasWords())}.` : "";
  element("film-estimate").textContent = `A picture takes ${durationOf(pixels, activeWords().length > 0)}.${film}`;
}
