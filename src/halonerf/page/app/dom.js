// Elements of the document, texts for people, and messages.

export const element = (id) => document.getElementById(id);

// A new HTML element. Texts of users and records are only ever passed as `text`, never as markup.
export function createElement(tag, { text, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  node.append(...children);
  return node;
}

// A link for an http(s) address, else plain text.
export function link(text, address) {
  return /^https?:\/\//i.test(address) ? createElement("a", { text, href: address, rel: "noopener noreferrer", target: "_blank" }) : createElement("span", { text });
}

export const plural = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

// Announce a text to screen readers.
export function announce(text) {
  element("announcement").textContent = text;
}

// Show a mistake or a failure until the next one; "" hides it.
export function complain(text) {
  element("message").textContent = text;
  element("message").hidden = !text;
}
