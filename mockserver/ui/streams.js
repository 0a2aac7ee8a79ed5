// Streams while they run: a time line for each, and buttons for those that can be held.

import { ask } from "./api.js";
import { button, clock, h, show } from "./dom.js";
import { find, watch } from "./exchanges.js";
import { Timeline } from "./timeline.js";

const MOST = 20;
const EVERY_MS = 400;

export class Streams {
  constructor() {
    this.lines = new Map(); // number -> its card
    this.cards = h("div", { class: "cards" });
    this.empty = h("div", { class: "empty" }, h("h2", {}, "No stream has begun yet"), h("p", {}, "Streams appear here with their events while they run."));
    this.element = h("div", { class: "view padded" }, this.empty, this.cards);
  }

  enter() {
    this.unwatch ??= watch(() => this.paint());
    this.paint();
    this.timer ??= setInterval(() => this.control(), EVERY_MS);
  }

  /** Give the streams that are being sent their buttons. */
  async control() {
    if (![...this.lines.values()].some((card) => card.runs || card.state)) return;
    const { streams } = await ask("streams").catch(() => ({ streams: [] }));
    const live = new Map(streams.map((stream) => [stream.number, stream]));
    for (const [number, card] of this.lines) card.control(live.get(number), () => this.control());
  }

  leave() {
    this.unwatch?.();
    this.unwatch = null;
    clearInterval(this.timer);
    this.timer = null;
    this.lines.clear();
    this.cards.replaceChildren();
  }

  paint() {
    const found = find({ streams: true });
    const running = found.filter((row) => !row.stream.ended);
    const shown = [...running, ...found.filter((row) => row.stream.ended)].slice(0, MOST);
    this.empty.hidden = shown.length > 0;
    const numbers = new Set(shown.map((row) => row.number));
    for (const number of [...this.lines.keys()]) if (!numbers.has(number)) this.lines.delete(number);
    const cards = shown.map((row) => {
      const card = this.lines.get(row.number) ?? new Card(row);
      this.lines.set(row.number, card);
      card.update(row);
      return card.element;
    });
    if (cards.length !== this.cards.children.length || cards.some((card, place) => this.cards.children[place] !== card)) this.cards.replaceChildren(...cards);
  }
}

class Card {
  constructor(row) {
    this.number = row.number;
    this.timeline = new Timeline(row.number, { listed: false });
    this.seen = this.state = "";
    this.controls = h("span", { class: "controls" });
    this.element = h("article", { class: "card", "data-number": row.number },
      h("header", {}, h("h2", {}, row.operation ?? row.path), h("span", { class: "quiet" }, `${row.world ?? ""} ${row.scenario ?? ""} ${row.faults.join(", ")} ${clock(row.at)}`),
        this.controls, h("a", { href: `#requests/${row.number}` }, `#${row.number}`)),
      this.timeline.element);
  }

  /** Show what can be done with the stream as it is: hold it, let it go on, end it. */
  control(stream, again) {
    const state = stream ? `${stream.state} ${stream.hold ?? ""}` : "";
    if (state === this.state) return;
    this.state = state;
    const steer = async (action) => {
      await ask(`streams/${this.number}`, { method: "PUT", body: { action } });
      await again();
    };
    show(this.controls, stream && [
      stream.state === "held" && h("span", { class: "how held" }, `held ${stream.hold}`),
      stream.state === "held" ? button("Release", () => steer("continue")) : button("Hold", () => steer("hold")),
      button("End", () => steer("close")),
    ]);
  }

  update(row) {
    this.runs = !row.stream.ended;
    const now = `${row.stream.pieces} ${row.stream.ended}`;
    if (now === this.seen) return;
    this.seen = now;
    this.timeline.update().catch(() => {});
  }
}
