// Routers and controllers: which of them answer, and how each is.

import { h, sign } from "./dom.js";
import { age, clock, count, number, whole } from "./format.js";
import { now, store } from "./store.js";

export function admins() {
  const cards = h("div", { class: "cards" });
  const element = h("div", { class: "of-admins" }, h("div", { class: "view-head" }, h("h1", {}, "Routers and controllers"), h("p", {}, "Which of them is silent?")), cards);
  let shown = "";
  const show = () => {
    const list = store.values.admins ?? [];
    // Ages count in whole seconds; nothing else has to be drawn anew.
    const wanted = JSON.stringify(list.map((admin) => [{ ...admin, answered: admin.answers ? 0 : Math.floor(now() - admin.answered) }]));
    if (wanted === shown) return;
    shown = wanted;
    cards.replaceChildren(...(list.length ? list.map(card) : [h("p", { class: "empty" }, "Asking…")]));
  };
  return { element, title: "Routers", query: { view: "admins" }, update: show, tick: show };
}

function card(admin) {
  const trouble = admin.answers ? (admin.relays_down || admin.silent_sources?.length || admin.engines?.some((engine) => engine.trouble || !engine.connected) || admin.nginx?.error || admin.nginx?.refused.length ? "warn" : "ok") : "unknown";
  const rows = admin.kind === "router" ? ofRouter(admin) : ofController(admin);
  return h("article", { class: `panel card level-${trouble}` },
    h("header", {}, sign(trouble), h("div", {}, h("h2", {}, admin.name), h("p", { class: "mono" }, admin.url))),
    admin.answers ? null : h("p", { class: "silent" }, admin.answered ? `Silent for ${age(now() - admin.answered)}: ${admin.problem}. What is below is old.` : `It has not answered yet: ${admin.problem}.`),
    h("dl", { class: "pairs" }, rows.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    admin.nginx ? refused(admin.nginx) : null);
}

function ofRouter(admin) {
  if (admin.version === undefined) return [["Kind", "router"]];
  const errors = Object.entries(admin.errors);
  return [
    ["Kind", `router, version ${admin.version}`],
    ["Runs since", `${clock(admin.started)} (${age(now() - admin.started)})`],
    ["Serves", `${count(admin.keys, "key", "keys")} from ${count(admin.nodes, "node", "nodes")}`],
    ["Requests", `${number(admin.rate)}/s, ${whole(admin.requests)} so far`],
    ["Relays", `${admin.processes - admin.relays_down} of ${admin.processes} run`],
    ["Answered itself", errors.length ? h("ul", { class: "plain" }, errors.map(([kind, total]) => h("li", {}, `${kind}: ${whole(total)}${admin.errors_now[kind] ? `, ${number(admin.errors_now[kind])}/s now` : ""}`))) : "nothing"],
    admin.cheap && ["Cheap mode", "no node: it accepts nothing until one subscribes"],
    admin.silent_sources.length > 0 && ["Silent to it", admin.silent_sources.join(", ")],
  ];
}

function ofController(admin) {
  if (admin.mode === undefined) return [["Kind", "controller"]];
  const at = (time) => (time ? `${age(now() - Date.parse(time) / 1000)} ago` : "never");
  return [
    ["Kind", `controller, ${admin.mode} mode`],
    ["Containers", whole(admin.containers)],
    ["Docker", h("ul", { class: "plain" }, admin.engines.map((engine) => h("li", {}, `${engine.url || "local"}: ${engine.trouble || (engine.connected ? "connected" : "not connected")}`)))],
    ["Last event", at(admin.last_event)],
    ["Last comparison", at(admin.last_sync)],
    admin.nginx && ["nginx", admin.nginx.error ? `refused: ${admin.nginx.error}` : admin.nginx.answers ? "serves what it should" : "does not answer"],
    admin.nginx?.generation && ["Generation", admin.nginx.generation],
    admin.nginx && ["Reloads", `${whole(admin.nginx.reloads)}, ${count(admin.nginx.failures, "failure", "failures")}`],
  ];
}

function refused(nginx) {
  if (!nginx.refused.length) return h("p", { class: "nothing" }, "nginx refused no key.");
  return h("div", {}, h("h3", {}, "What nginx refused"), h("ul", { class: "problems" }, nginx.refused.map(({ key, reason }) => h("li", { class: "problem level-bad" }, sign("bad"), h("div", {}, h("strong", {}, key), h("p", {}, reason))))));
}
