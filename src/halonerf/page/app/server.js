// Requests to the server that sent the page. The cookie that came with the page goes with them.

// This window among all that look at the scene: it knows its own changes when the server tells of them.
export const windowKey = randomHex(16);

// Random hexadecimal digits, two a byte.
export function randomHex(bytes) {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The answer to a request; options: of `fetch`. Throws an Error with the server's explanation.
async function request(path, options = {}) {
  const headers = { ...options.headers, "x-halonerf-window": windowKey };
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options, headers });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Error("The server does not answer. Is it still running? Look at the terminal it was started in.");
  }
  if (!answer.ok) throw new Error(await explanation(answer));
  return answer;
}

async function explanation(answer) {
  const sent = await answer.json().catch(() => ({}));
  return typeof sent.detail === "string" ? sent.detail : `The server answered ${answer.status} ${answer.statusText}.`;
}

const asJson = (body, method = "POST") => ({ method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

export const getJson = async (path) => (await request(path)).json();
export const getBlob = async (path) => (await request(path)).blob();
export const getBytes = async (path) => (await request(path)).arrayBuffer();
export const postJson = async (path, body) => (await request(path, asJson(body))).json();
export const postForBlob = async (path, body, signal) => (await request(path, { ...asJson(body), signal })).blob();
export const putJson = async (path, body) => (await request(path, asJson(body, "PUT"))).json();
export const deleteJson = async (path) => (await request(path, { method: "DELETE" })).json();

// Send a file as it is. file: a Blob.
export const postFile = async (path, file) =>
  (await request(path, { method: "POST", headers: { "content-type": "application/octet-stream" }, body: file })).json();

// Request a file and save it as a download, under the name in the answer. Returns the name.
export const postAndSave = async (path, body) => saveAnswer(await request(path, asJson(body)));
export const getAndSave = async (path) => saveAnswer(await request(path));

async function saveAnswer(answer) {
  const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? "file";
  const url = URL.createObjectURL(await answer.blob());
  saveAs(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  return name;
}

// Give an address of this server, or of a blob, to the browser to save.
export function saveAs(url, name) {
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: name });
  link.click();
}

// Listen to a socket of the server, again and again after it was closed. heard: called with each message. reopened: called
// after each time that messages may have been missed.
export function listen(path, heard, reopened, opened = () => {}) {
  const RETRY_MS = 3000;
  const socket = new WebSocket(new URL(path, location.href.replace(/^http/, "ws")));
  socket.addEventListener("open", opened);
  socket.addEventListener("message", ({ data }) => heard(JSON.parse(data)));
  socket.addEventListener("close", () => setTimeout(() => listen(path, heard, reopened, reopened), RETRY_MS));
}
