// The page: its views, its keys, where it is, and what it does when the mock asks for a token.

import { follow, onToken } from "./api.js";
import { Contract } from "./contract.js";
import { h } from "./dom.js";
import { take } from "./exchanges.js";
import { Health } from "./health.js";
import { Requests } from "./requests.js";
import { Scenarios } from "./scenarios.js";
import { Streams } from "./streams.js";
import { Worlds } from "./worlds.js";

const main = document.getElementById("main");
const state = document.getElementById("state");
const keys = document.getElementById("keys");
const context = { go: (place) => { location.hash = place; } };
const VIEWS = {
  requests: ["Requests", Requests], streams: ["Streams", Streams], scenarios: ["Scenarios", Scenarios],
  worlds: ["Worlds", Worlds], health: ["Health", Health], contract: ["Contract", Contract],
};
const made = {};
let current = null;

const tabs = document.getElementById("tabs");
Object.entries(VIEWS).forEach(([name, [label]], place) => {
  tabs.append(h("a", { href: `#${name}`, "data-view": name, title: `Key ${place + 1}` }, label));
});

function show() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  const view = Object.hasOwn(VIEWS, name) ? name : "requests";
  made[view] ??= new VIEWS[view][1](context);
  if (current !== view) {
    if (current) made[current].leave();
    current = view;
    main.replaceChildren(made[view].element);
    document.title = `${VIEWS[view][0]} · flowcontract mock`;
    for (const tab of tabs.children) {
      if (tab.dataset.view === view) tab.setAttribute("aria-current", "page");
      else tab.removeAttribute("aria-current");
    }
    tabs.querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  made[view].enter(rest.join("/"));
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input, textarea, select");
  if (typing && event.key === "Escape") event.target.blur();
  if (typing) return;
  const place = Number(event.key);
  if (event.key === "?") keys.showModal();
  else if (place >= 1 && place <= 6) context.go(Object.keys(VIEWS)[place - 1]);
  else if (event.target.matches("button, a, summary") && event.key === "Enter") return;
  else if (!made[current].press?.(event.key)) return;
  event.preventDefault();
}

function askForToken(wrong) {
  const dialog = document.getElementById("token");
  const input = dialog.querySelector("input");
  dialog.querySelector(".wrong").textContent = wrong ? "That is not the token." : "";
  input.value = "";
  state.textContent = "locked";
  dialog.addEventListener("cancel", (event) => event.preventDefault(), { once: true });
  if (!dialog.open) dialog.showModal();
  return new Promise((done) => {
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      const { value } = input;
      input.value = "";
      dialog.close();
      done(value);
    }, { once: true });
  });
}

onToken(askForToken);
document.getElementById("help").addEventListener("click", () => keys.showModal());
document.addEventListener("keydown", press);
addEventListener("hashchange", show);
follow(take, (now) => { state.textContent = now; state.dataset.state = now; });
show();
