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

/** What an event is about: a container, a node, a key, or else the program that told it. */
export const subject = (event) => event.container || event.node || event.key || event.origin;

/** An event as one sentence, without its subject's key. */
export function sentence(event) {
  const [, verb] = KINDS[event.kind] ?? ["", event.kind];
  if (event.kind.startsWith("node-")) return `${event.container || event.node} ${verb}${detail(event)}`;
  const [, , state, reason] = (event.kind === "state" && /^(\w+) -> (\w+)(?:: ([^]*))?$/.exec(event.text ?? "")) || [];
  if (state) return `${event.container} is ${state === "gone" ? "gone" : `${state}${reason ? `: ${reason}` : ""}`}`;
  return event.text ? `${verb}: ${event.container ? `${event.container}: ` : ""}${event.text}` : verb;
}

function detail(event) {
  if (!event.text || event.kind === "node-new") return "";
  return ` (${event.text})`;
}

/** Seconds within which equal events of several nodes of a key become one line. */
const GROUP_SECONDS = 15;

/**
 * What changed, the newest first, at most `most` lines: nodes that join together share a line, and so do the events
 * by which several routers tell the same of a node.  A node that leaves and joins again has two lines.  Of each line:
 * the `event` that is shown, the time of its last one (`last`), and by subject the programs that told it (`origins`).
 */
export function changes(events, most) {
  const groups = [], open = new Map(), newest = new Map();
  for (const event of events) {
    if (!isChange(event)) continue;
    const node = event.kind.startsWith("node-"), key = event.key ?? "", about = event.node || subject(event);
    const id = `${event.kind} ${key} ${node ? "" : `${event.container ?? ""} ${event.text ?? ""}`}`;
    let change = open.get(id);
    const origins = change?.origins.get(about);
    const isEcho = origins && !origins.has(event.origin);
    if (!change || event.time - change.last > GROUP_SECONDS || !(isEcho || (newest.get(key) === change && !origins))) {
      change = { id: `${id} ${event.number}`, event, last: event.time, origins: new Map() };
      groups.push(change);
      open.set(id, change);
      newest.set(key, change);
    }
    change.last = Math.max(change.last, event.time);
    // An event that names the container of the node is the better one to show.
    if (event.container && !change.event.container && event.node === change.event.node) change.event = event;
    change.origins.set(about, (change.origins.get(about) ?? new Set()).add(event.origin));
  }
  return groups.slice(-most).reverse();
}

/** Whether an event is a change of its own: what controller and routers both tell is shown once. */
function isChange(event) {
  if (event.kind === "state") return ["error", "unhealthy", "stopped", "paused"].includes(stateOf(event));
  if (event.kind === "source" && (event.text ?? "").includes("in charge")) return false;
  return ["change", "problem"].includes(group(event)) && event.kind !== "pool-new";
}

/** A line of `changes` as one sentence. */
export function changeSentence(change) {
  const [, , plural] = KINDS[change.event.kind] ?? ["", "", ""];
  if (change.origins.size > 1 && plural) return `${change.origins.size} ${plural}`;
  return sentence(change.event);
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
      const ids = new Set(groups.map((change) => change.id));
      for (const [id, line] of lines) if (!ids.has(id)) {
        line.element.remove();
        lines.delete(id);
      }
      groups.forEach((change, place) => {
        let line = lines.get(change.id);
        if (!line) lines.set(change.id, (line = newLine(change)));
        text(line.words, changeSentence(change));
        text(line.when, age(at - change.last));
        if (list.children[place] !== line.element) list.insertBefore(line.element, list.children[place] ?? null);
      });
    },
  };
}

function newLine({ event }) {
  const words = h("span", { class: "what" }), when = h("span", { class: "when", title: clock(event.time) });
  const key = event.key ? h("a", { class: "about", href: `#/key/${encodeURIComponent(event.key)}` }, event.key) : null;
  return { words, when, element: h("li", {}, sign(level(event)), h("span", { class: "change" }, words, key), when) };
}

