// Elements from values. Whatever came from elsewhere becomes a text node here, and never markup.

const SVG = "http://www.w3.org/2000/svg";

/** Return a text in which control characters and directions of writing can be seen instead of being obeyed. */
export function printable(text) {
  return String(text).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (found) => (found < " " ? String.fromCharCode(0x2400 + found.charCodeAt(0)) : `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`));
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(printable(child)));
  }
  return element;
}

/** Return an element: `h("a", {href: "#x"}, "text", other)`. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Return an element of a drawing. */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Return a button that says while it works that it does, and what went wrong. */
export function button(label, work, attributes) {
  const element = h("button", { type: "button", ...attributes }, label);
  element.addEventListener("click", async (event) => {
    event.stopPropagation();
    element.disabled = true;
    try {
      await work(element);
    } catch (error) {
      complain(error);
    } finally {
      element.disabled = false;
    }
  });
  return element;
}

/** Return a button whose work cannot be undone: it asks once more. */
export function confirmed(label, question, work, attributes) {
  let armed = 0;
  return button(label, async (element) => {
    if (!armed) {
      element.textContent = question;
      element.classList.add("danger");
      armed = setTimeout(() => { armed = 0; element.textContent = label; element.classList.remove("danger"); }, 4000);
      return;
    }
    clearTimeout(armed);
    armed = 0;
    element.textContent = label;
    element.classList.remove("danger");
    await work(element);
  }, attributes);
}

let note = null;

/** Show what went wrong, or what was done, for a while. */
export function say(text, kind = "done") {
  note?.remove();
  const shown = h("p", { class: `note ${kind}`, role: kind === "wrong" ? "alert" : "status" }, text);
  note = shown;
  document.body.append(shown);
  setTimeout(() => shown.remove(), kind === "wrong" ? 9000 : 3500);
}

export function complain(error) {
  say(error.message ?? String(error), "wrong");
}

/** Replace what an element contains. */
export function show(element, ...children) {
  element.replaceChildren();
  return fill(element, {}, children);
}

const loads = new WeakMap(); // element -> what it waits for last

/** Show in an element that something is being loaded, then what is drawn of it; or why not, and a button to try again. */
export async function load(element, what, work, draw) {
  const mine = {};
  loads.set(element, mine);
  show(element, h("p", { class: "empty loading", role: "status" }, `Loading ${what || ""} ...`.replace(/ {2,}/, " ")));
  try {
    const found = await work();
    if (loads.get(element) === mine) draw(found);
  } catch (error) {
    if (loads.get(element) !== mine) return;
    show(element, h("div", { class: "empty" }, h("p", { class: "wrong", role: "alert" }, error.message),
      h("p", {}, button("Try again", async () => { load(element, what, work, draw); }))));
  }
}

/** Return JSON in lines, or the text itself where it is none. */
export function pretty(text) {
  if (typeof text !== "string") return JSON.stringify(text, null, 2);
  if (text.length > 200_000) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const MOST = 20_000;

/** Return a block of text that is shown in part where it is long, and can be copied. */
export function code(text, label = "") {
  const whole = String(text);
  const element = h("pre", { tabindex: "0", "aria-label": label }, whole.slice(0, MOST));
  if (whole.length > MOST) {
    const rest = h("button", { type: "button", class: "plain" }, `... and ${whole.length - MOST} more characters`);
    rest.addEventListener("click", () => { element.textContent = printable(whole); });
    element.append(rest);
  }
  return element;
}

export function bytes(count) {
  return count < 1024 ? `${count} B` : count < 1048576 ? `${(count / 1024).toFixed(1)} kB` : `${(count / 1048576).toFixed(1)} MB`;
}

/** Return a number of things: `1 event`, `2 events`. */
export function counted(count, thing) {
  return `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;
}

export function duration(ms) {
  if (ms === null || ms === undefined) return "";
  return ms < 1000 ? `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString([], { hour12: false });
}
