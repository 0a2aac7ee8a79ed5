// What an operation can answer: scenarios and faults, asked for with one click, and a form that tries it.

import { ask } from "./api.js";
import { button, h, load, say, show } from "./dom.js";
import { worlds } from "./exchanges.js";
import { Operations } from "./operations.js";
import { form } from "./try.js";

const TIMES = [["Once", 1], ["Five times", 5], ["Always", null]];

export class Scenarios {
  constructor({ go }) {
    this.go = go;
    this.operations = new Operations("scenarios", (name) => go(`scenarios/${name}`), () => this.texts());
    this.standing = h("section", { class: "standing", "aria-label": "Overrides that stand" });
    this.inside = h("div", { class: "inside" });
    this.element = h("div", { class: "view split" }, this.operations.element,
      h("section", { class: "detail", "aria-label": "Operation" }, this.standing, this.inside));
    this.known = {};
  }

  /** Ask for the scenarios of all operations, by whose names operations are found. */
  async texts() {
    [this.known, this.faults] = await Promise.all([ask("scenarios"), this.faults ?? ask("faults")]);
    return Object.fromEntries(Object.entries(this.known).map(([name, found]) => [name, Object.entries(found).flat().join(" ")]));
  }

  enter(name) {
    this.element.classList.toggle("opened", Boolean(name));
    this.operations.enter(name);
    load(this.inside, name, async () => name && (await Promise.all([ask(`operations/${name}`), this.texts()]))[0], (operation) => this.draw(operation));
    const list = () => this.list().catch(() => {});
    list();
    clearInterval(this.timer);
    this.timer = setInterval(list, 2000);
  }

  leave() {
    clearInterval(this.timer);
  }

  press(key) {
    if (key === "/") (this.search?.isConnected && this.element.classList.contains("opened") ? this.search : this.operations.search).focus();
    else if (key === "Escape") this.go("scenarios");
    else return false;
    return true;
  }

  /** Show the overrides that stand, each with a button that takes it back. */
  async list() {
    const found = await ask("overrides");
    const now = JSON.stringify(found);
    if (now === this.shown) return;
    this.shown = now;
    show(this.standing, found.length > 0 && h("h3", {}, "Overrides that stand"), h("ul", {}, found.map((each) => h("li", { "data-operation": each.operation },
      h("b", {}, each.operation), ` answers ${each.scenario} `, each.times === null ? "always" : each.times === 1 ? "once" : `${each.times} times`,
      ` in ${each.world ?? "all worlds"} `,
      button("Take back", async () => {
        const query = new URLSearchParams({ operation: each.operation, exact: "1", ...(each.world ? { world: each.world } : {}) });
        await ask(`overrides?${query}`, { method: "DELETE" });
        await this.list();
      })))));
  }

  draw(operation) {
    if (!operation) {
      show(this.inside, h("p", { class: "empty" }, "Choose an operation to send it, or to choose its answers; what is searched for may be a scenario, too."));
      return;
    }
    this.search = h("input", { type: "search", placeholder: "Search scenarios and faults", "aria-label": "Search scenarios and faults", oninput: () => this.paint() });
    const names = h("datalist", { id: "known-worlds" }, worlds().map((name) => h("option", { value: name })));
    this.world = h("input", { list: "known-worlds", placeholder: "all worlds", "aria-label": "World or key", spellcheck: "false" });
    this.offers = h("div", { class: "offers" });
    this.operation = operation;
    show(this.inside,
      h("header", {}, h("h2", {}, operation.name), h("a", { href: `#contract/${operation.name}` }, "Contract"), h("a", { class: "plain back", href: "#scenarios" }, "Close")),
      h("p", {}, h("span", { class: "method" }, operation.method), " ", h("code", {}, operation.path)),
      form(operation, (scheme) => scheme.key),
      h("section", {}, h("h3", {}, "Choose its answer"), h("div", { class: "filters" }, this.search, h("label", {}, "in ", this.world), names), this.offers));
    this.paint();
  }

  paint() {
    const wanted = this.search.value.toLowerCase();
    const fits = (text) => text.toLowerCase().includes(wanted);
    const { stream, name } = this.operation;
    const scenarios = Object.entries(this.known[name] ?? {}).filter(([key, text]) => fits(`${key} ${text}`));
    const faults = this.faults.filter((fault) => (fault.needs === "any" || (stream && (fault.needs === "stream" || stream.framing === "sse"))) && fits(`${fault.usage} ${fault.summary} ${fault.harm}`));
    show(this.offers,
      h("h4", {}, `Scenarios (${scenarios.length})`), scenarios.map(([key, text]) => this.offer(key, text, () => key)),
      h("h4", {}, `Faults (${faults.length})`), faults.map((fault) => {
        const value = h("input", { value: fault.name, "aria-label": fault.usage, title: fault.usage, spellcheck: "false" });
        return this.offer(fault.usage, `${fault.summary} (${fault.harm})`, () => `fault=${value.value}`, fault.usage.includes("=") && value);
      }));
  }

  offer(key, text, scenario, value = null) {
    return h("article", { class: "offer", "data-scenario": key }, h("div", {}, h("code", {}, key), h("p", {}, text)), value,
      h("span", { class: "buttons" }, TIMES.map(([label, times]) => button(label, async () => {
        const world = this.world.value.trim() || null;
        const done = await ask("overrides", { method: "PUT", body: { operation: this.operation.name, scenario: scenario(), times, world } });
        say(`${done.map((each) => each.operation).join(", ")} answers ${scenario()} ${label.toLowerCase()}.`);
        await this.list();
      }, { "aria-label": `${label}: ${key}` }))));
  }
}
