// A list of any length of which only the rows that can be seen exist.

import { h } from "./dom.js";

const BESIDE = 8; // rows above and below what is seen

/** A list whose `draw(item)` returns the cells of a row; `open(item)` is called for the one that is chosen. */
export class List {
  constructor({ label, draw, open }) {
    this.draw = draw;
    this.open = open;
    this.items = [];
    this.chosen = null; // the number of the item
    this.sheet = h("div", { class: "sheet" });
    this.element = h("div", { class: "list", role: "listbox", tabindex: "0", "aria-label": label }, this.sheet);
    this.element.addEventListener("scroll", () => this.paint(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.press(event));
    this.element.addEventListener("click", (event) => {
      const row = event.target.closest("[data-number]");
      if (row) this.choose(Number(row.dataset.number), true);
    });
    new ResizeObserver(() => this.paint()).observe(this.element);
  }

  get height() {
    return matchMedia("(max-width: 700px)").matches ? 56 : 34;
  }

  /** Show other items, the first at the top; who has scrolled down keeps seeing the same rows. */
  set(items) {
    const top = this.element.scrollTop;
    const first = this.items[Math.floor(top / this.height)];
    this.items = items;
    this.sheet.style.height = `${items.length * this.height}px`; // or it could not be scrolled so far
    if (top > 0 && first) {
      const place = items.findIndex((item) => item.number === first.number);
      if (place >= 0) this.element.scrollTop = place * this.height + (top % this.height);
    }
    this.paint();
  }

  paint() {
    const { height } = this;
    this.sheet.style.height = `${this.items.length * height}px`;
    const begin = Math.max(0, Math.floor(this.element.scrollTop / height) - BESIDE);
    const end = Math.min(this.items.length, Math.ceil((this.element.scrollTop + this.element.clientHeight) / height) + BESIDE);
    const rows = [];
    for (let place = begin; place < end; place += 1) {
      const item = this.items[place];
      const chosen = item.number === this.chosen;
      const row = h("div", {
        class: "row", role: "option", id: `row-${item.number}`, "data-number": item.number,
        "aria-selected": chosen ? "true" : "false", "aria-posinset": place + 1, "aria-setsize": this.items.length,
      }, this.draw(item));
      row.style.transform = `translateY(${place * height}px)`;
      rows.push(row);
    }
    this.sheet.replaceChildren(...rows);
    if (this.chosen !== null) this.element.setAttribute("aria-activedescendant", `row-${this.chosen}`);
  }

  choose(number, open = false) {
    this.chosen = number;
    const place = this.items.findIndex((item) => item.number === number);
    if (place >= 0) {
      const top = place * this.height;
      if (top < this.element.scrollTop) this.element.scrollTop = top;
      else if (top + this.height > this.element.scrollTop + this.element.clientHeight) this.element.scrollTop = top + this.height - this.element.clientHeight;
      if (open) this.open(this.items[place]);
    }
    this.paint();
  }

  move(step) {
    if (!this.items.length) return;
    const place = this.items.findIndex((item) => item.number === this.chosen);
    const next = place < 0 && step !== Infinity ? 0 : Math.min(this.items.length - 1, Math.max(0, place + step));
    this.choose(this.items[next].number);
  }

  press(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) this.move(steps[event.key]);
    else if (event.key === "Enter" && this.chosen !== null) this.choose(this.chosen, true);
    else return;
    event.preventDefault();
  }
}
