// Sorts the Gaussians in front of the camera, the farthest first, for blending; in a worker where the browser allows it.

export const NEAR = 0.01; // world units; as in the Python rasterisers

// The worker runs the text of this function, so it may use nothing from outside.
function sorter() {
  let centres, keys, near;
  // Indices of the Gaussians, Uint32Array: a counting sort of their depths in 65,536 steps.
  const sorted = (axis, offset) => {
    const count = centres.length / 3;
    let low = Infinity, high = -Infinity, visible = 0;
    const depth = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      const z = axis[0] * centres[3 * i] + axis[1] * centres[3 * i + 1] + axis[2] * centres[3 * i + 2] + offset;
      depth[i] = z;
      if (z > near) {
        visible++;
        if (z < low) low = z;
        if (z > high) high = z;
      }
    }
    // Steps are even in the logarithm of depth, so that near Gaussians are resolved finely.
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
    const order = new Uint32Array(visible);
    for (let i = 0; i < count; i++) if (depth[i] > near) order[starts[keys[i]]++] = i;
    return order;
  };
  return {
    start: (positions, minDepth) => { centres = positions; near = minDepth; },
    sorted,
  };
}

const WORKER_SOURCE = `const { start, sorted } = (${sorter.toString()})();
onmessage = ({ data }) => {
  if (data.centres) { start(data.centres, data.near); return; }
  const order = sorted(data.axis, data.offset);
  postMessage({ order, number: data.number }, [order.buffer]);
};`;

// A function (axis, offset, number) that requests a sort by depth = axis · centre + offset; `done(order, number)` is called
// with its result.
export function openSorter(centres, done) {
  let worker = null, pending = null;
  const onMainThread = () => { // where the browser forbids workers to local files
    worker = null;
    const { start, sorted } = sorter();
    start(centres, NEAR);
    return ({ axis, offset, number }) => setTimeout(() => done(sorted(axis, offset), number));
  };
  let send;
  try {
    worker = new Worker(URL.createObjectURL(new Blob([WORKER_SOURCE], { type: "text/javascript" })));
    worker.onmessage = ({ data }) => done(data.order, data.number);
    worker.onerror = () => {
      send = onMainThread();
      if (pending) send(pending);
    };
    worker.postMessage({ centres, near: NEAR });
    send = (request) => worker.postMessage(request);
  } catch {
    send = onMainThread();
  }
  return (axis, offset, number) => {
    pending = { axis, offset, number };
    send(pending);
  };
}
