// The panel: words, lights, photos, credits. It changes the state and says so to `wake`, `repaint` and `flyTo`.

const plural = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

function say(text) {
  element("said").textContent = text;
}

function slider(label, value, change) {
  const shown = made("output", { text: value.toFixed(2) });
  const input = made("input", { type: "range", min: "0", max: "1", step: "0.01", value: String(value), "aria-label": label });
  input.addEventListener("input", () => {
    shown.textContent = Number(input.value).toFixed(2);
    change(Number(input.value));
    repaint();
  });
  return [input, shown];
}

// A word with its checkbox; once it is on, its sliders and parts.
function wordRow(word) {
  const box = made("input", { type: "checkbox" });
  const swatch = made("span", { class: "swatch" });
  swatch.style.background = word.colour;
  const count = word.known ? plural(word.parts.length, "part", "parts") : "unknown";
  const more = made("div", { class: "more" });
  const tools = [
    ["from probability", "threshold", word.threshold],
    ["strength of colour", "strength", word.strength],
  ].map(([label, name, value]) =>
    made("div", { class: "tool" }, made("span", { text: label }), ...slider(`${word.text}: ${label}`, value, (to) => { word[name] = to; })));
  const parts = made("ol", { class: "parts" });
  word.parts.forEach((part, number) => {
    const button = made("button", { type: "button", "aria-label": `Fly to ${word.text} ${number + 1}` },
      made("b", { text: String(number + 1) }),
      made("span", { text: `${plural(part.elements, "point", "points")}, probability ${part.probability.toFixed(2)}` }));
    button.addEventListener("click", () => {
      leavePhoto();
      flyTo(cameraAt(part));
      say(`${word.text} ${number + 1} of ${word.parts.length}`);
    });
    parts.append(made("li", {}, button));
  });
  if (!word.parts.length) {
    parts.append(made("li", { class: "none", text: word.known ? "no connected part above the threshold" : "no photo says anything of it, which is not a no" }));
  }
  more.append(...tools, parts);
  more.hidden = true;
  box.addEventListener("change", () => {
    word.on = box.checked;
    more.hidden = !box.checked;
    repaint();
    legend();
  });
  word.toggle = (on = !word.on) => {
    if (on !== word.on) box.click();
  };
  return made("li", { class: "word" },
    made("label", {}, box, swatch, made("span", { class: "text", text: word.text }), made("span", { class: "count", text: count })),
    more);
}

// In front of a part, from where a photo shows it best, so that it fills half the picture.
function cameraAt(part) {
  const half = facts.photos[facts.home] ? cameraOf(facts.photos[facts.home]).half : camera.half;
  const from = part.photo === null ? camera.eye : cameraOf(facts.photos[part.photo]).eye;
  const away = unit(add(from, part.centre, -1));
  const radius = Math.max(0.5 * Math.hypot(...part.extent), 0.02);
  return lookingAt(add(part.centre, away, (1.9 * radius) / Math.min(...half)), part.centre, half);
}

function legend() {
  element("sure-legend").hidden = !chosen.sureness;
  element("sure-word").textContent = chosen.sureness && words.length ? `of “${asked().text}”` : "";
}

function fillWords() {
  element("words").append(...words.map(wordRow));
  element("no-words").hidden = words.length > 0;
  for (const radio of document.querySelectorAll("input[name=show]")) {
    radio.addEventListener("change", () => {
      chosen.sureness = element("show-sure").checked && words.length > 0;
      repaint();
      legend();
    });
  }
  element("all-off").addEventListener("click", () => words.forEach((word) => word.toggle(false)));
}

function fillLights() {
  for (const [id, name] of [["light-from", "from"], ["light-to", "to"]]) {
    const select = element(id);
    lights.forEach((light, number) => select.append(made("option", { value: String(number), text: light.name })));
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

let visited = -1; // the photo that the camera is at, or on its way to

function fillPhotos() {
  facts.photos.forEach((photo, number) => {
    const title = [photo.caption || photo.name, creditOf(photo)].filter(Boolean).join(" — ");
    const button = made("button", { type: "button", title, "aria-label": `Fly to photo ${photo.name}` },
      made("img", { src: photo.picture, alt: photo.caption || photo.name }));
    button.addEventListener("click", () => visit(number));
    element("photos").append(made("li", {}, button));
  });
  const fade = element("fade");
  fade.addEventListener("input", () => { element("over").style.opacity = fade.value; });
  element("take-light").addEventListener("click", () => takeLight());
}

function creditOf(photo) {
  const row = facts.credits.find((credit) => credit.photo === photo.name);
  return row ? [row.author || row.credit, row.licence].filter(Boolean).join(", ") : "";
}

function visit(number) {
  const count = facts.photos.length;
  visited = (number + count) % count;
  const photo = facts.photos[visited];
  element("over").hidden = true;
  element("photo-bar").hidden = false;
  element("photo-name").textContent = photo.caption || photo.name;
  element("photo-credit").textContent = creditOf(photo);
  element("take-light").hidden = !lights.some((light) => light.photo === visited);
  [...element("photos").children].forEach((item, index) => {
    item.firstChild.toggleAttribute("data-here", index === visited);
    if (index === visited) item.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  flyTo(cameraOf(photo), () => layOver(photo));
  say(`photo ${photo.name}`);
}

// The photo itself over the picture, as strongly as its slider says.
function layOver(photo) {
  const over = element("over"), lens = lensFor(canvas.clientWidth, canvas.clientHeight);
  const [width, height] = camera.half.map((half) => 2 * half * lens.focal);
  over.src = photo.picture;
  Object.assign(over.style, {
    width: `${width}px`, height: `${height}px`, opacity: element("fade").value,
    left: `${(canvas.clientWidth - width) / 2}px`, top: `${(canvas.clientHeight - height) / 2}px`,
  });
  over.hidden = false;
}

function leavePhoto() {
  if (visited < 0) return;
  element("photos").children[visited].firstChild.removeAttribute("data-here");
  visited = -1;
  element("over").hidden = true;
  element("photo-bar").hidden = true;
}

function takeLight() {
  const number = lights.findIndex((light) => light.photo === visited);
  if (number >= 0) setLight({ from: number, blend: 0 });
}

function fillAbout() {
  element("facts").textContent =
    `${plural(facts.registered, "photo", "photos")} became ${plural(facts.of, "Gaussian", "Gaussians")}.` +
    (facts.splats < 0.99 * facts.of ? ` This page holds the ${facts.splats.toLocaleString("en")} most important.` : "");
  element("credits-none").hidden = facts.credits.length > 0;
  element("credits").hidden = !facts.credits.length;
  for (const row of facts.credits) {
    element("credits").tBodies[0].append(made("tr", {},
      made("td", {}, link(row.title || row.photo, row.source_url)), made("td", { text: row.author || row.credit }),
      made("td", {}, link(row.licence || "–", row.licence_url)), made("td", { text: [row.restrictions, row.changes].filter(Boolean).join("; ") })));
  }
}

// A link where the address is one of the web; else its text alone.
function link(text, address) {
  return /^https?:\/\//i.test(address) ? made("a", { text, href: address, rel: "noopener noreferrer", target: "_blank" }) : made("span", { text });
}
