// Events in words.

import { h, sign, text } from "./dom.js";
import { age, clock } from "./format.js";
import { now } from "./store.js";

// Kind: level, what happened to one node, to several, and the group by which it can be filtered.
const KINDS = {
  "pool-new": ["ok", "New key", "keys", "change"],
  "pool-forgotten": ["off", "Key forgotten", "keys", "change"],
  "node-new": ["ok", "joined", "nodes joined", "change"],
  "node-removed": ["off", "left", "nodes left", "change"],
  "node-changed": ["off", "changed", "nodes changed", "change"],
  "node-ejected": ["bad", "was ejected", "nodes were ejected", "problem"],
  "node-recovered": ["ok", "is back", "nodes are back", "change"],
  "node-refused": ["warn", "was refused", "nodes were refused", "problem"],
  "key-paused": ["warn", "Paused", "", "change"],
  "key-maintenance": ["warn", "In maintenance", "", "change"],
  "key-resumed": ["ok", "Resumed", "", "change"],
  "key-disputed": ["warn", "Settings disputed", "", "problem"],
  "queue-full": ["bad", "Queue full", "", "problem"],
  source: ["ok", "Controller", "", "change"],
  stale: ["warn", "Controller silent", "", "problem"],
  "subscription-refused": ["warn", "Announcement refused", "announcements refused", "problem"],
  "subscriptions-dropped": ["warn", "Announcements dropped", "", "problem"],
  "relay-lagged": ["warn", "Relay lagged", "", "problem"],
  state: ["off", "Container", "", "change"],
  operator: ["warn", "Operator", "", "change"],
  configuration: ["off", "Configuration", "", "change"],
  static: ["off", "Static nodes", "", "change"],
  reload: ["ok", "nginx reloaded", "", "change"],
  nginx: ["warn", "nginx", "", "change"],
  docker: ["off", "Docker", "", "change"],
  drift: ["warn", "Drift", "", "problem"],
  warning: ["warn", "Warning", "", "problem"],
  event: ["off", "Docker event", "", "docker"],
  route: ["off", "Route", "", "detail"],
  packet: ["off", "Packet", "", "detail"],
  ack: ["off", "Ack", "", "detail"],
  probe: ["off", "Probe", "", "detail"],
};
const STATES = { ready: "ok", error: "bad", unhealthy: "bad", paused: "warn" };

export const GROUPS = { change: "Changes", problem: "Problems", docker: "Docker events", detail: "Details" };

/** The state that a container came into. */
const stateOf = (event) => (event.kind === "state" ? /-> (\w+)/.exec(event.text ?? "")?.[1] : undefined);

export function level(event) {
  return (event.kind === "state" && STATES[stateOf(event)]) || (KINDS[event.kind] ?? ["off"])[0];
}

export const group = (event) => (KINDS[event.kind] ?? ["", "", "", "detail"])[3];

/** What is called what: the container, the node, or the key that an event is about. */
export const subject = (event) => event.container || event.node || event.key || event.origin;

/** An event as one sentence, without its subject's key. */
export function sentence(event) {
  const [, one] = KINDS[event.kind] ?? ["", event.kind];
  if (event.kind.startsWith("node-")) return `${event.container || event.node} ${one}${detail(event)}`;
  const [, , became, reason] = (event.kind === "state" && /^(\w+) -> (\w+)(?:: ([^]*))?$/.exec(event.text ?? "")) || [];
  if (became) return `${event.container} is ${became === "gone" ? "gone" : `${became}${reason ? `: ${reason}` : ""}`}`;
  return event.text ? `${one}: ${event.container ? `${event.container}: ` : ""}${event.text}` : one;
}

function detail(event) {
  if (!event.text || event.kind === "node-new") return "";
  return ` (${event.text})`;
}

/** Seconds within which the same that happens to several nodes of a key is one line. */
const TOGETHER = 15;

/**
 * What changed, the newest first, at most `most` lines: several nodes that join together are one, and so is what
 * several routers tell of one node.  Who leaves and joins again has two.
 */
export function changes(events, most) {
  const groups = [], open = new Map(), newest = new Map();
  for (const event of events) {
    if (!tells(event)) continue;
    const node = event.kind.startsWith("node-"), key = event.key ?? "", who = event.node || subject(event);
    const id = `${event.kind} ${key} ${node ? "" : `${event.container ?? ""} ${event.text ?? ""}`}`;
    let one = open.get(id);
    const heard = one?.heard.get(who);
    const again = heard && !heard.has(event.origin);
    if (!one || event.time - one.last > TOGETHER || !(again || (newest.get(key) === one && !heard))) {
      one = { id: `${id} ${event.number}`, event, last: event.time, heard: new Map() };
      groups.push(one);
      open.set(id, one);
      newest.set(key, one);
    }
    one.last = Math.max(one.last, event.time);
    // The one that calls a node by its container is the one to show.
    if (event.container && !one.event.container && event.node === one.event.node) one.event = event;
    one.heard.set(who, (one.heard.get(who) ?? new Set()).add(event.origin));
  }
  return groups.slice(-most).reverse();
}

/** Whether an event is a change of its own: of what controller and routers both tell, one is enough. */
function tells(event) {
  if (event.kind === "state") return ["error", "unhealthy", "stopped", "paused"].includes(stateOf(event));
  if (event.kind === "source" && (event.text ?? "").includes("in charge")) return false;
  return ["change", "problem"].includes(group(event)) && event.kind !== "pool-new";
}

/** A group of `changes` as one sentence. */
export function told(one) {
  const [, , several] = KINDS[one.event.kind] ?? ["", "", ""];
  if (one.heard.size > 1 && several) return `${one.heard.size} ${several}`;
  return sentence(one.event);
}

/** A list of changes, which knows how to show others. */
export function changeList(most, label, nothing) {
  const list = h("ol", { class: "changes", "aria-label": label }), empty = h("p", { class: "nothing" }, nothing);
  const lines = new Map();
  return {
    element: h("div", {}, list, empty),
    show(events) {
      const groups = changes(events, most), at = now();
      empty.hidden = groups.length > 0;
      list.hidden = groups.length === 0;
      const ids = new Set(groups.map((one) => one.id));
      for (const [id, line] of lines) if (!ids.has(id)) {
        line.element.remove();
        lines.delete(id);
      }
      groups.forEach((one, place) => {
        let line = lines.get(one.id);
        if (!line) lines.set(one.id, (line = newLine(one)));
        text(line.what, told(one));
        text(line.when, age(at - one.last));
        if (list.children[place] !== line.element) list.insertBefore(line.element, list.children[place] ?? null);
      });
    },
  };
}

function newLine(one) {
  const { event } = one, what = h("span", { class: "what" }), when = h("span", { class: "when", title: clock(event.time) });
  const key = event.key ? h("a", { class: "about", href: `#/key/${encodeURIComponent(event.key)}` }, event.key) : null;
  return { what, when, element: h("li", {}, sign(level(event)), h("span", { class: "change" }, what, key), when) };
}

