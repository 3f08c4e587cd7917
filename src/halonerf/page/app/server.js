// Requests to the server that sent the page. The cookie that came with the page goes with them.

// This window among all that look at the scene: it knows its own changes when the server tells of them.
export const windowKey = randomHex(16);

// Random hexadecimal digits, two a byte.
export function randomHex(bytes) {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The answer to a request. body: sent as JSON. Throws an Error with the server's explanation.
async function request(path, body, method = body === undefined ? "GET" : "POST") {
  const headers = { "x-halonerf-window": windowKey, ...(body === undefined ? {} : { "content-type": "application/json" }) };
  const options = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch {
    throw new Error("The server does not answer. Is it still running? Look at the terminal it was started in.");
  }
  if (!answer.ok) throw new Error(await explanation(answer));
  return answer;
}

async function explanation(answer) {
  const sent = await answer.json().catch(() => ({}));
  return typeof sent.detail === "string" ? sent.detail : `The server answered ${answer.status} ${answer.statusText}.`;
}

export const getJson = async (path) => (await request(path)).json();
export const getBytes = async (path) => (await request(path)).arrayBuffer();
export const postJson = async (path, body) => (await request(path, body)).json();
export const putJson = async (path, body) => (await request(path, body, "PUT")).json();
export const deleteJson = async (path) => (await request(path, undefined, "DELETE")).json();
export const getBlob = async (path) => (await request(path)).blob();
export const postForBlob = async (path, body) => (await request(path, body)).blob();

// Listen to a socket of the server, again and again after it was closed. heard: called with each message.
export function listen(path, heard) {
  const RETRY_MS = 3000;
  const socket = new WebSocket(new URL(path, location.href.replace(/^http/, "ws")));
  socket.addEventListener("message", ({ data }) => heard(JSON.parse(data)));
  socket.addEventListener("close", () => setTimeout(() => listen(path, heard), RETRY_MS));
}
