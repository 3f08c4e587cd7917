// The shared page: one file with its data inside.

import { element } from "./dom.js";
import { start } from "./main.js";

const TYPES = { uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array };

// Facts as JSON, and named arrays in one block of bytes in base64.
function readDocument() {
  const facts = JSON.parse(element("facts-data").textContent);
  const raw = atob(element("splats").textContent.trim());
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return {
    facts,
    array: (name) => {
      const { type, shape, start } = facts.arrays[name];
      return new TYPES[type](bytes.buffer, start, shape.reduce((a, b) => a * b, 1));
    },
  };
}

start(readDocument());
