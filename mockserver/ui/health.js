// Whether all is well: what is broken in files of one's own, with file and line, and what the mock serves.

import { ask } from "./api.js";
import { button, complain, counted, h, load, show } from "./dom.js";
import { table } from "./contract.js";

const EVERY_MS = 3000;

export class Health {
  constructor() {
    this.inside = h("div", {});
    this.element = h("div", { class: "view padded" }, this.inside);
  }

  enter() {
    load(this.inside, "how it is", () => ask("health"), (health) => this.show(health));
    this.timer ??= setInterval(() => this.draw(), EVERY_MS);
  }

  leave() {
    clearInterval(this.timer);
    this.timer = null;
  }

  async draw() {
    try {
      this.show(await ask("health"));
    } catch (error) {
      complain(error);
    }
  }

  show(health) {
    const { broken } = health;
    show(this.inside, h("header", { class: "bar" }, h("h2", { class: broken.length ? "wrong" : "well" }, broken.length ? `${counted(broken.length, "file")} ${broken.length === 1 ? "is" : "are"} broken` : "All files are well"), button("Look again", () => this.draw(), { class: "plain" })),
      broken.length > 0 && [h("p", {}, "What was read of them last still answers."), h("ul", { class: "broken" }, broken.map((text) => h("li", {}, h("pre", {}, text))))],
      h("h3", {}, "APIs"), table(["API", "base URL"], Object.entries(health.apis).map(([name, path]) => [name, location.origin + path])),
      h("p", { class: "quiet about" }, `Version ${health.version}, process ${health.process}; ${counted(health.requests, "request")} so far, ${counted(health.worlds.length, "world")}, ${counted(health.overrides, "override")}.`));
  }
}
