// Pins of notes and lines of distances over the picture.

import { projected } from "./camera.js";
import { element } from "./dom.js";
import { canvas, onDraw } from "./picture.js";

const PIN_FONT = "600 13px system-ui, sans-serif";
const PIN_COLOUR = "#ffd9a8";
const MOST_LETTERS = 32; // of a label

// Draw them with every frame. present: gives the notes and the points that are being picked. lengthText: a length as text.
export function openPins(present, lengthText) {
  onDraw(() => {
    const { entries, picked } = present();
    const marks = entries.filter(({ kind }) => kind !== "view");
    const layer = element("pins");
    layer.hidden = !marks.length && !picked.length;
    if (layer.hidden) return;
    const scale = window.devicePixelRatio || 1;
    [layer.width, layer.height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
    const pen = layer.getContext("2d");
    pen.scale(scale, scale);
    pen.font = PIN_FONT;
    for (const entry of marks) {
      if (entry.kind === "note") drawPin(pen, entry.point, entry.text);
      else drawLine(pen, entry.points, lengthText(entry.length));
    }
    for (const point of picked) drawPin(pen, point, "");
  });
}

const inWindow = (point) => projected(point, canvas.clientWidth, canvas.clientHeight);

function drawPin(pen, point, text) {
  const place = inWindow(point);
  if (!place) return;
  const [x, y] = place;
  pen.beginPath();
  pen.arc(x, y, 4.5, 0, 2 * Math.PI);
  outlined(pen);
  pen.fillStyle = PIN_COLOUR;
  pen.fill();
  if (text) drawLabel(pen, text, x + 9, y - 7);
}

function drawLine(pen, points, text) {
  const places = points.map(inWindow);
  if (!places.every(Boolean)) return;
  const [[x, y], [u, v]] = places;
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(u, v);
  outlined(pen);
  for (const point of points) drawPin(pen, point, "");
  drawLabel(pen, text, (x + u) / 2 + 8, (y + v) / 2 - 8);
}

function outlined(pen) {
  for (const [colour, width] of [["rgb(0 0 0 / .6)", 4], [PIN_COLOUR, 1.8]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.stroke();
  }
}

function drawLabel(pen, text, x, y) {
  const shown = text.length > MOST_LETTERS ? `${text.slice(0, MOST_LETTERS - 1)}…` : text;
  pen.fillStyle = "rgb(16 18 22 / .78)";
  pen.fillRect(x - 5, y - 14, pen.measureText(shown).width + 10, 20);
  pen.fillStyle = "#f4efe6";
  pen.fillText(shown, x, y);
}
