// What happens, as it happens, of all routers and controllers.

import { attribute, h, hidden, sign, text } from "./dom.js";
import { clock, whole } from "./format.js";
import { GROUPS, group, level, sentence } from "./happenings.js";
import { VirtualList } from "./list.js";
import { store } from "./store.js";

const COLUMNS = [
  { name: "time", label: "Time" },
  { name: "what", label: "What" },
  { name: "about", label: "Key" },
  { name: "kind", label: "Kind" },
  { name: "origin", label: "Told by" },
];

export function events() {
  const chosen = new Set(["change", "problem"]);
  let paused = null, known = new Map();
  const filter = h("input", { type: "search", placeholder: "Text, key, container or kind", autocomplete: "off", spellcheck: "false", oninput: () => show() });
  const total = h("span", { class: "count" });
  const buttons = Object.entries(GROUPS).map(([name, label]) => h("button", { type: "button", "aria-pressed": String(chosen.has(name)), onclick: ({ currentTarget }) => {
    if (!chosen.delete(name)) chosen.add(name);
    attribute(currentTarget, "aria-pressed", String(chosen.has(name)));
    show();
  } }, label));
  const hold = h("button", { type: "button", class: "hold", "aria-pressed": "false", onclick: () => {
    paused = paused ? null : [...store.events];
    attribute(hold, "aria-pressed", String(Boolean(paused)));
    show();
  } }, "Hold");
  const list = new VirtualList({ label: "Events, the newest first", name: "events", columns: COLUMNS, height: { wide: 36, narrow: 66 }, make, show: (parts, number, element) => showRow(parts, known.get(number), element) });
  const element = h("div", { class: "of-events" },
    h("div", { class: "view-head" }, h("h1", {}, "Events"), h("p", {}, "What changed just before?")),
    h("div", { class: "list-head" }, h("div", { class: "choices", role: "group", "aria-label": "Which" }, buttons), hold, total, h("label", { class: "filter" }, hidden("Filter events"), filter)),
    list.element);
  const show = () => {
    const wanted = filter.value.trim().toLowerCase();
    const rows = (paused ?? store.events).filter((event) => chosen.has(group(event)) && (!wanted || matches(event, wanted)));
    rows.sort((one, other) => other.time - one.time || other.number - one.number);
    text(total, whole(rows.length));
    known = new Map(rows.map((event) => [event.number, event]));
    list.update([...known.keys()], !store.complete ? "Asking…" : "No such event.");
  };
  return { element, title: "Events", query: { view: "events" }, update: show, close: () => list.close() };
}

function make(element) {
  const mark = sign("ok"), time = h("div", { role: "cell", class: "cell cell-time mono" }), words = h("span", { class: "what" });
  const key = h("a"), kind = h("div", { role: "cell", class: "cell cell-kind mono" }), origin = h("div", { role: "cell", class: "cell cell-origin" });
  element.append(time, h("div", { role: "cell", class: "cell cell-what" }, mark, words), h("div", { role: "cell", class: "cell cell-about" }, key), kind, origin);
  return { mark, time, words, key, kind, origin };
}

const matches = (event, wanted) => `${event.kind} ${event.text ?? ""} ${event.key ?? ""} ${event.node ?? ""} ${event.container ?? ""} ${event.origin}`.toLowerCase().includes(wanted);

function showRow(parts, event, element) {
  element.className = `row level-${level(event)}`;
  parts.mark.show(level(event));
  text(parts.time, clock(event.time));
  text(parts.words, sentence(event));
  attribute(parts.words, "title", sentence(event));
  text(parts.key, event.key);
  parts.key.hidden = !event.key;
  attribute(parts.key, "href", event.key ? `#/key/${encodeURIComponent(event.key)}` : null);
  text(parts.kind, event.kind);
  text(parts.origin, event.origin);
}
