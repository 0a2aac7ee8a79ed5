// An order of events as a railroad diagram: whichever way a train can go is an order that is allowed.

import { s } from "./dom.js";

const GAP = 14;
const TRACK = 24; // from one line to the next
const BOX = 24;
const LETTER = 7.3;

/** Return a drawing of a tree: `{kind, guard}`, `{series}`, `{choice}`, `{repeat, optional, many}`. */
export function railroad(tree, label) {
  const part = lay(tree);
  const width = part.width + 2 * GAP + 24;
  const height = part.up + part.down + 12;
  const y = part.up + 6;
  const drawing = s("svg", { class: "railroad", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  drawing.append(s("circle", { class: "stop", cx: 8, cy: y, r: 5 }), line(13, y, GAP + 12, y));
  part.draw(drawing, GAP + 12, y);
  drawing.append(line(GAP + 12 + part.width, y, width - 13, y), s("circle", { class: "stop", cx: width - 8, cy: y, r: 5 }));
  return drawing;
}

function lay(node) {
  if ("kind" in node) return box(node);
  if ("series" in node) return series(node.series.map(lay));
  if ("choice" in node) return choice(node.choice.map(lay));
  const inner = lay(node.repeat);
  const looped = node.many ? loop(inner) : inner;
  return node.optional ? choice([empty(), looped]) : looped;
}

function line(x1, y1, x2, y2) {
  return s("path", { class: "track", d: `M${x1} ${y1}L${x2} ${y2}` });
}

/** A line that changes its height between two points. */
function bend(x1, y1, x2, y2) {
  const middle = (x1 + x2) / 2;
  return s("path", { class: "track", d: `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}` });
}

function empty() {
  return { width: 20, up: 4, down: 4, draw: (drawing, x, y) => drawing.append(line(x, y, x + 20, y)) };
}

function box({ kind, guard }) {
  const width = Math.max(kind.length * LETTER, guard.length * 5.6) + 20;
  const below = guard ? 16 : 0;
  return {
    width, up: BOX / 2 + 2, down: BOX / 2 + 2 + below,
    draw(drawing, x, y) {
      drawing.append(
        s("rect", { class: "box", x, y: y - BOX / 2, width, height: BOX, rx: 8 }),
        s("text", { class: "kind", x: x + width / 2, y: y + 4.5, "text-anchor": "middle" }, kind));
      if (guard) drawing.append(s("text", { class: "guard", x: x + width / 2, y: y + BOX / 2 + 12, "text-anchor": "middle" }, guard));
    },
  };
}

function series(parts) {
  return {
    width: parts.reduce((sum, part) => sum + part.width, 0) + GAP * (parts.length - 1),
    up: Math.max(...parts.map((part) => part.up)), down: Math.max(...parts.map((part) => part.down)),
    draw(drawing, x, y) {
      let at = x;
      parts.forEach((part, place) => {
        part.draw(drawing, at, y);
        at += part.width;
        if (place < parts.length - 1) drawing.append(line(at, y, at + GAP, y));
        at += GAP;
      });
    },
  };
}

function choice(parts) {
  const inner = Math.max(...parts.map((part) => part.width));
  const places = [];
  let y = 0;
  parts.forEach((part, place) => {
    if (place) y += parts[place - 1].down + part.up + 6;
    places.push(y);
  });
  return {
    width: inner + 2 * TRACK, up: parts[0].up, down: places.at(-1) + parts.at(-1).down,
    draw(drawing, x, top) {
      parts.forEach((part, place) => {
        const at = top + places[place];
        const begin = x + TRACK;
        drawing.append(place ? bend(x, top, begin, at) : line(x, top, begin, top));
        part.draw(drawing, begin, at);
        drawing.append(line(begin + part.width, at, begin + inner, at));
        drawing.append(place ? bend(begin + inner, at, begin + inner + TRACK, top) : line(begin + inner, at, begin + inner + TRACK, top));
      });
    },
  };
}

function loop(part) {
  const width = part.width + 2 * TRACK;
  return {
    width, up: part.up + 14, down: part.down,
    draw(drawing, x, y) {
      const above = y - part.up - 6;
      drawing.append(line(x, y, x + TRACK, y));
      part.draw(drawing, x + TRACK, y);
      const end = x + TRACK + part.width;
      drawing.append(line(end, y, x + width, y),
        s("path", { class: "track back", d: `M${end} ${y}C${end + 20} ${y} ${end + 20} ${above} ${end} ${above}L${x + TRACK} ${above}C${x + TRACK - 20} ${above} ${x + TRACK - 20} ${y} ${x + TRACK} ${y}` }),
        s("path", { class: "arrow", d: `M${x + width / 2 + 4} ${above - 4}l-7 4 7 4z` }));
    },
  };
}
