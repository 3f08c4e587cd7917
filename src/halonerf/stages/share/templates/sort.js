// Which Gaussians are in front of the camera, the farthest first: what blending needs. Done beside the page's own thread.

const NEAR = 0.01; // world units; as in Python

// This function's text is all that the worker knows: it may use nothing from outside.
function sorter() {
  let centres, keys, near;
  // The order as Uint32Array [up to N]: a counting sort of depths in 65,536 steps.
  const sorted = (axis, offset) => {
    const count = centres.length / 3;
    let low = Infinity, high = -Infinity, shown = 0;
    const depth = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      const z = axis[0] * centres[3 * i] + axis[1] * centres[3 * i + 1] + axis[2] * centres[3 * i + 2] + offset;
      depth[i] = z;
      if (z > near) {
        shown++;
        if (z < low) low = z;
        if (z > high) high = z;
      }
    }
    // Depths are compared by their logarithm: near ones finely, whatever lies far behind.
    const scale = 65535 / Math.max(Math.log(high / low), 1e-6);
    const starts = new Uint32Array(65537);
    keys = keys || new Uint16Array(count);
    for (let i = 0; i < count; i++) {
      if (depth[i] > near) {
        keys[i] = 65535 - Math.min(65535, Math.floor(Math.log(depth[i] / low) * scale));
        starts[keys[i] + 1]++;
      }
    }
    for (let k = 0; k < 65536; k++) starts[k + 1] += starts[k];
    const order = new Uint32Array(shown);
    for (let i = 0; i < count; i++) if (depth[i] > near) order[starts[keys[i]]++] = i;
    return order;
  };
  return {
    start: (places, least) => { centres = places; near = least; },
    sorted,
  };
}

const WORK = `const { start, sorted } = (${sorter.toString()})();
onmessage = ({ data }) => {
  if (data.places) { start(data.places, data.near); return; }
  const order = sorted(data.axis, data.offset);
  postMessage({ order, number: data.number }, [order.buffer]);
};`;

// Calls `done(order, number)` for `ask(axis, offset, number)`; number says which question it was.
function openSorter(centres, done) {
  let worker = null, asked = null;
  const here = () => {
    worker = null;
    const { start, sorted } = sorter(); // a browser that forbids workers to local files
    start(centres, NEAR);
    return ({ axis, offset, number }) => setTimeout(() => done(sorted(axis, offset), number));
  };
  let ask;
  try {
    worker = new Worker(URL.createObjectURL(new Blob([WORK], { type: "text/javascript" })));
    worker.onmessage = ({ data }) => done(data.order, data.number);
    worker.onerror = () => {
      ask = here();
      if (asked) ask(asked);
    };
    worker.postMessage({ places: centres, near: NEAR });
    ask = (question) => worker.postMessage(question);
  } catch {
    ask = here();
  }
  return (axis, offset, number) => {
    asked = { axis, offset, number };
    ask(asked);
  };
}
