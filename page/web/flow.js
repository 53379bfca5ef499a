// The picture: nginx → routers → keys → containers.  The more requests go along a line, the thicker and faster it is;
// errors make it red, and broken for people who cannot see red.

import { attribute, h, motion, s, sign, text } from "./dom.js";
import { count, levelOfShare, number } from "./format.js";

const GAP = { router: 44, key: 40, node: 22 };
const BOX = { nginx: 46, router: 36, key: 32, node: 20 };

export function flowPicture() {
  const lines = s("svg", { class: "flow-lines", "aria-hidden": "true" });
  const boxes = h("div", { class: "flow-boxes" });
  const element = h("div", { class: "flow", role: "group", "aria-label": "The way of requests: nginx, routers, keys, containers" }, lines, boxes);
  const drawnBoxes = new Map(), drawnLines = new Map();
  let flow = null, width = 0, height = 0, visible = true;

  const draw = () => {
    if (!flow || !width) return;
    const places = arrange(flow, width, height);
    reconcile(drawnBoxes, places.boxes, (box) => newBox(box, boxes), (drawn) => drawn.element.remove());
    for (const box of places.boxes.values()) showBox(drawnBoxes.get(box.id), box);
    reconcile(drawnLines, places.lines, () => newLine(lines), (drawn) => drawn.element.remove());
    for (const [id, line] of places.lines) showLine(drawnLines.get(id), line);
    attribute(lines, "viewBox", `0 0 ${width} ${height}`);
    move();
  };
  const move = () => {
    const moves = motion.matches && visible && !document.querySelector(".old");
    for (const line of drawnLines.values()) setMotion(line, moves);
  };
  new ResizeObserver(([entry]) => {
    width = Math.round(entry.contentRect.width);
    height = Math.round(entry.contentRect.height);
    draw();
  }).observe(element);
  new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
    move();
  }).observe(element);
  motion.addEventListener("change", move);
  return {
    element,
    show(now) {
      flow = now;
      draw();
    },
    move,
  };
}

function reconcile(drawn, wanted, make, remove) {
  for (const [id, element] of drawn) if (!wanted.has(id)) {
    remove(element);
    drawn.delete(id);
  }
  for (const [id, place] of wanted) if (!drawn.has(id)) drawn.set(id, make(place));
}

/** Where everything is; pure. */
function arrange(flow, width, height) {
  const compact = width < 560;
  const columns = compact ? [0, 0.21, 0.43, 0.75] : [0, 0.145, 0.42, 0.74];
  const widths = compact ? [0.16, 0.17, 0.26, 0.25] : [0.09, 0.2, 0.24, 0.26];
  const box = (column, y, kind, rest) => ({ x: Math.round(columns[column] * width), y, w: Math.round(widths[column] * width), h: BOX[kind], kind, ...rest });
  const boxes = new Map(), lines = new Map();
  const add = (place) => boxes.set(place.id, place);

  const keys = flow.keys.map((key) => ({ ...key, nodes: flow.nodes.filter((node) => node.key === key.key) }));
  const rows = keys.map((key) => Math.max(key.nodes.length * GAP.node, GAP.key));
  const more = flow.more.keys > 0;
  const needed = rows.reduce((sum, row) => sum + row, 0) + (more ? GAP.key : 0);
  const scale = Math.min(1.7, height / Math.max(needed, 1));
  let y = (height - needed * scale) / 2;
  keys.forEach((key, at) => {
    const room = rows[at] * scale, middle = y + room / 2;
    add(box(2, middle, "key", { id: `key ${key.key}`, label: key.key, value: key.rate, level: key.level, waiting: key.waiting, href: `#/key/${encodeURIComponent(key.key)}` }));
    key.nodes.forEach((node, place) => {
      const id = `node ${key.key} ${node.address ?? "rest"}`;
      const at = middle + (place - (key.nodes.length - 1) / 2) * GAP.node * scale;
      const label = node.count ? `${count(node.count, "more", "more")}` : node.name;
      add(box(3, at, "node", { id, label, value: node.rate, level: node.level, rest: Boolean(node.count), state: node.state }));
      lines.set(`${key.key} → ${id}`, { from: `key ${key.key}`, to: id, rate: node.rate, errors: node.errors, off: node.level === "off" });
    });
    if (!key.nodes.length) {
      const id = `nobody ${key.key}`;
      add(box(3, middle, "node", { id, label: "nobody", value: null, level: key.level, ghost: true }));
      lines.set(id, { from: `key ${key.key}`, to: id, rate: 0, errors: 0, down: true });
    }
    y += room;
  });
  if (more) add(box(2, y + (GAP.key * scale) / 2, "key", { id: "key", label: count(flow.more.keys, "more key", "more keys"), value: flow.nginx ? null : flow.more.rate, level: "ok", rest: true, href: "#/?keys" }));

  const middle = height / 2;
  add(box(0, middle, "nginx", { id: "nginx", label: "nginx", level: "ok", value: null }));
  const targets = [...keys, ...(more ? [{ key: "", ...flow.more, rate: flow.more.rate }] : [])];
  if (flow.nginx) {
    for (const key of targets) lines.set(`nginx → ${key.key}`, { from: "nginx", to: key.key ? `key ${key.key}` : "key", rate: null, errors: 0 });
  }
  flow.routers.forEach((router, at) => {
    const total = Object.values(router.rates).reduce((sum, rate) => sum + (rate ?? 0), 0);
    const id = `router ${router.name}`;
    const gap = Math.max(BOX.router + 10, Math.min(140, height / (flow.routers.length + 1)));
    add(box(1, middle + (at - (flow.routers.length - 1) / 2) * gap, "router", { id, label: router.name, level: router.level, value: total, href: "#/routers" }));
    const lost = router.level !== "ok";
    lines.set(`nginx → ${id}`, { from: "nginx", to: id, rate: total, errors: 0, lost });
    for (const key of targets) {
      const share = key.rate ? (router.rates[key.key] ?? 0) / key.rate : 0;
      lines.set(`${id} → ${key.key}`, { from: id, to: key.key ? `key ${key.key}` : "key", rate: router.rates[key.key] ?? 0, errors: (key.errors ?? 0) * Math.min(1, share), down: key.level === "bad", lost });
    }
  });
  for (const line of lines.values()) Object.assign(line, ends(boxes.get(line.from), boxes.get(line.to)));
  return { boxes, lines };
}

