// What each key has: conversations, files, runs; and a fresh start for one of them or for all.

import { ask } from "./api.js";
import { complain, confirmed, counted, h, load, say, show } from "./dom.js";
import { table } from "./contract.js";
import { watch } from "./exchanges.js";

export class Worlds {
  constructor({ go }) {
    this.go = go;
    this.inside = h("div", {});
    this.element = h("div", { class: "view padded" }, this.inside);
    this.stale = false;
  }

  enter(name) {
    this.name = name ? decodeURIComponent(name) : "";
    this.stale = false;
    load(this.inside, this.name || "the worlds", () => this.read(), (found) => this.show(found));
    this.unwatch ??= watch(() => { this.stale = true; });
    this.timer ??= setInterval(() => { if (this.stale && !this.name) this.draw(); }, 1000);
  }

  leave() {
    this.unwatch?.();
    clearInterval(this.timer);
    this.unwatch = this.timer = null;
  }

  press(key) {
    if (key !== "Escape") return false;
    this.go("worlds");
    return true;
  }

  async draw() {
    const { name } = this;
    this.stale = false;
    try {
      const found = await this.read();
      if (this.name === name) this.show(found);
    } catch (error) {
      complain(error);
    }
  }

  read() {
    return ask(this.name ? `worlds?world=${encodeURIComponent(this.name)}` : "worlds");
  }

  show(found) {
    if (this.name) this.showOne(found);
    else this.showAll(found);
  }

  reset(world, label) {
    return confirmed(label, world ? "Forget all of it?" : "Forget all worlds?", async () => {
      await ask("reset", { method: "POST", body: world ? { world } : {} });
      say(world ? `${world} begins anew.` : "All worlds begin anew.");
      await this.draw();
    });
  }

  showAll({ worlds, found }) {
    if (!worlds.length) {
      show(this.inside, h("div", { class: "empty" }, h("h2", {}, "No world yet"), h("p", {}, "Each key has a world of its own; it begins with the first request that sends the key.")));
      return;
    }
    show(this.inside, h("header", { class: "bar" }, h("h2", {}, counted(found, "world")), this.reset("", "Reset all")),
      h("div", { class: "cards small" }, worlds.map((world) => h("article", { class: "card", "data-world": world.world },
        h("header", {}, h("h2", {}, h("a", { href: `#worlds/${encodeURIComponent(world.world)}` }, world.world)), this.reset(world.world, "Reset")),
        h("p", { class: "quiet" }, `key ${world.keys.join(" or ")}`, world.streams > 0 && `, ${world.streams} running`),
        world.tables === null ? h("p", { class: "quiet" }, "It is kept elsewhere, and not in memory.")
          : h("dl", { class: "facts" }, Object.entries(world.tables).map(([name, size]) => h("div", {}, h("dt", {}, name), h("dd", {}, size)))))),
      found > worlds.length && h("p", { class: "quiet" }, `and ${found - worlds.length} more`)));
  }

  showOne(world) {
    const tables = Object.entries(world.records).filter(([, rows]) => rows.length);
    show(this.inside, h("header", { class: "bar" }, h("h2", {}, world.world), this.reset(world.world, "Reset"), h("a", { class: "plain", href: "#worlds" }, "All worlds")),
      tables.length === 0 && h("p", { class: "empty" }, "Nothing is in it."),
      tables.map(([name, rows]) => {
        const fields = [...new Set(rows.flatMap(Object.keys))];
        return h("section", {}, h("h3", {}, `${name} `, h("small", {}, world.tables?.[name] > rows.length ? `the last ${rows.length} of ${world.tables[name]}` : rows.length)),
          table(fields, rows.map((row) => fields.map((field) => row[field] ?? ""))));
      }));
  }
}
