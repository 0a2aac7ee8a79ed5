// One exchange: what was asked and answered, what the contract says of it, how its stream went.

import { ask } from "./api.js";
import { bytes, button, clock, code, duration, h, load, pretty, say, show } from "./dom.js";
import { row, watch } from "./exchanges.js";
import { Timeline } from "./timeline.js";

export function statusClass(status) {
  return status ? `s${String(status)[0]}` : "s0";
}

/** Shows one exchange in `element`; `close` is called when the reader has seen enough. */
export class Detail {
  constructor(close) {
    this.element = h("section", { class: "detail", "aria-label": "Request", hidden: true });
    this.close = close;
    this.number = null;
  }

  open(number) {
    this.leave();
    this.number = number;
    this.element.hidden = false;
    this.seen = JSON.stringify(row(number) ?? null);
    const inside = h("div", {});
    show(this.element, this.head(`Request ${number}`), inside);
    load(inside, "it", () => ask(`requests/${number}`), (exchange) => {
      if (this.number !== number) return;
      this.timeline = exchange.answer.stream ? new Timeline(number) : null;
      this.draw(exchange);
      this.element.scrollTop = 0;
      this.timeline?.update().catch(() => {});
      this.unwatch = watch(() => this.refresh());
    });
  }

  leave() {
    this.unwatch?.();
    this.unwatch = null;
    this.timeline = null;
    this.number = null;
    this.element.hidden = true;
  }

  /** Draw again what has changed since it was opened. */
  async refresh() {
    const now = JSON.stringify(row(this.number) ?? null);
    if (now === this.seen || this.number === null) return;
    this.seen = now;
    await this.timeline?.update().catch(() => {});
    const known = row(this.number);
    if (known && this.meta) show(this.meta, this.about(known));
  }

  head(title, ...more) {
    return h("header", {}, h("h2", {}, title), more, button("Close", () => this.close(), { class: "plain", title: "Esc" }));
  }

  about(exchange) {
    const cells = [
      ["operation", exchange.operation ?? "none"], ["world", exchange.world ?? "none"], ["at", clock(exchange.at)],
      ["took", duration(exchange.duration_ms) || "..."],
      ["scenario", exchange.scenario ?? "none"],
      ["chosen by", [exchange.by, exchange.because].filter(Boolean).join(": ") || "nobody"],
      exchange.faults.length && ["faults", exchange.faults.join(", ")],
    ].filter(Boolean);
    return cells.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  }

  draw(exchange) {
    const { request, answer } = exchange;
    const address = `${request.path}${request.query ? `?${request.query}` : ""}`;
    const said = new Set(exchange.violations.map((each) => each.message));
    const hints = exchange.hints.filter((hint) => !said.has(hint));
    this.meta = h("dl", { class: "facts" }, this.about(exchange));
    show(this.element,
      this.head([h("span", { class: "method" }, request.method), " ", h("span", { class: "address" }, address.slice(0, 300))],
        h("span", { class: `status ${statusClass(exchange.status)}` }, exchange.status ?? "..."), h("span", { class: "quiet" }, `#${exchange.number}`)),
      this.meta,
      exchange.failure && h("p", { class: "wrong" }, `The mock itself failed: ${exchange.failure}`),
      exchange.violations.length > 0 && this.violations(exchange.violations),
      hints.length > 0 && h("section", {}, h("h3", {}, "Hints"), h("ul", { class: "hints" }, hints.map((hint) => h("li", {}, hint)))),
      this.timeline && h("section", {}, h("h3", {}, "Stream"), this.timeline.element),
      h("div", { class: "sides" },
        this.side("Request", request.headers, request.body, request.bytes, request.cut),
        answer.stream ? this.side("Answer", answer.headers, answer.stream.sent.map((piece) => piece.text).join(""), answer.stream.bytes, answer.stream.bytes > 65536)
          : this.side("Answer", answer.headers, answer.body, answer.bytes, answer.cut)),
      this.later("As curl", `requests/${exchange.number}/curl`, (text) => [code(text, "curl"), button("Copy", async () => {
        await navigator.clipboard.writeText(text);
        say("Copied.");
      })]),
      exchange.operation && this.later("What it lacks of your scenarios", `requests/${exchange.number}/misses`, (found) => (found.length
        ? h("ul", { class: "lacks" }, found.map((each) => h("li", {}, h("b", {}, each.scenario),
          each.lacks.length ? h("ul", {}, each.lacks.map((lack) => h("li", {}, lack))) : ": nothing; a preference, times, after or an error kept it from answering")))
        : h("p", { class: "quiet" }, "No scenario of this operation belongs to particular requests."))));
  }

  violations(found) {
    const section = h("section", { class: "violations" }, h("h3", {}, "What the contract forbids"));
    for (const each of found) {
      const sources = each.source ?? [];
      const quoted = h("div", { class: "quotes" });
      section.append(h("article", {}, h("p", { class: "wrong" }, each.message),
        h("dl", { class: "facts" },
          h("div", {}, h("dt", {}, "where"), h("dd", {}, [each.location, each.field].filter(Boolean).join(" "))),
          "expected" in each && h("div", {}, h("dt", {}, "expected"), h("dd", {}, String(pretty(each.expected)).slice(0, 500))),
          "got" in each && h("div", {}, h("dt", {}, "got"), h("dd", {}, String(pretty(each.got)).slice(0, 500)))),
        quoted));
      if (sources.length) ask(`quotes?sources=${encodeURIComponent(sources.join(","))}`).then((answer) => show(quoted, quotes(answer)));
    }
    return section;
  }

  side(title, headers, body, size, cut) {
    const text = body === null || body === "" ? "" : pretty(body);
    return h("section", {}, h("h3", {}, `${title} `, h("small", {}, bytes(size))),
      h("details", {}, h("summary", {}, `Headers (${headers.length})`),
        h("table", {}, headers.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value))))),
      text ? code(text, `${title} body`) : h("p", { class: "quiet" }, "no body"),
      cut && h("p", { class: "quiet" }, "The journal keeps its beginning only."));
  }

  later(title, path, draw) {
    const inside = h("div", {});
    const element = h("details", {}, h("summary", {}, title), inside);
    element.addEventListener("toggle", () => {
      if (element.open) load(inside, "it", () => ask(path), (found) => show(inside, draw(found)));
    });
    return element;
  }
}

/** Return quoted lines of the documents, and the rulings that decide where those contradict each other. */
export function quotes({ quotes: lines, rulings }) {
  return [
    lines.map((line) => h("figure", { class: "quote" }, h("blockquote", {}, line.text), h("figcaption", {}, `${line.source}, ${line.title}`))),
    rulings.map((ruling) => h("figure", { class: "quote ruling" }, h("blockquote", {}, ruling.decision), h("figcaption", {}, `ruling ${ruling.name}`))),
  ];
}
