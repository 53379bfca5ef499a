// Every labelled container, and every worker that announced itself: its state, and why it gets no traffic.

import { attribute, h, hidden, sign, text } from "./dom.js";
import { age, number, whole } from "./format.js";
import { VirtualList, byName, remembered } from "./list.js";
import { now, store } from "./store.js";

const COLUMNS = [
  { name: "name", label: "Container" },
  { name: "why", label: "State, and why" },
  { name: "routes", label: "Keys" },
  { name: "rate", label: "Requests/s", numeric: true },
  { name: "since", label: "Since", numeric: true, title: "How long it has had this state" },
];
const ORDER = { bad: 0, warn: 1, unknown: 2, off: 3, ok: 4 };
const CHOICES = {
  all: ["All", () => true],
  wrong: ["Something is wrong", (row) => ["bad", "warn"].includes(row.level)],
  quiet: ["No traffic", (row) => !row.rate],
};

export function containers() {
  const query = new URLSearchParams(location.hash.split("?")[1] ?? "");
  let choice = query.get("show") in CHOICES ? query.get("show") : "all";
  const filter = h("input", { type: "search", placeholder: "Name, key, address or reason", autocomplete: "off", spellcheck: "false", value: query.get("q") ?? "", oninput: () => show() });
  const total = h("span", { class: "count" });
  const buttons = Object.entries(CHOICES).map(([name, [label]]) => {
    const number = h("span", { class: "count" });
    const button = h("button", { type: "button", "aria-pressed": String(name === choice), onclick: () => {
      choice = name;
      for (const other of buttons) attribute(other.button, "aria-pressed", String(other.name === choice));
      show();
    } }, label, " ", number);
    return { name, button, number };
  });
  const list = new VirtualList({ label: "Containers", name: "containers", columns: COLUMNS, height: { wide: 54, narrow: 96 }, make, show: showRow });
  const element = h("div", { class: "of-containers" },
    h("div", { class: "view-head" }, h("h1", {}, "Containers"), h("p", {}, "Why does this container get no traffic?")),
    h("div", { class: "list-head" }, h("div", { class: "choices", role: "group", "aria-label": "Which" }, buttons.map(({ button }) => button)), total, h("label", { class: "filter" }, hidden("Filter containers"), filter)),
    list.element);
  const ordered = remembered(() => [...store.rows].sort(([, one], [, other]) => ORDER[one.level] - ORDER[other.level] || byName(one.name, other.name)).map(([id]) => id));
  const show = () => {
    const wanted = filter.value.trim().toLowerCase(), ids = ordered(store.rows, store.shape);
    const isChosen = CHOICES[choice][1];
    for (const { name, number } of buttons) text(number, whole(name === "all" ? ids.length : ids.reduce((sum, id) => sum + CHOICES[name][1](store.rows.get(id)), 0)));
    const filtered = choice === "all" && !wanted ? ids : ids.filter((id) => isChosen(store.rows.get(id)) && (!wanted || matches(store.rows.get(id), wanted)));
    text(total, wanted ? `${whole(filtered.length)} found` : "");
    list.update(filtered, !store.complete ? "Asking…" : ids.length ? "None of them." : "No container has a label fastroute.key, and no worker has announced itself.");
  };
  return {
    element,
    title: "Containers",
    query: { view: "containers" },
    update: show,
    tick: show,
    close: () => list.close(),
  };
}

const matches = (row, wanted) => `${row.name} ${row.id} ${row.keys.join(" ")} ${row.address} ${row.state} ${row.reason} ${row.why}`.toLowerCase().includes(wanted);

function make(element) {
  const mark = sign("ok"), link = h("a", { class: "name" }), plain = h("span", { class: "name" }), address = h("span", { class: "mono" });
  const state = h("span", { class: "state" }), why = h("span", { class: "note" }), routes = h("div", { role: "cell", class: "cell cell-routes" });
  const rate = h("div", { role: "cell", class: "cell cell-rate numeric" }), since = h("div", { role: "cell", class: "cell cell-since numeric" });
  element.append(
    h("div", { role: "cell", class: "cell cell-name" }, mark, h("span", { class: "names" }, link, plain, address)),
    h("div", { role: "cell", class: "cell cell-why" }, h("span", { class: "names" }, state, why)), routes, rate, since);
  return { mark, link, plain, address, state, why, routes, rate, since, keys: "" };
}

function showRow(parts, id, element) {
  const row = store.rows.get(id);
  if (!row) return;
  element.className = `row level-${row.level}`;
  parts.mark.show(row.level);
  parts.link.hidden = !row.id;
  parts.plain.hidden = Boolean(row.id);
  text(row.id ? parts.link : parts.plain, row.name);
  attribute(parts.link, "href", row.id ? `#/container/${encodeURIComponent(row.id)}` : null);
  attribute(element.firstChild, "title", row.name);
  text(parts.address, row.id ? row.address : row.source === "worker" ? "announced itself" : `announced by ${row.source}`);
  text(parts.state, row.state);
  const why = [row.why, row.reason].filter(Boolean).join("; ");
  text(parts.why, why || (row.rate ? "gets requests" : ""));
  attribute(parts.why, "title", why || null);
  const keys = row.keys.join();
  if (parts.keys !== keys) {
    parts.keys = keys;
    parts.routes.replaceChildren(...row.keys.slice(0, 2).map((name) => h("a", { href: `#/key/${encodeURIComponent(name)}` }, name)), ...(row.keys.length > 2 ? [h("span", { class: "note" }, `and ${row.keys.length - 2} more`)] : []));
  }
  text(parts.rate, row.rate === null ? "–" : number(row.rate));
  text(parts.since, row.since ? age(now() - Date.parse(row.since) / 1000) : "");
}
