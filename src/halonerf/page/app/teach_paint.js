// Draws marks: what they cover, in the word's colour or, where they say that it is not there, in red with broken edges.

import { pictureFrame, longSide, toArea } from "./teach_frame.js";

const NOT_THERE = [255, 92, 92];
const EDGE = 1.5; // px
const CURSOR = 9; // px, half the size of the cross that the keyboard moves

// Draw on a canvas that lies over the picture. marks: of this picture. shape: the mark that is being drawn, or null; tip:
// where it would go on, in the picture, or null. cursor: of the keyboard, in the picture, or null. rgb: of the word.
export function paintMarks(canvas, { marks, shape, tip, cursor, rgb }) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width, height].map((px) => Math.max(1, Math.round(px * scale))); // clears it
  const context = canvas.getContext("2d", { willReadFrequently: true }); // on the CPU: few lines, and an emptied one is shown at once
  context.scale(scale, scale);
  context.lineCap = context.lineJoin = "round";
  context.save();
  context.beginPath();
  context.rect(pictureFrame.left, pictureFrame.top, pictureFrame.width, pictureFrame.height);
  context.clip();
  for (const mark of marks) paintMark(context, mark, mark.points, rgb, 0.55);
  if (shape) paintMark(context, shape, tip ? [...shape.points, tip] : shape.points, rgb, 0.75, true);
  context.restore();
  if (cursor) paintCross(context, toArea(cursor));
}

function paintMark(context, mark, points, rgb, alpha, unfinished = false) {
  const colour = (share) => `rgb(${(mark.positive ? rgb : NOT_THERE).join(" ")} / ${share})`;
  const places = points.map(toArea);
  const radius = mark.radius * longSide();
  const area = mark.tool === "polygon";
  const path = new Path2D();
  places.forEach(([x, y], number) => (number ? path.lineTo(x, y) : path.moveTo(x, y)));
  if (area && !unfinished) path.closePath();
  context.setLineDash(mark.positive ? [] : [6, 5]);
  if (area) {
    context.fillStyle = colour(0.35 * alpha);
    context.fill(path);
    outline(context, path, colour(1));
  } else if (places.length === 1) {
    const disc = new Path2D();
    disc.arc(...places[0], Math.max(radius, 2), 0, 2 * Math.PI);
    context.fillStyle = colour(alpha);
    context.fill(disc);
    outline(context, disc, colour(1));
  } else {
    context.setLineDash([]);
    context.strokeStyle = colour(alpha);
    context.lineWidth = Math.max(2 * radius, 2);
    context.stroke(path);
    context.setLineDash(mark.positive ? [] : [6, 5]);
    outline(context, path, mark.positive ? "rgb(255 255 255 / 0.85)" : colour(1));
  }
  context.setLineDash([]);
}

// A thin line with a dark one below it, which is seen on any photo.
function outline(context, path, colour) {
  context.lineWidth = 2 * EDGE;
  context.strokeStyle = "rgb(0 0 0 / 0.5)";
  context.stroke(path);
  context.lineWidth = EDGE;
  context.strokeStyle = colour;
  context.stroke(path);
}

function paintCross(context, [x, y]) {
  const cross = new Path2D(`M${x - CURSOR} ${y}h${2 * CURSOR}M${x} ${y - CURSOR}v${2 * CURSOR}`);
  outline(context, cross, "#fff");
}
