// The contract: each operation with its lines of the documents, and the order of its events as a drawing.

import { ask } from "./api.js";
import { h, load, show } from "./dom.js";
import { quotes } from "./detail.js";
import { Operations } from "./operations.js";
import { railroad } from "./railroad.js";

export class Contract {
  constructor({ go }) {
    this.operations = new Operations("contract", (name) => go(`contract/${name}`));
    this.inside = h("div", { class: "inside" });
    this.element = h("div", { class: "view split" }, this.operations.element, h("section", { class: "detail", "aria-label": "Operation" }, this.inside));
    this.go = go;
  }

  enter(name) {
    this.element.classList.toggle("opened", Boolean(name));
    this.operations.enter(name);
    load(this.inside, name, async () => name && ask(`operations/${name}`), (operation) => this.draw(operation));
  }

  leave() {}

  press(key) {
    if (key === "/") this.operations.search.focus();
    else if (key === "Escape") this.go("contract");
    else return false;
    return true;
  }

  draw(operation) {
    if (!operation) {
      show(this.inside, h("p", { class: "empty" }, "Choose an operation."));
      return;
    }
    const { stream } = operation;
    show(this.inside,
      h("header", {}, h("h2", {}, operation.name), h("a", { class: "plain back", href: "#contract" }, "Close")),
      h("p", {}, h("span", { class: "method" }, operation.method), " ", h("code", {}, operation.path), operation.deprecated && h("b", { class: "mark bad" }, "deprecated")),
      h("p", {}, operation.summary), h("p", {}, h("a", { href: `#scenarios/${operation.name}` }, "Try it, or choose its answer")),
      quotes(operation),
      stream && h("section", { class: "orders" }, h("h3", {}, "Its stream"),
        h("p", { class: "quiet" }, `Framing ${stream.framing}; ends with ${stream.end.join(" or ")}`,
          stream.anywhere.length > 0 && `; anywhere: ${stream.anywhere.join(", ")}`, stream.silence_s !== null && `; silent for ${stream.silence_s} s at most`),
        stream.orders.map((order) => h("figure", {}, h("figcaption", {}, h("b", {}, order.name), ` ${order.tier}, ${order.sources.join(", ")}`),
          h("div", { class: "scroller" }, railroad(order.tree, order.text)), h("details", {}, h("summary", {}, "As text"), h("pre", {}, order.text)))),
        h("details", {}, h("summary", {}, `Events (${stream.events.length})`), table(["event", "lines"], stream.events.map((event) => [event.kind, event.sources.join(", ")])))),
      h("section", {}, h("h3", {}, "Answers"), table(["status", "", "media types", "lines"],
        operation.responses.map((each) => [each.status, each.description, each.media.join(", "), each.sources.join(", ") || each.tier]))),
      operation.parameters.length > 0 && h("section", {}, h("h3", {}, "Parameters"), table(["name", "in", "", "lines"],
        operation.parameters.map((each) => [each.name, each.in, each.required ? "required" : "", each.sources.join(", ")]))));
  }
}

/** Return rows of texts as a table. */
export function table(names, rows) {
  return h("div", { class: "scroller" }, h("table", { class: "grid" }, h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}
