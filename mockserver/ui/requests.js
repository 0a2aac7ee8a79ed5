// The requests as they come, and one of them opened.

import { Detail, statusClass } from "./detail.js";
import { clock, confirmed, counted, duration, h, say, show } from "./dom.js";
import { ask } from "./api.js";
import { count, find, remembers, watch, worlds } from "./exchanges.js";
import { List } from "./list.js";

const ENDINGS = { complete: "✓", stopped: "■", gone: "←", cut: "✂", interrupted: "†" };

export class Requests {
  constructor({ go }) {
    this.go = go;
    this.filter = { text: "", world: "", status: "", wrong: false, streams: false };
    this.list = new List({ label: "Requests, the newest first", draw: cells, open: (item) => this.go(`requests/${item.number}`) });
    this.detail = new Detail(() => this.go("requests"));
    this.search = h("input", { type: "search", placeholder: "Operation, path, scenario", "aria-label": "Filter", oninput: (event) => this.change("text", event.target.value) });
    this.world = h("select", { "aria-label": "World", onchange: (event) => this.change("world", event.target.value) }, h("option", { value: "" }, "all worlds"));
    this.status = h("select", { "aria-label": "Status", onchange: (event) => this.change("status", event.target.value) },
      [["", "any status"], ["2", "2xx"], ["3", "3xx"], ["4", "4xx"], ["5", "5xx"]].map(([value, label]) => h("option", { value }, label)));
    this.wrong = h("input", { type: "checkbox", onchange: (event) => this.change("wrong", event.target.checked) });
    this.counted = h("span", { class: "quiet", id: "counted" });
    const forget = confirmed("Forget", "Forget them?", async () => {
      const { forgotten } = await ask(`requests${this.filter.world ? `?world=${encodeURIComponent(this.filter.world)}` : ""}`, { method: "DELETE" });
      say(`${forgotten} requests are forgotten.`);
    }, { class: "plain", title: "Forget what was asked" });
    this.empty = h("div", { class: "empty" });
    this.element = h("div", { class: "view split" },
      h("div", { class: "side" },
        h("div", { class: "filters" }, this.search, this.world, this.status, h("label", {}, this.wrong, " violations only"), this.counted, forget),
        this.empty, this.list.element),
      this.detail.element);
    this.known = "";
  }

  change(name, value) {
    this.filter[name] = value;
    this.list.element.scrollTop = 0;
    this.paint();
  }

  enter(number) {
    this.unwatch ??= watch(() => this.paint());
    this.paint();
    if (number) {
      this.list.choose(Number(number));
      this.element.classList.add("opened");
      this.detail.open(Number(number));
    } else {
      this.element.classList.remove("opened");
      this.detail.leave();
    }
  }

  leave() {
    this.unwatch?.();
    this.unwatch = null;
    this.detail.leave();
  }

  paint() {
    const names = worlds();
    if (names.join("\n") !== this.known) {
      this.known = names.join("\n");
      const chosen = this.filter.world;
      this.world.replaceChildren(h("option", { value: "" }, "all worlds"), ...names.map((name) => h("option", { value: name }, name)));
      this.world.value = chosen;
    }
    const found = find(this.filter);
    this.counted.textContent = found.length === count() ? counted(count(), "request") : `${found.length.toLocaleString("en")} of ${counted(count(), "request")}`;
    this.empty.hidden = found.length > 0;
    show(this.empty, count() ? h("p", {}, "No request is like that.") : welcome());
    this.list.set(found);
  }

  press(key) {
    if (key === "/") this.search.focus();
    else if (key === "j" || key === "k") { this.list.element.focus(); this.list.move(key === "j" ? 1 : -1); }
    else if (key === "v") { this.wrong.checked = !this.wrong.checked; this.change("wrong", this.wrong.checked); }
    else if (key === "Enter" && this.list.chosen !== null) this.go(`requests/${this.list.chosen}`);
    else if (key === "Escape") this.go("requests");
    else return false;
    return true;
  }
}

function welcome() {
  if (!remembers()) return h("h2", {}, "The journal remembers no requests (--journal 0)");
  return [h("h2", {}, "Nobody has asked for anything yet"),
    h("p", {}, "Requests appear here as they come. Send one from your client, paste the curl that the terminal shows, or ",
      h("a", { href: "#scenarios" }, "try an operation from this page"), ".")];
}

function cells(item) {
  const { stream } = item;
  return [
    h("span", { class: `status ${statusClass(item.status)}` }, item.status ?? "..."),
    h("span", { class: "method" }, item.method),
    h("span", { class: "what" }, item.operation ?? item.path),
    h("span", { class: "scenario" }, [item.scenario ?? "", ...item.faults.map((fault) => `fault ${fault}`)].filter(Boolean).join(", ")),
    h("span", { class: "world" }, item.world ?? ""),
    h("span", { class: "marks" },
      item.violations > 0 && h("b", { class: "mark bad", title: "what the contract forbids" }, `${item.violations} forbidden`),
      item.failure && h("b", { class: "mark bad", title: item.failure }, "failed"),
      item.hints > 0 && h("b", { class: "mark hint", title: "hints" }, item.hints === 1 ? "hint" : `${item.hints} hints`),
      stream && h("b", { class: `mark stream ${stream.ended ?? "running"}`, title: stream.ended ?? "running" }, `${stream.pieces} ${stream.ended ? ENDINGS[stream.ended] ?? "" : "▸"}`)),
    h("span", { class: "took" }, duration(item.duration_ms)),
    h("time", {}, clock(item.at)),
    h("span", { class: "number" }, `#${item.number}`),
  ];
}
