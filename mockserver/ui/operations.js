// A list of operations to choose from, which is searched by operation, path, and whatever else belongs to them.

import { ask } from "./api.js";
import { complain, h, load, show } from "./dom.js";

export class Operations {
  constructor(base, choose, more = async () => ({})) {
    this.base = base;
    this.more = more;
    this.onChoose = choose;
    this.known = null;
    this.chosen = null;
    this.search = h("input", { type: "search", placeholder: "Search operations", "aria-label": "Search operations", oninput: () => this.paint() });
    this.list = h("nav", { class: "operations", "aria-label": "Operations" });
    this.element = h("div", { class: "side" }, h("div", { class: "filters" }, this.search), this.list);
  }

  /** Mark the operation that is chosen; ask for all of them once, and each time for `more` by which they are found. */
  enter(name) {
    this.chosen = name || null;
    if (this.known) {
      this.paint();
      this.more().then((texts) => { this.texts = texts; this.paint(); }).catch(complain);
      return;
    }
    load(this.list, "the operations", () => Promise.all([ask("operations"), this.more()]), ([known, texts]) => {
      this.known = known;
      this.texts = texts;
      this.paint();
    });
  }

  paint() {
    if (!this.known) return;
    const wanted = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.known.filter((each) => {
      const text = `${each.name} ${each.method} ${each.path} ${each.summary} ${each.streams ? "stream" : ""} ${this.texts?.[each.name] ?? ""}`.toLowerCase();
      return wanted.every((word) => text.includes(word));
    });
    const apis = [...new Set(found.map((each) => each.api))];
    show(this.list, apis.map((api) => [h("h2", {}, api), found.filter((each) => each.api === api).map((each) => h("a", {
      href: `#${this.base}/${each.name}`, "aria-current": each.name === this.chosen ? "true" : null,
      onclick: (event) => { event.preventDefault(); this.onChoose(each.name); },
    }, h("span", { class: "method" }, each.method), h("span", {}, each.name.split("/")[1]), each.streams && h("b", { class: "mark stream" }, "stream")))]),
    found.length === 0 && h("p", { class: "empty" }, "No operation is like that."));
  }
}
