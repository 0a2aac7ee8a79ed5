// Asks the mock. The token, if there is one, lives in this module's memory and nowhere else.

const HERE = new URL("../", import.meta.url); // .../__mock__/
export const ROOT = new URL("../../", import.meta.url); // where the APIs begin
let token = "";
let askForToken = async () => "";

/** Let `ask` be called where the mock wants a token; it returns one. */
export function onToken(ask) {
  let asking = null;
  askForToken = (wrong) => (asking ??= ask(wrong).finally(() => { asking = null; }));
}

function headers(more) {
  return token ? { ...more, Authorization: `Bearer ${token}` } : { ...more };
}

/** Return the address of a path under /__mock__/: a link to this page may name another, which must not get the token. */
function locate(path) {
  const address = new URL(path, HERE);
  if (!address.href.startsWith(HERE.href)) throw new Error(`There is no ${path}.`);
  return address;
}

/** Ask for a path under /__mock__/; return JSON or text; throw an Error that says what is wrong. */
export async function ask(path, { method = "GET", body, signal } = {}) {
  for (;;) {
    const sent = token;
    const answer = await fetch(locate(path), {
      method, signal, headers: headers(), cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    }).catch((error) => { throw error.name === "AbortError" ? error : new Error("The mock does not answer. Is it still running?"); });
    if (answer.status === 401) {
      if (sent === token) token = await askForToken(sent !== "");
      continue;
    }
    const text = await answer.text();
    const isJson = (answer.headers.get("Content-Type") ?? "").includes("json");
    const content = isJson && text ? JSON.parse(text) : text;
    if (!answer.ok) throw new Error(content.detail ?? `${answer.status} for ${path}`);
    return content;
  }
}

/** Follow the events for ever: `onEvent(kind, content)`, `onState("live" | "reconnecting")`. */
export async function follow(onEvent, onState) {
  let last = "";
  let pause = 250;
  for (;;) {
    const sent = token;
    try {
      const answer = await fetch(new URL("events", HERE), {
        headers: headers({ Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) }), cache: "no-store",
      });
      if (answer.status === 401) {
        if (sent === token) token = await askForToken(sent !== "");
        continue;
      }
      if (!answer.ok) throw new Error(`events: ${answer.status}`);
      onState("live");
      pause = 250;
      for await (const event of read(answer.body)) {
        if (event.data) onEvent(event.kind, JSON.parse(event.data));
        last = event.id || last;
      }
    } catch (error) {
      if (error instanceof SyntaxError) console.error(error);
    }
    onState("reconnecting");
    await new Promise((done) => { setTimeout(done, pause); });
    pause = Math.min(pause * 2, 4000);
  }
}

async function* read(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    waiting += value;
    const blocks = waiting.split("\n\n");
    waiting = blocks.pop();
    for (const block of blocks) {
      const event = { kind: "message", id: "", data: "" };
      for (const line of block.split("\n")) {
        if (line.startsWith("event: ")) event.kind = line.slice(7);
        else if (line.startsWith("id: ")) event.id = line.slice(4);
        else if (line.startsWith("data: ")) event.data += line.slice(6);
      }
      yield event;
    }
  }
}
