// The exchanges that the page knows: what the events told of each, and which of them a filter lets through.

const MOST = 50_000;
const HIDDEN_MS = 200; // how often it is told to a page that nobody sees
const REST = 4; // how much longer than it takes to draw what is new nothing is drawn, so that one can scroll meanwhile
const rows = new Map(); // number -> row, the oldest first
const watchers = new Set();
let waiting = false;
let pause = 0; // milliseconds until watchers are told again
let dropped = 0;
let remembered = null;

/** Take an event of the mock. */
export function take(kind, content) {
  if (kind === "hello") {
    remembered = content.remembered;
    if (!content.resumed) { rows.clear(); dropped = 0; }
  } else if (kind === "exchange") {
    rows.set(content.number, content);
    if (rows.size > MOST) { rows.delete(rows.keys().next().value); dropped += 1; }
  }
  wake(content);
}

/** Call `call` at most once per frame when something has changed; return what ends that. */
export function watch(call) {
  watchers.add(call);
  return () => watchers.delete(call);
}

function wake() {
  if (waiting) return;
  waiting = true;
  const tell = () => {
    const begun = performance.now();
    waiting = false;
    for (const call of watchers) call();
    pause = (performance.now() - begun) * REST;
  };
  setTimeout(() => { document.hidden ? tell() : requestAnimationFrame(tell); }, document.hidden ? HIDDEN_MS : pause);
}

export function row(number) {
  return rows.get(number);
}

/** Tell whether the journal remembers requests, so that the page can show some. */
export function remembers() {
  return remembered !== 0;
}

export function count() {
  return rows.size + dropped;
}

/** Return the rows that a filter lets through, the newest first. */
export function find({ text = "", world = "", status = "", wrong = false, streams = false } = {}) {
  const found = [];
  const wanted = text.toLowerCase();
  for (const each of rows.values()) {
    if (wrong && !each.violations && !each.failure) continue;
    if (streams && !each.stream) continue;
    if (world && each.world !== world) continue;
    if (status && !String(each.status ?? "").startsWith(status)) continue;
    if (wanted && !`${each.operation ?? ""} ${each.path} ${each.scenario ?? ""} ${each.world ?? ""} ${each.method}`.toLowerCase().includes(wanted)) continue;
    found.push(each);
  }
  return found.sort((a, b) => b.number - a.number);
}

/** Return the names of the worlds that were asked. */
export function worlds() {
  const names = new Set();
  for (const each of rows.values()) if (each.world) names.add(each.world);
  return [...names].sort();
}
