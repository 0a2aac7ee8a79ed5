// Whether all is well: what is broken in files of one's own, with file and line, and what the mock serves.

import { ask } from "./api.js";
import { button, complain, h, show } from "./dom.js";
import { table } from "./contract.js";

const EVERY_MS = 3000;

export class Health {
  constructor() {
    this.inside = h("div", {});
    this.element = h("div", { class: "view padded" }, this.inside);
  }

  enter() {
    this.draw();
    this.timer ??= setInterval(() => this.draw(), EVERY_MS);
  }

  leave() {
    clearInterval(this.timer);
    this.timer = null;
  }

  async draw() {
    try {
      const health = await ask("health");
      const { broken } = health;
      show(this.inside, h("header", { class: "bar" }, h("h2", { class: broken.length ? "wrong" : "well" }, broken.length ? (broken.length === 1 ? "One file is broken" : `${broken.length} files are broken`) : "All files are well"), button("Look again", () => this.draw(), { class: "plain" })),
        broken.length > 0 && [h("p", {}, "What was read of them last still answers."), h("ul", { class: "broken" }, broken.map((text) => h("li", {}, h("pre", {}, text))))],
        h("h3", {}, "APIs"), table(["API", "base URL"], Object.entries(health.apis).map(([name, path]) => [name, location.origin + path])),
        h("p", { class: "quiet" }, `Version ${health.version}, process ${health.process}; ${health.requests} requests so far, ${health.worlds.length} worlds, ${health.overrides} overrides.`));
    } catch (error) {
      complain(error);
    }
  }
}
