// The strip of photos, and the photo that the camera is at, which can be laid over the picture.

import { camera, cameraOf, intrinsicsFor } from "./camera.js";
import { announce, createElement, element } from "./dom.js";
import { flight } from "./flight.js";
import { setLight } from "./lights.js";
import { canvas, fly } from "./picture.js";
import { facts, lights } from "./store.js";

export let currentPhoto = -1; // position of the photo that the camera is at or flies to; -1: none
let photoShown = () => {}; // called with the position of every photo that is flown to

export function whenPhotoShown(listener) {
  photoShown = listener;
}

export function fillPhotos() {
  facts.photos.forEach((photo, number) => {
    const title = [photo.caption || photo.name, creditFor(photo)].filter(Boolean).join(" — ");
    const [width, height] = photo.size;
    const button = createElement("button", { type: "button", title, "aria-label": `Fly to photo ${photo.name}` },
      createElement("img", { src: photo.thumbnail ?? photo.picture, alt: photo.caption || photo.name, loading: "lazy", width, height }));
    button.addEventListener("click", () => showPhoto(number));
    element("photos").append(createElement("li", {}, button));
  });
  const fade = element("fade");
  fade.addEventListener("input", () => { element("overlay").style.opacity = fade.value; });
  element("take-light").addEventListener("click", takeLight);
}

// Fly to a photo; number: its position, counted modulo their number.
export function showPhoto(number) {
  const count = facts.photos.length;
  currentPhoto = (number + count) % count;
  const photo = facts.photos[currentPhoto];
  element("overlay").hidden = true;
  element("photo-bar").hidden = false;
  element("photo-name").textContent = photo.caption || photo.name;
  element("photo-credit").textContent = creditFor(photo);
  element("take-light").hidden = !lights.some((light) => light.photo === currentPhoto);
  [...element("photos").children].forEach((item, index) => {
    item.firstChild.toggleAttribute("data-here", index === currentPhoto);
    if (index === currentPhoto) item.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  fly(cameraOf(photo), (arrived) => { if (arrived) overlayPhoto(photo); });
  announce(`photo ${photo.name}`);
  photoShown(currentPhoto);
}

export const showNextPhoto = () => showPhoto(currentPhoto + 1);
export const showPreviousPhoto = () => showPhoto(currentPhoto < 0 ? -1 : currentPhoto - 1);

// Show the photo over the picture, with the opacity of its slider.
function overlayPhoto(photo) {
  const overlay = element("overlay"), intrinsics = intrinsicsFor(canvas.clientWidth, canvas.clientHeight);
  const [width, height] = camera.half.map((half) => 2 * half * intrinsics.focal);
  overlay.src = photo.picture;
  Object.assign(overlay.style, {
    width: `${width}px`, height: `${height}px`, opacity: element("fade").value,
    left: `${(canvas.clientWidth - width) / 2}px`, top: `${(canvas.clientHeight - height) / 2}px`,
  });
  overlay.hidden = false;
}

// Lay the photo over the picture again after a change of the window's size.
export function refitPhoto() {
  if (currentPhoto >= 0 && !flight) overlayPhoto(facts.photos[currentPhoto]);
}

export function leavePhoto() {
  if (currentPhoto < 0) return;
  element("photos").children[currentPhoto].firstChild.removeAttribute("data-here");
  currentPhoto = -1;
  element("overlay").hidden = true;
  element("photo-bar").hidden = true;
}

function takeLight() {
  const number = lights.findIndex((light) => light.photo === currentPhoto);
  if (number >= 0) setLight({ from: number, blend: 0 });
}

function creditFor(photo) {
  const row = facts.credits.find((credit) => credit.photo === photo.name);
  return row ? [row.author || row.credit, row.licence].filter(Boolean).join(", ") : "";
}
