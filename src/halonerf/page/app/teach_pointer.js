// Drawing of marks with mouse, pen, fingers and keys. Two fingers, the wheel and the middle button zoom and move the picture.

import { moveFrame, toArea, toPicture, zoomFrame } from "./teach_frame.js";
import { clamp } from "./vectors.js";

const SAMPLE_PX = 2; // between the points of a line
const CLOSE_PX = 12; // from a polygon's first corner, where a click closes it
const MAX_SAMPLES = 2000; // points of a line
const STEP = 0.01, LONG_STEP = 0.05; // by which arrow keys move the cursor, in widths and heights of the picture
const TOOL_KEYS = ["point", "stroke", "lasso", "polygon", "move"];
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// What is being drawn: shape: the mark so far, or null; tip: where a polygon would go on; cursor: of the keyboard.
export const drawing = { shape: null, tip: null, cursor: null };

// Give up what is being drawn; whether there was anything.
export function cancelDrawing() {
  const had = drawing.shape !== null;
  Object.assign(drawing, { shape: null, tip: null });
  return had;
}

// canvas: over the picture. tools: () => { tool, positive, radius }. actions: drawn(mark without a word), repaint(),
// choose(tool), moved(dx, dy) and zoomed(factor) of the picture, which say whether they took over.
export function listenToDrawing(canvas, tools, actions) {
  const pointers = new Map(); // by id: last place, px of the canvas
  let moving = false; // whether the pointers move the picture

  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const begin = (point, positive) => {
    const { tool, radius } = tools();
    drawing.shape = { tool: tool === "lasso" ? "polygon" : tool, free: tool === "lasso", positive, radius, points: [point] };
  };
  const finish = () => {
    const { free, ...mark } = drawing.shape;
    cancelDrawing();
    const enough = mark.tool !== "polygon" || mark.points.length > 2;
    if (enough) actions.drawn({ ...mark, points: thinned(mark.points) });
    actions.repaint();
  };
  const extend = (x, y) => {
    const [lastX, lastY] = toArea(drawing.shape.points.at(-1));
    if (Math.hypot(x - lastX, y - lastY) >= SAMPLE_PX) drawing.shape.points.push(toPicture(x, y));
  };
  const addCorner = (x, y, positive) => {
    if (!drawing.shape) begin(toPicture(x, y), positive);
    else if (drawing.shape.points.length > 2 && near(x, y, drawing.shape.points[0])) finish();
    else if (!near(x, y, drawing.shape.points.at(-1), SAMPLE_PX)) drawing.shape.points.push(toPicture(x, y));
  };
  const centroid = () => {
    const all = [...pointers.values()];
    const [x, y] = [0, 1].map((k) => all.reduce((sum, place) => sum + place[k], 0) / all.length);
    return { x, y, spread: all.length < 2 ? 0 : Math.hypot(all[0][0] - all[1][0], all[0][1] - all[1][1]) };
  };
  const zoom = (factor, x, y) => {
    if (!actions.zoomed(factor)) zoomFrame(factor, x, y);
  };

  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const [x, y] = placeOf(event);
    pointers.set(event.pointerId, [x, y]);
    drawing.cursor = null;
    const { tool, positive } = tools();
    const sign = event.button === 2 ? !positive : positive;
    moving = pointers.size > 1 || event.button === 1 || tool === "move";
    if (pointers.size > 1 && tool !== "polygon") cancelDrawing(); // a second finger: no line was meant
    if (!moving && tool === "polygon") addCorner(x, y, sign);
    else if (!moving) begin(toPicture(x, y), sign);
    actions.repaint();
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = placeOf(event);
    if (!pointers.has(event.pointerId)) {
      if (drawing.shape) drawing.tip = toPicture(x, y); // of a polygon
      if (drawing.shape) actions.repaint();
      return;
    }
    const before = centroid();
    pointers.set(event.pointerId, [x, y]);
    const after = centroid();
    if (moving) {
      if (!actions.moved(after.x - before.x, after.y - before.y)) moveFrame(after.x - before.x, after.y - before.y);
      if (before.spread && after.spread) zoom(after.spread / before.spread, after.x, after.y);
    } else if (drawing.shape?.tool === "point") drawing.shape.points[0] = toPicture(x, y);
    else if (drawing.shape && (drawing.shape.tool === "stroke" || drawing.shape.free)) {
      const sampled = event.getCoalescedEvents?.() ?? [];
      for (const one of sampled.length ? sampled : [event]) extend(...placeOf(one));
    }
    actions.repaint();
  });
  canvas.addEventListener("pointerup", (event) => {
    pointers.delete(event.pointerId);
    if (drawing.shape && !moving && (drawing.shape.tool !== "polygon" || drawing.shape.free)) finish();
    if (!pointers.size) moving = false;
  });
  canvas.addEventListener("pointercancel", (event) => {
    pointers.delete(event.pointerId);
    if (tools().tool !== "polygon") cancelDrawing();
    actions.repaint();
  });
  canvas.addEventListener("dblclick", () => {
    if (drawing.shape?.points.length > 2) finish();
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(clamp(-event.deltaY * (event.deltaMode ? 30 : 1), -300, 300) * 0.0015), ...placeOf(event));
    actions.repaint();
  }, { passive: false });

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { tool, positive } = tools();
    const middle = [canvas.clientWidth / 2, canvas.clientHeight / 2];
    if (MOVES[event.key]) {
      const [dx, dy] = MOVES[event.key].map((step) => step * (event.shiftKey ? LONG_STEP : STEP));
      const [u, v] = drawing.cursor ?? toPicture(...middle);
      drawing.cursor = [clamp(u + dx, 0, 1), clamp(v + dy, 0, 1)];
      if (drawing.shape && (drawing.shape.tool === "stroke" || drawing.shape.free)) drawing.shape.points.push(drawing.cursor);
      else if (drawing.shape) drawing.tip = drawing.cursor;
    } else if (event.key === " ") {
      drawing.cursor ??= toPicture(...middle);
      if (tool === "polygon") addCorner(...toArea(drawing.cursor), positive);
      else if (drawing.shape) finish();
      else if (tool !== "move") begin(drawing.cursor, positive);
      if (drawing.shape?.tool === "point") finish();
    } else if (event.key === "Enter" && drawing.shape) finish();
    else if (event.key === "+" || event.key === "=") zoom(1.25, ...middle);
    else if (event.key === "-") zoom(0.8, ...middle);
    else if (TOOL_KEYS[Number(event.key) - 1]) actions.choose(TOOL_KEYS[Number(event.key) - 1]);
    else return;
    event.preventDefault();
    event.stopPropagation();
    actions.repaint();
  });
}

const near = (x, y, point, px = CLOSE_PX) => {
  const [atX, atY] = toArea(point);
  return Math.hypot(x - atX, y - atY) < px;
};

// At most MAX_SAMPLES of the points, evenly, with the last, rounded to what a server needs.
function thinned(points) {
  const every = Math.ceil(points.length / MAX_SAMPLES);
  return points.filter((_, number) => number % every === 0 || number === points.length - 1)
    .map((point) => point.map((value) => Number(value.toFixed(5))));
}
