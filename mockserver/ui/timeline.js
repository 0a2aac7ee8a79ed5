// A stream as a drawing: a lane for each kind of event, time to the right, silences, and how it ended.

import { ask } from "./api.js";
import { bytes, counted, duration, h, s } from "./dom.js";

const LANE = 20;
const FOOT = 26; // below the lanes, for the times
const LETTER = 7.3; // how wide one is in the names of lanes
const NARROWEST = 280;
const SILENT_S = 1;
const AGAIN_MS = 1000; // how long after the last look a stream that runs is looked at again
const SHORTEST_S = 0.001;
const MOST_LANES = 14;
const MOST_LISTED = 300;
const ENDINGS = {
  complete: "complete", stopped: "stopped", gone: "the client left", cut: "cut off", interrupted: "its worker has ended",
};

/** Keeps the events of one stream, asks for those that are new, and draws them into `element`. */
export class Timeline {
  constructor(number, { listed = true } = {}) {
    this.number = number;
    this.listed = listed;
    this.events = [];
    this.about = null;
    this.asking = null;
    this.element = h("div", { class: "timeline" }, h("p", { class: "quiet", role: "status" }, "Loading the stream ..."));
    new ResizeObserver(() => this.fit()).observe(this.element);
  }

  /** Ask for what is new and draw it; several calls at once are one, and one more when there was a change. */
  async update() {
    if (this.asking) { this.again = true; return this.asking; }
    this.asking = this.read();
    try {
      await this.asking;
    } finally {
      this.asking = null;
      this.lookAgain();
    }
    if (this.again) { this.again = false; return this.update(); }
    return undefined;
  }

  /** Look again though nothing was told, as long as the stream runs and can be seen: silence grows, too. */
  lookAgain() {
    clearTimeout(this.timer);
    if (!this.about?.ended && this.element.isConnected && this.element.checkVisibility()) {
      this.timer = setTimeout(() => this.update().catch(() => {}), AGAIN_MS);
    }
  }

  async read() {
    const about = await ask(`requests/${this.number}/timeline?after=${this.events.length}`);
    this.events.push(...about.events);
    if (about.pieces !== this.about?.pieces) this.changedAt = performance.now();
    this.about = about;
    this.draw();
  }

  /** Draw again where there is more room than before, or less. */
  fit() {
    if (this.about && this.width !== this.room()) this.draw();
  }

  room() {
    return Math.max(NARROWEST, Math.floor(this.element.clientWidth));
  }

  draw() {
    const { about, events } = this;
    const parts = [this.summary(), this.drawing()];
    if (this.listed) parts.push(this.list());
    const open = this.element.querySelector("details")?.open;
    const scrolled = this.element.querySelector("ol")?.scrollTop;
    this.element.replaceChildren(...parts);
    this.element.dataset.ended = about.ended ?? "";
    this.element.dataset.events = events.length;
    this.element.dataset.pieces = about.pieces;
    const details = this.element.querySelector("details");
    if (details && open !== undefined) {
      details.open = open;
      details.querySelector("ol").scrollTop = scrolled;
    }
  }

  summary() {
    const { about, events } = this;
    const { last } = about;
    const how = about.ended ? ENDINGS[about.ended] ?? about.ended : "running";
    return h("p", { class: "summary" },
      h("strong", { class: `how ${about.ended ?? "running"}` }, how),
      last ? ` ${counted(about.pieces, "piece")}, ${bytes(about.bytes)}` : ` ${counted(events.length, "event")} in ${counted(about.pieces, "piece")}, ${bytes(about.bytes)}`,
      about.duration_ms !== null && ` in ${duration(about.duration_ms)}`,
      last && h("span", { class: "undrawn" }, `; ${counted(events.length, "event")} in the first ${counted(about.kept, "piece")} drawn, the journal keeps no more; last ${last.kind ?? "piece"} at ${seconds(last.after_s)}`));
  }

