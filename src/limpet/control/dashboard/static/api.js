// The admin API: calls, and the feed of frames. The token, if there has to be one, is kept for this
// tab only, and sent as a header: a cookie would go to other ports of this host, too.

const KEY = "limpet-admin-token";
const SILENT_MS = 9000;
const PAUSES_MS = [500, 1000, 2000, 5000];

export class Refusal extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export function useToken(token) {
  sessionStorage.setItem(KEY, token);
}

function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

// Make one call; a refusal is an error with what the server says is wrong.
export async function call(method, path, body) {
  const options = { method, headers: headers() };
  if (method !== "GET") {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body ?? {});
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refusal(0, "limpet does not answer");
  }
  return answer(response);
}

async function answer(response) {
  let found = {};
  try {
    found = await response.json();
  } catch {
    // What is no JSON has its status to tell.
  }
  if (response.ok) return found;
  throw new Refusal(response.status, [found.error ?? `status ${response.status}`, ...(found.problems ?? [])].join("; "));
}

export function targetPath(group, name) {
  return `/targets/${encodeURIComponent(group)}/${encodeURIComponent(name)}`;
}

// Follow the feed while the page can be seen: onFrame(frame), onState("live" | "connecting" | "silent" |
// "locked" | "hidden", why). It ends when the token is missing or wrong; `follow` again with another one.
export async function follow(onFrame, onState) {
  for (let failures = 0; ; ) {
    if (document.hidden) {
      onState("hidden", "");
      await seen();
    }
    onState("connecting", "");
    try {
      await read((frame) => {
        failures = 0;
        onState("live", "");
        onFrame(frame);
      });
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) {
        onState("locked", error.message);
        return;
      }
      if (!document.hidden) onState("silent", error instanceof Refusal ? error.message : "");
    }
    if (document.hidden) continue;
    await passed(PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)]);
    failures += 1;
  }
}

async function read(onFrame) {
  const ending = new AbortController();
  const end = () => ending.abort();
  const endIfHidden = () => document.hidden && end();
  let timer = setTimeout(end, SILENT_MS);
  document.addEventListener("visibilitychange", endIfHidden);
  try {
    const response = await fetch("/events", { headers: headers(), signal: ending.signal, cache: "no-store" });
    if (!response.ok) await answer(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(end, SILENT_MS);
      const events = (text + value).split("\n\n");
      text = events.pop();
      // Of several that came at once only the last is true.
      const data = events.filter((event) => event.startsWith("data: ")).pop();
      if (data !== undefined) onFrame(JSON.parse(data.slice(6)));
    }
  } finally {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", endIfHidden);
    end();
  }
}

function seen() {
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", () => resolve(), { once: true });
  });
}

function passed(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
