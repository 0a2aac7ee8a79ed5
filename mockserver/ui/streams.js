// Streams while they run: a time line for each, and buttons for those that can be held.

import { ask } from "./api.js";
import { button, clock, h } from "./dom.js";
import { find, watch } from "./exchanges.js";
import { Timeline } from "./timeline.js";

const MOST = 20;

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
  }

  leave() {
    this.unwatch?.();
    this.unwatch = null;
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
    this.seen = "";
    this.controls = h("span", { class: "controls" });
    this.element = h("article", { class: "card", "data-number": row.number },
      h("header", {}, h("h2", {}, row.operation ?? row.path), h("span", { class: "quiet" }, `${row.world ?? ""} ${row.scenario ?? ""} ${row.faults.join(", ")} ${clock(row.at)}`),
        this.controls, h("a", { href: `#requests/${row.number}` }, `#${row.number}`)),
      this.timeline.element);
  }

  update(row) {
    const now = `${row.stream.pieces} ${row.stream.ended}`;
    if (now === this.seen) return;
    this.seen = now;
    this.timeline.update().catch(() => {});
  }
}
