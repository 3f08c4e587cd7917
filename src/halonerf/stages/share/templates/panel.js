// The panel: words, lights, photos, credits. Its controls change the state, then call `repaint` or `flyTo`.

const plural = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

// Announce a text to screen readers.
function announce(text) {
  element("announcement").textContent = text;
}

// A slider from 0 to 1 and its value as text. change: called with the new value.
function slider(label, value, change) {
  const output = createElement("output", { text: value.toFixed(2) });
  const input = createElement("input", { type: "range", min: "0", max: "1", step: "0.01", value: String(value), "aria-label": label });
  input.addEventListener("input", () => {
    output.textContent = Number(input.value).toFixed(2);
    change(Number(input.value));
    repaint();
  });
  return [input, output];
}

// A word with its checkbox and, while it is on, its sliders and parts.
function wordRow(word) {
  const box = createElement("input", { type: "checkbox" });
  const swatch = createElement("span", { class: "swatch" });
  swatch.style.background = word.colour;
  const count = !word.known ? "unknown" : word.guess ? "best guess" : plural(word.parts.length, "part", "parts");
  const details = createElement("div", { class: "more" });
  const tools = [
    ["from probability", "threshold", word.threshold],
    ["strength of colour", "strength", word.strength],
  ].map(([label, name, value]) =>
    createElement("div", { class: "tool" }, createElement("span", { text: label }), ...slider(`${word.text}: ${label}`, value, (to) => { word[name] = to; })));
  const parts = createElement("ol", { class: "parts" });
  word.parts.forEach((part, number) => {
    const button = createElement("button", { type: "button", "aria-label": `Fly to ${word.text} ${number + 1}` },
      createElement("b", { text: String(number + 1) }),
      createElement("span", { text: `${plural(part.elements, "element", "elements")}, probability ${part.probability.toFixed(2)}` }));
    button.addEventListener("click", () => {
      leavePhoto();
      flyTo(cameraAt(part));
      announce(`${word.text} ${number + 1} of ${word.parts.length}`);
    });
    parts.append(createElement("li", {}, button));
  });
  if (!word.parts.length) {
    parts.append(createElement("li", { class: "none", text: word.known ? "no connected part above the threshold" : "no photo shows whether it is anywhere, which is not a no" }));
  }
  if (word.guess && word.parts.length) {
    parts.append(createElement("li", { class: "none", text: `a guess: nowhere more probable than not; this is the best part, with probability ${word.parts[0].probability.toFixed(2)}` }));
  }
  details.append(...tools, parts);
  details.hidden = true;
  box.addEventListener("change", () => {
    word.on = box.checked;
    details.hidden = !box.checked;
    repaint();
    updateLegend();
  });
  word.toggle = (on = !word.on) => {
    if (on !== word.on) box.click();
  };
  return createElement("li", { class: "word" },
    createElement("label", {}, box, swatch, createElement("span", { class: "text", text: word.text }), createElement("span", { class: "count", text: count })),
    details);
}

// A camera that looks at a part from the direction of the photo that shows it best; the part fills half the picture.
function cameraAt(part) {
  const half = facts.photos[facts.home] ? cameraOf(facts.photos[facts.home]).half : camera.half;
  const from = part.photo === null ? camera.eye : cameraOf(facts.photos[part.photo]).eye;
  const direction = unit(add(from, part.centre, -1));
  const radius = Math.max(0.5 * Math.hypot(...part.extent), 0.02);
  return lookingAt(add(part.centre, direction, (1.9 * radius) / Math.min(...half)), part.centre, half);
}

function updateLegend() {
  element("confidence-legend").hidden = !chosen.confidence;
  element("confidence-word").textContent = chosen.confidence && words.length ? `of “${confidenceWord().text}”` : "";
}

function fillWords() {
  element("words").append(...words.map(wordRow));
  element("no-words").hidden = words.length > 0;
  for (const radio of document.querySelectorAll("input[name=show]")) {
    radio.addEventListener("change", () => {
      chosen.confidence = element("show-confidence").checked && words.length > 0;
      repaint();
      updateLegend();
    });
  }
  element("all-off").addEventListener("click", () => words.forEach((word) => word.toggle(false)));
}

function fillLights() {
  for (const [id, name] of [["light-from", "from"], ["light-to", "to"]]) {
    const select = element(id);
    lights.forEach((light, number) => select.append(createElement("option", { value: String(number), text: light.name })));
    select.addEventListener("change", () => setLight({ [name]: Number(select.value) }));
  }
  const blend = element("light-blend");
  blend.addEventListener("input", () => setLight({ blend: Number(blend.value) }));
  setLight({ from: 0, to: Math.min(1, lights.length - 1), blend: 0 });
}

function setLight(change) {
  Object.assign(chosen, change);
  element("light-from").value = String(chosen.from);
  element("light-to").value = String(chosen.to);
  element("light-blend").value = String(chosen.blend);
  repaint();
}

let currentPhoto = -1; // position of the photo that the camera is at or flies to; -1: none

function fillPhotos() {
  facts.photos.forEach((photo, number) => {
    const title = [photo.caption || photo.name, creditFor(photo)].filter(Boolean).join(" — ");
    const button = createElement("button", { type: "button", title, "aria-label": `Fly to photo ${photo.name}` },
      createElement("img", { src: photo.picture, alt: photo.caption || photo.name }));
    button.addEventListener("click", () => showPhoto(number));
    element("photos").append(createElement("li", {}, button));
  });
  const fade = element("fade");
  fade.addEventListener("input", () => { element("overlay").style.opacity = fade.value; });
  element("take-light").addEventListener("click", () => usePhotoLight());
}

function creditFor(photo) {
  const row = facts.credits.find((credit) => credit.photo === photo.name);
  return row ? [row.author || row.credit, row.licence].filter(Boolean).join(", ") : "";
}

// Fly to a photo; number: its position, counted modulo their number.
function showPhoto(number) {
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
  flyTo(cameraOf(photo), () => overlayPhoto(photo));
  announce(`photo ${photo.name}`);
}

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

function leavePhoto() {
  if (currentPhoto < 0) return;
  element("photos").children[currentPhoto].firstChild.removeAttribute("data-here");
  currentPhoto = -1;
  element("overlay").hidden = true;
  element("photo-bar").hidden = true;
}

function usePhotoLight() {
  const number = lights.findIndex((light) => light.photo === currentPhoto);
  if (number >= 0) setLight({ from: number, blend: 0 });
}

function fillAbout() {
  element("facts").textContent =
    `${plural(facts.registered, "photo", "photos")} became ${plural(facts.of, "Gaussian", "Gaussians")}.` +
    (facts.splats < 0.99 * facts.of ? ` This page holds the ${facts.splats.toLocaleString("en")} most important.` : "");
  element("credits-none").hidden = facts.credits.length > 0;
  element("credits").hidden = !facts.credits.length;
  for (const row of facts.credits) {
    element("credits").tBodies[0].append(createElement("tr", {},
      createElement("td", {}, link(row.title || row.photo, row.source_url)), createElement("td", { text: row.author || row.credit }),
      createElement("td", {}, link(row.licence || "–", row.licence_url)), createElement("td", { text: [row.restrictions, row.changes].filter(Boolean).join("; ") })));
  }
}

// A link for an http(s) address, else plain text.
function link(text, address) {
  return /^https?:\/\//i.test(address) ? createElement("a", { text, href: address, rel: "noopener noreferrer", target: "_blank" }) : createElement("span", { text });
}
