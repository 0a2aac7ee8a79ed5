// A stream as a drawing: a lane for each kind of event, time to the right, silences, and how it ended.

import { ask } from "./api.js";
import { bytes, duration, h, s } from "./dom.js";

const LANE = 20;
const LEFT = 150;
const WIDTH = 1000;
const SILENT_S = 1;
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
    this.begun = performance.now();
    this.element = h("div", { class: "timeline" }, h("p", { class: "quiet" }, "..."));
  }

  get ended() {
    return this.about?.ended ?? null;
  }

  /** Ask for what is new and draw it; several calls at once are one, and one more when there was a change. */
  async update() {
    if (this.asking) { this.again = true; return this.asking; }
    this.asking = this.read();
    try {
      await this.asking;
    } finally {
      this.asking = null;
    }
    if (this.again) { this.again = false; return this.update(); }
    return undefined;
  }

  async read() {
    const about = await ask(`requests/${this.number}/timeline?after=${this.events.length}`);
    this.events.push(...about.events);
    this.about = about;
    this.draw();
  }

  draw() {
    const { about, events } = this;
    const parts = [this.summary(), this.drawing()];
    if (this.listed) parts.push(this.list());
    const open = this.element.querySelector("details")?.open;
    this.element.replaceChildren(...parts);
    this.element.dataset.ended = about.ended ?? "";
    this.element.dataset.events = events.length;
    const details = this.element.querySelector("details");
    if (details && open !== undefined) details.open = open;
  }

  summary() {
    const { about, events } = this;
    const how = about.ended ? ENDINGS[about.ended] ?? about.ended : "running";
    const kept = about.pieces > about.kept ? `, the first ${about.kept} pieces are kept` : "";
    return h("p", { class: "summary" },
      h("strong", { class: `how ${about.ended ?? "running"}` }, how),
      ` ${events.length} events in ${about.pieces} pieces, ${bytes(about.bytes)}${kept}`,
      about.duration_ms !== null && ` in ${duration(about.duration_ms)}`);
  }

  drawing() {
    const { about, events } = this;
    const kinds = [...new Set(events.map((event) => event.kind))];
    const lanes = kinds.slice(0, MOST_LANES);
    const last = events.length ? events.at(-1).after_s : 0;
    const whole = Math.max(last, about.ended && about.duration_ms !== null ? about.duration_ms / 1000 : 0, 0.05);
    const x = (after) => LEFT + (after / whole) * (WIDTH - LEFT - 24);
    const height = LANE * Math.max(1, lanes.length) + 26;
    const drawing = s("svg", {
      viewBox: `0 0 ${WIDTH} ${height}`, role: "img", class: "lanes",
      "aria-label": `${events.length} events of ${kinds.length} kinds in ${whole.toFixed(2)} seconds`,
    });
    for (let place = 1; place < events.length; place += 1) {
      const from = events[place - 1].after_s;
      const to = events[place].after_s;
      if (to - from >= SILENT_S) {
        drawing.append(s("rect", { class: "silence", x: x(from), y: 0, width: x(to) - x(from), height: height - 26 },
          s("title", {}, `${(to - from).toFixed(1)} s of silence`)));
      }
    }
    lanes.forEach((kind, lane) => {
      const y = lane * LANE + LANE / 2;
      drawing.append(s("line", { class: "lane", x1: LEFT, x2: WIDTH - 12, y1: y, y2: y }));
      drawing.append(s("text", { class: "kind", x: LEFT - 8, y: y + 4, "text-anchor": "end" },
        kind.length > 22 ? `${kind.slice(0, 21)}…` : kind, s("title", {}, kind)));
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
    if (about.ended) {
      drawing.append(s("line", { class: `ending ${about.ended}`, x1: x(whole), x2: x(whole), y1: 0, y2: height - 22 },
        s("title", {}, ENDINGS[about.ended] ?? about.ended)));
    }
    for (let part = 0; part <= 4; part += 1) {
      const after = (whole * part) / 4;
      drawing.append(s("text", { class: "time", x: x(after), y: height - 6, "text-anchor": part === 4 ? "end" : "middle" },
        `${after < 10 ? after.toFixed(2) : after.toFixed(0)} s`));
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
