// One container: what its labels ask for, what became of that, and what happened to it.

import { attribute, h, sign, text } from "./dom.js";
import { clock, number } from "./format.js";
import { store } from "./store.js";

/** Milliseconds from an answer of its controller to the next question. */
const POLL_INTERVAL = 3000;
const LEVELS = { ready: "ok", error: "bad", unhealthy: "bad", paused: "warn", pending: "unknown", probing: "unknown" };

export function container(id) {
  const mark = sign("unknown"), title = h("h1", {}, id.slice(0, 12)), detail = h("p", { class: "verdict-text" }), body = h("div", { class: "details" });
  const element = h("div", { class: "of-container" }, h("p", { class: "crumbs" }, h("a", { href: "#/containers" }, "Containers")), h("section", { class: "verdict" }, mark, h("div", {}, title, detail)), body);
  let closed = false, timer = 0, shown = "";
  const ask = async () => {
    try {
      if (!document.hidden) {
        const answer = await fetch(`/api/container/${encodeURIComponent(id)}`);
        const details = await answer.json();
        if (closed) return;
        if (answer.ok) show(details);
        else body.replaceChildren(h("p", { class: "empty panel" }, answer.status === 404 ? "No controller knows this container any more: it was removed." : details.error));
      }
    } catch {
      // The stream says whether the server is there.
    }
    if (!closed) timer = setTimeout(ask, POLL_INTERVAL);
  };
  const show = (details) => {
    const state = JSON.stringify(details);
    if (state === shown) return;
    shown = state;
    body.replaceChildren(...sections(details));
  };
  ask();
  return {
    element,
    title: "Container",
    query: { view: "containers" },
    part: "containers",
    update() {
      const row = store.rows.get(id);
      if (!row) return;
      attribute(element.querySelector(".verdict"), "data-level", row.level);
      mark.show(row.level);
      text(title, row.name);
      document.title = `${row.name} · fastroute`;
      const why = [row.reason, row.why].filter(Boolean).join("; ");
      text(detail, `${row.state}${why ? `: ${why}` : row.rate ? `: ${number(row.rate)} requests/s` : ""}`);
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

function sections(details) {
  const { docker } = details;
  const wrong = [...details.problems, ...details.warnings];
  return [
    wrong.length > 0 && panel("What is wrong with its labels", h("ul", { class: "plain" }, wrong.map((problem) => h("li", {}, typeof problem === "string" ? problem : problem.text ?? JSON.stringify(problem))))),
    panel("Routes", details.routes.length ? h("table", {}, h("thead", {}, h("tr", {}, ["Key", "Address", "Why this one", "State", "Weight"].map((label) => h("th", { scope: "col" }, label)))),
      h("tbody", {}, details.routes.map((route) => h("tr", {}, h("td", {}, h("a", { href: `#/key/${encodeURIComponent(route.key)}` }, route.key)), h("td", { class: "mono" }, route.address ?? "none"), h("td", {}, route.why), h("td", {}, `${route.state}${route.drained ? ", drained by an operator" : ""}${route.reason ? `: ${route.reason}` : ""}`), h("td", {}, route.weight ?? "")))))
      : h("p", { class: "nothing" }, "None: it is not routed.")),
    panel("What happened to it", h("ol", { class: "changes" }, [...details.transitions].reverse().map(({ state, reason, cause, time }) => h("li", {}, sign(LEVELS[state] ?? "off"), h("span", { class: "change" }, h("span", { class: "what" }, `${state}${reason ? `: ${reason}` : ""}`), h("span", { class: "about" }, cause)), h("span", { class: "when" }, clock(Date.parse(time) / 1000)))))),
    panel("Labels", Object.keys(details.labels).length ? facts(Object.entries(details.labels)) : h("p", { class: "nothing" }, "None of ours.")),
    panel("Docker", facts([["Status", docker.status], docker.exit_code !== null && ["Exit code", docker.exit_code], ["Health", details.health ?? "no health check"], ["Networks", docker.networks.map(({ name, address }) => `${name} ${address ?? ""}`).join(", ") || "none"], ["Ports", docker.ports.join(", ") || "none exposed"], ["Stop", `${docker.stop_signal}, ${docker.stop_timeout} s`], ["Id", details.id], details.project && ["Project", details.project], details.engine && ["Engine", details.engine]].filter(Boolean))),
  ].filter(Boolean);
}

const panel = (title, ...content) => h("section", { class: "panel detail" }, h("h2", {}, title), content);
const facts = (rows) => h("dl", { class: "pairs" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "mono" }, String(value)))));
