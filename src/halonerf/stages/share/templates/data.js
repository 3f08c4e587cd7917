// The data of the page: facts as JSON, and named arrays in one block of bytes.

const facts = JSON.parse(document.getElementById("facts-data").textContent);

const bytes = (() => {
  const raw = atob(document.getElementById("splats").textContent.trim());
  const out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
})();

const TYPES = { uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array };

// The array of that name, flattened.
function array(name) {
  const { type, shape, start } = facts.arrays[name];
  return new TYPES[type](bytes.buffer, start, shape.reduce((a, b) => a * b, 1));
}

const element = (id) => document.getElementById(id);

// A new HTML element. Texts of users and records are only ever passed as `text`, never as markup.
function createElement(tag, { text, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  node.append(...children);
  return node;
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