  drawing() {
    const { about, events } = this;
    const width = this.width = this.room();
    const kinds = [...new Set(events.map((event) => event.kind))];
    const lanes = kinds.slice(0, MOST_LANES);
    const letters = Math.min(width < 600 ? 14 : 22, Math.max(4, ...lanes.map((kind) => kind.length)));
    const left = Math.ceil(letters * LETTER) + 12;
    const drawn = events.at(-1)?.after_s ?? 0;
    const sent = about.last?.after_s ?? drawn;
    const silent = about.ended ? 0 : (performance.now() - this.changedAt) / 1000;
    const now = silent >= SILENT_S ? sent + silent : sent;
    const whole = Math.max(now, about.ended && about.duration_ms !== null ? about.duration_ms / 1000 - about.begun_s : 0, SHORTEST_S);
    const x = (after) => left + (after / whole) * (width - left - 30);
    const bottom = LANE * Math.max(1, lanes.length);
    const drawing = s("svg", {
      viewBox: `0 0 ${width} ${bottom + FOOT}`, width, height: bottom + FOOT, role: "img", class: "lanes",
      "aria-label": `${counted(events.length, "event")} of ${counted(kinds.length, "kind")} in ${seconds(whole)}`,
    });
    const shade = (kind, from, to, title) => drawing.append(
      s("rect", { class: kind, x: x(from), y: 0, width: x(to) - x(from), height: bottom }, s("title", {}, title)));
    const times = [...events.map((event) => event.after_s), ...(now > sent && !about.last ? [now] : [])];
    for (let place = 1; place < times.length; place += 1) {
      const [from, to] = [times[place - 1], times[place]];
      if (to - from >= SILENT_S) shade("silence", from, to, `${(to - from).toFixed(1)} s of silence`);
    }
    if (about.last) {
      shade("beyond", drawn, sent, "The journal keeps the beginning of a stream; what came later is counted, and not drawn.");
      if (now > sent) shade("silence", sent, now, `${silent.toFixed(1)} s of silence`);
    }
    lanes.forEach((kind, lane) => {
      const y = lane * LANE + LANE / 2;
      drawing.append(s("line", { class: "lane", x1: left, x2: width - 12, y1: y, y2: y }));
      drawing.append(s("text", { class: "kind", x: left - 8, y: y + 4, "text-anchor": "end" },
        kind.length > letters ? `${kind.slice(0, letters - 1)}…` : kind, s("title", {}, kind)));
    });
    for (const event of events) {
      const lane = lanes.indexOf(event.kind);
      if (lane < 0) continue;
      const special = event.kind === "ping" || event.kind === "comment" ? "ping"
        : event.kind === "unreadable" || event.kind === "cut off" || event.kind === "error" ? "bad"
          : about.end.includes(event.kind) ? "last" : "";
      drawing.append(s("circle", {
        class: `event c${lane % 7} ${special}`, cx: x(event.after_s), cy: lane * LANE + LANE / 2, r: special === "ping" ? 3 : 4.5,
      }, s("title", {}, `${event.kind} after ${event.after_s.toFixed(3)} s, ${event.bytes} characters`)));
    }
    if (x(sent) - x(drawn) > 90 && about.last) {
      drawing.append(s("text", { class: "beyond", x: (x(drawn) + x(sent)) / 2, y: bottom / 2 + 4, "text-anchor": "middle" }, "no longer drawn"));
    }
    if (about.ended) {
      drawing.append(s("line", { class: `ending ${about.ended}`, x1: x(whole), x2: x(whole), y1: 0, y2: bottom + 4 },
        s("title", {}, ENDINGS[about.ended] ?? about.ended)));
    }
    for (const after of ticks(whole, Math.max(3, Math.floor((width - left) / 130)))) {
      drawing.append(s("line", { class: "tick", x1: x(after), x2: x(after), y1: bottom, y2: bottom + 5 }));
      drawing.append(s("text", { class: "time", x: x(after), y: bottom + 18, "text-anchor": "middle" }, whole < 1 ? `${Number((after * 1000).toFixed(2))} ms` : `${Number(after.toFixed(2))} s`));
    }
    return h("div", { class: "scroller" }, drawing);
  }

  list() {
    const { events } = this;
    return h("details", { class: "events" }, h("summary", {}, `Events (${events.length})`),
      h("ol", {}, events.slice(0, MOST_LISTED).map((event) =>
        h("li", {}, h("time", {}, `${event.after_s.toFixed(3)} s`), " ", h("b", {}, event.kind), " ", h("code", {}, event.text)))),
      events.length > MOST_LISTED && h("p", { class: "quiet" }, `and ${events.length - MOST_LISTED} more`));
  }
}

function seconds(after) {
  return duration(after * 1000);
}

/** Return round times from 0 to `whole`, about `wanted` of them. */
function ticks(whole, wanted) {
  const power = 10 ** Math.floor(Math.log10(whole / wanted));
  const step = power * ([1, 2, 5].find((factor) => factor * power * wanted >= whole) ?? 10);
  return Array.from({ length: Math.floor(whole / step + 1e-9) + 1 }, (_, place) => place * step);
}