function ends(from, to) {
  const x1 = from.x + from.w, x2 = to.x, bend = (x2 - x1) / 2;
  return { d: `M${x1} ${from.y.toFixed(1)}C${x1 + bend} ${from.y.toFixed(1)} ${x2 - bend} ${to.y.toFixed(1)} ${x2} ${to.y.toFixed(1)}` };
}

function newBox(box, parent) {
  const mark = sign(box.level), label = h("span", { class: "flow-label" }), value = h("span", { class: "flow-value" });
  const element = h(box.href ? "a" : "div", { class: "flow-box" }, mark, label, value);
  parent.append(element);
  return { element, mark, label, value };
}

function showBox(drawn, box) {
  const { element, mark, label, value } = drawn;
  attribute(element, "href", box.href);
  attribute(element, "title", box.state && box.state !== "ready" ? `${box.label}: ${box.state}` : box.label);
  element.className = `flow-box flow-${box.kind} level-${box.level}${box.rest ? " flow-rest" : ""}${box.ghost ? " flow-ghost" : ""}`;
  element.style.transform = `translate(${box.x}px, ${(box.y - box.h / 2).toFixed(1)}px)`;
  element.style.width = `${box.w}px`;
  element.style.height = `${box.h}px`;
  mark.show(box.level);
  text(label, box.label);
  text(value, box.waiting ? `${number(box.waiting)} wait` : box.value === null || box.value === undefined ? "" : `${number(box.value)}/s`);
}

function newLine(parent) {
  const wire = s("path", { class: "wire" }), traffic = s("path", { class: "traffic" });
  const element = s("g", {}, wire, traffic);
  parent.append(element);
  return { element, wire, traffic, animation: null, speed: 0 };
}

function showLine(drawn, line) {
  const rate = line.rate ?? 0, share = rate > 0 ? Math.min(1, (line.errors ?? 0) / rate) : line.errors > 0 ? 1 : 0;
  const state = line.lost ? "lost" : line.down ? "bad" : levelOfShare(share) ?? (line.off ? "off" : "ok");
  attribute(drawn.element, "class", `flow-line flow-line-${state}${rate > 0 ? " flow-busy" : ""}`);
  for (const path of [drawn.wire, drawn.traffic]) attribute(path, "d", line.d);
  const thick = 1.25 + Math.min(5, Math.log2(1 + rate) * 0.75);
  drawn.wire.style.strokeWidth = `${thick.toFixed(2)}px`;
  drawn.traffic.style.strokeWidth = `${Math.max(1.5, thick * 0.62).toFixed(2)}px`;
  drawn.speed = rate > 0 && state !== "lost" ? 0.35 + Math.min(2.4, Math.log2(1 + rate) * 0.28) : 0;
}

/** The dashes move as fast as requests come; a change of speed does not let them jump. */
function setMotion(line, moves) {
  if (!moves || !line.speed) {
    line.animation?.pause();
    return;
  }
  line.animation ??= line.traffic.animate([{ strokeDashoffset: 0 }, { strokeDashoffset: -48 }], { duration: 1600, iterations: Infinity });
  if (line.animation.playState === "paused") line.animation.play();
  if (Math.abs(line.animation.playbackRate - line.speed) > 0.02) line.animation.updatePlaybackRate(line.speed);
}
