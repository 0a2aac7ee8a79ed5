// A form that sends an operation's documented request, changed as one likes, and shows the answer as it comes.

import { ROOT } from "./api.js";
import { button, code, h, pretty, show } from "./dom.js";

const MOST = 200_000;

/** Return the form for an operation as `/__mock__/operations/...` describes it. */
export function form(operation, defaultKeys) {
  const { examples } = operation;
  let example = examples[0];
  let sending = null;
  const address = h("input", { "aria-label": "Path", spellcheck: "false" });
  const keys = h("div", { class: "pairs" });
  const body = h("textarea", { "aria-label": "Body", rows: "9", spellcheck: "false" });
  const prefer = h("input", { "aria-label": "Prefer", placeholder: "code=400, example=invalid-param", spellcheck: "false" });
  const answer = h("div", { class: "answer", "aria-live": "polite" });
  const choice = h("select", { "aria-label": "Example", onchange: (event) => fill(examples[Number(event.target.value)]) },
    examples.map((each, place) => h("option", { value: place }, each.name)));

  function fill(chosen) {
    example = chosen;
    address.value = chosen.path;
    body.hidden = chosen.body === null;
    body.value = chosen.body === null ? "" : pretty(chosen.body);
    const scheme = operation.keys[0] ?? [];
    show(keys, scheme.map((each) => h("label", {}, `${each.name} `,
      h("input", { "data-in": each.in, "data-name": each.name, value: `${each.prefix}${defaultKeys(each)}`, spellcheck: "false" }))));
  }

  async function send() {
    sending?.abort();
    const mine = sending = new AbortController();
    leave.hidden = false;
    const url = new URL(address.value.replace(/^\/+/, ""), ROOT);
    const headers = { ...example.headers };
    if (prefer.value) headers.Prefer = prefer.value;
    for (const input of keys.querySelectorAll("input")) {
      if (input.dataset.in === "query") url.searchParams.set(input.dataset.name, input.value);
      else headers[input.dataset.name] = input.value;
    }
    const text = code("", "Answer");
    const head = h("p", { class: "quiet" }, "sent ...");
    show(answer, head, text);
    try {
      const got = await fetch(url, { method: example.method, headers, body: content(headers), signal: mine.signal, cache: "no-store" });
      show(head, h("b", { class: `status s${String(got.status)[0]}` }, got.status), ` ${got.headers.get("Content-Type") ?? ""} `);
      if (streams(got)) head.append(h("a", { href: "#streams" }, "Watch it"));
      const reader = got.body?.pipeThrough(new TextDecoderStream()).getReader();
      let whole = "";
      for (;;) {
        const { value, done } = (await reader?.read()) ?? { done: true };
        if (done) break;
        whole += value;
        text.textContent = whole.slice(0, MOST);
      }
      if (!streams(got)) text.textContent = pretty(whole).slice(0, MOST);
      head.append(" complete");
    } catch (error) {
      head.append(error.name === "AbortError" ? " stopped: the client has left" : ` broken off: ${error.message}`);
    } finally {
      if (sending === mine) leave.hidden = true;
    }
  }

  function content(headers) {
    if (example.body === null) return undefined;
    if (!example.media_type.includes("multipart")) {
      headers["Content-Type"] = example.media_type;
      return body.value;
    }
    const fields = new FormData();
    for (const [name, value] of Object.entries(JSON.parse(body.value))) {
      if (example.files.includes(name)) fields.append(name, new File(["a file of the page"], `${String(value.filename ?? "example")}.txt`.replace(/(\.\w+)\.txt$/, "$1"), { type: "text/plain" }));
      else fields.append(name, typeof value === "string" ? value : JSON.stringify(value));
    }
    return fields;
  }

  const leave = button("Leave", async () => { sending?.abort(); }, { class: "plain", hidden: true, title: "Close the connection, as a client does that has seen enough" });
  fill(example);
  return h("section", { class: "try" }, h("h3", {}, "Try it"),
    h("div", { class: "fields" }, examples.length > 1 && h("label", {}, "Example ", choice),
      h("label", {}, `${operation.method} `, address), keys, h("label", {}, "Prefer ", prefer), body),
    h("p", { class: "buttons" }, button("Send", async () => { send(); }, { class: "primary" }), leave),
    answer);
}

function streams(got) {
  return (got.headers.get("Content-Type") ?? "").includes("event-stream");
}
