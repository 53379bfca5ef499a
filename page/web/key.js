// The page of one key: how it was for ten minutes, what happened meanwhile, its nodes.

import { chart, plot } from "./chart.js";
import { attribute, h, hidden, sign, text } from "./dom.js";
import { age, clock, count, duration, levelOfShare, number, percent, whole } from "./format.js";
import { changeSentence, changes, level, sentence } from "./happenings.js";
import { HistoryPoller } from "./history.js";
import { VirtualList, byName, remembered } from "./list.js";
import { now, store } from "./store.js";

const SERIES = ["rate", "2xx", "3xx", "4xx", "5xx", "p50", "p95", "waiting", "in_flight", "ready"];
const COLUMNS = [
  { name: "node", label: "Node" },
  { name: "statuses", label: "Answers so far", title: "By class of status: 2xx, 3xx, 4xx, 5xx" },
  { name: "rate", label: "Requests/s", numeric: true },
  { name: "share", label: "Errors", numeric: true, title: "Share of answers 5xx in the last 10 s" },
  { name: "p95", label: "p95", numeric: true },
  { name: "running", label: "Running", numeric: true, title: "Requests that it works on, and its max" },
  { name: "weight", label: "Weight", numeric: true },
  { name: "failed", label: "Failed", numeric: true, title: "Failed connects and time-outs so far" },
];
const ORDER = { bad: 0, warn: 1, unknown: 2, ok: 3, off: 4 };

export function key(name) {
  const mark = sign("unknown"), detail = h("p", { class: "verdict-text" }), facts = h("dl", { class: "facts" });
  const requests = chart({ bare: true, height: 176, title: "Answers per second", stacked: true, format: number, least: 1, series: [
    { name: "2xx", label: "2xx", kind: "2xx" }, { name: "3xx", label: "3xx", kind: "3xx" }, { name: "4xx", label: "4xx", kind: "4xx" }, { name: "5xx", label: "5xx", kind: "5xx" }] });
  const times = chart({ title: "Time to the answer", format: duration, least: 10, height: 110, series: [{ name: "p50", label: "p50", kind: "p50" }, { name: "p95", label: "p95", kind: "p95" }] });
  const load = chart({ title: "Running and waiting", format: number, least: 4, height: 110, series: [{ name: "in_flight", label: "running", kind: "p50" }, { name: "waiting", label: "waiting", kind: "wait" }] });
  const charts = [requests, times, load], line = timeLine(charts);
  const nodes = nodeTable();
  const chartArea = h("div", { class: "charts" },
    h("section", { class: "panel main-chart" }, requests.element, line.track), line.list, times.element, load.element);
  const uncounted = h("p", { class: "empty panel", hidden: true }, "nginx serves this key by itself, and nobody counts its requests.");
  const element = h("div", { class: "of-key" },
    h("p", { class: "crumbs" }, h("a", { href: "#/" }, "Keys")),
    h("section", { class: "verdict" }, mark, h("div", {}, h("h1", {}, name), detail)),
    facts, uncounted, chartArea,
    h("section", { class: "keys" }, nodes.head, nodes.list.element));
  showFacts(facts, null);
  const poller = new HistoryPoller(() => [name], SERIES, (answer, known) => {
    const series = known.get(name);
    if (!series) return;
    const length = series.rate.length;
    const sampleTimes = Array.from({ length }, (_, at) => answer.newest - (length - 1 - at) * answer.slot);
    for (const chart of charts) chart.show(series, sampleTimes);
    line.setTimes(sampleTimes);
  });
  return {
    element,
    title: name,
    query: { view: "key", key: name },
    update() {
      const status = store.values.key;
      if (status === null) {
        mark.show("unknown");
        text(detail, store.values.verdict?.level === "unknown" ? "No router answers, so nothing is known of this key." : "Nobody serves this key now, and no router knows it: it is answered 404.");
        showFacts(facts, null);
      }
      if (!status) return;
      attribute(element.querySelector(".verdict"), "data-level", status.level);
      mark.show(status.level);
      text(detail, status.text || (status.nginx ? `nginx serves it from ${count(status.total, "node", "nodes")}` : status.level === "off" ? "Ready; nobody asks for it" : `Serving ${number(status.rate)} requests/s`));
      uncounted.hidden = !status.nginx;
      chartArea.hidden = status.nginx;
      showFacts(facts, status);
      line.show(store.events);
      nodes.show();
    },
    close() {
      poller.close();
      nodes.list.close();
    },
  };
}

/** What is true of the key as a whole; each fact keeps its place while nothing is known yet. */
function showFacts(facts, status) {
  const routers = Object.entries(status?.routers ?? {});
  const rows = [
    ["Nodes that get requests", status ? `${status.ready} of ${status.total}` : "–"],
    ["Requests", status ? (status.nginx ? "not counted" : whole(status.requests)) : "–"],
    ["Algorithm", status?.algorithm || "–"],
    ["A request waits", status ? (status.nginx ? "never (nginx)" : status.wait ? `at most ${status.wait} s` : "not at all") : "–"],
    status?.sticky && ["Clients stay with their node", `by the cookie ${status.sticky}`],
    status && status.state !== "serving" && ["State", `${status.state}${status.until ? ` until ${clock(Date.parse(status.until) / 1000)}` : ""}`],
    status?.message && ["Message", status.message],
    routers.length > 1 && ["Known to", routers.map(([router, number]) => `${router} (${count(number, "node", "nodes")})`).join(", ")],
  ].filter(Boolean);
  const shown = JSON.stringify(rows);
  if (facts.dataset.shown === shown) return;
  facts.dataset.shown = shown;
  facts.replaceChildren(...rows.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value))));
}

/** What happened, on the same ten minutes as the charts, with a slider that looks back. */
function timeLine(charts) {
  const dots = h("div", { class: "dots", "aria-hidden": "true" });
  const slider = h("input", { type: "range", id: "look-back", min: "0", step: "1", class: "look-back" });
  const when = h("output", { for: "look-back", class: "when" }, "now");
  const track = h("div", { class: "track" }, dots, slider, h("p", { class: "track-words" }, h("label", { for: "look-back" }, "Look back"), when));
  track.style.paddingLeft = `${plot.left}px`;
  track.style.paddingRight = `${plot.right}px`;
  const list = h("ol", { class: "changes" }), nothing = h("p", { class: "nothing" }, "Nothing happened to this key.");
  const element = h("section", { class: "panel what-happened", "aria-labelledby": "what-happened" }, h("h2", { id: "what-happened" }, "What happened"),
    h("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": "What happened, the newest first" }, list, nothing));
  let times = null, at = null, shown = "", events = [];
  const mark = () => {
    for (const chart of charts) chart.mark(at);
    text(when, at === null || !times ? "now" : `${clock(times[at])}, ${age(now() - times[at])} ago`);
    attribute(slider, "aria-valuetext", at === null || !times ? "now" : `${age(now() - times[at])} ago`);
    shown = "";
    show(events);
  };
  slider.addEventListener("input", () => {
    at = times && Number(slider.value) < times.length - 1 ? Number(slider.value) : null;
    mark();
  });
  const show = (all) => {
    events = all;
    const groups = changes(all, 60);
    const state = JSON.stringify([groups.map((change) => [change.id, change.origins.size]), times?.[0], at]);
    if (state === shown) return;
    shown = state;
    nothing.hidden = groups.length > 0;
    const begin = times?.[0] ?? 0, end = times?.at(-1) ?? 1, chosen = at === null ? null : times[at];
    list.replaceChildren(...groups.map((change) => {
      const near = chosen !== null && Math.abs(change.last - chosen) <= 10;
      return h("li", { class: near ? "near" : null }, sign(level(change.event)), h("span", { class: "change" }, h("span", { class: "what" }, changeSentence(change)), near ? hidden(" (at the time chosen)") : null), h("span", { class: "when" }, clock(change.last)));
    }));
    dots.replaceChildren(...groups.filter((change) => change.last >= begin && change.last <= end + 5).map((change) => {
      const dot = sign(level(change.event));
      dot.classList.add("dot");
      dot.title = `${clock(change.last)} ${sentence(change.event)}`;
      dot.style.left = `${(Math.min(1, (change.last - begin) / Math.max(1, end - begin)) * 100).toFixed(2)}%`;
      return dot;
    }));
  };
  return {
    list: element,
    track,
    show,
    setTimes(list) {
      const wasEnd = at === null;
      times = list;
      attribute(slider, "max", list.length - 1);
      if (wasEnd) slider.value = list.length - 1;
      show(events);
    },
  };
}

const matches = (row, wanted) => `${row.name} ${row.address} ${row.state} ${row.zone}`.toLowerCase().includes(wanted);

function nodeTable() {
  const total = h("span", { class: "count" });
  const filter = h("input", { type: "search", placeholder: "Filter nodes", autocomplete: "off", spellcheck: "false", oninput: () => show() });
  const list = new VirtualList({ label: "Nodes of this key", name: "nodes", columns: COLUMNS, height: { wide: 50, narrow: 92 }, make, show: showRow });
  const head = h("div", { class: "list-head" }, h("h2", {}, "Nodes"), total, h("label", { class: "filter" }, hidden("Filter nodes"), filter));
  const ordered = remembered(() => [...store.rows.values()].sort((one, other) => ORDER[one.level] - ORDER[other.level] || byName(one.name || one.address, other.name || other.address)).map((row) => row.address));
  const filtered = remembered((ids, wanted) => (wanted ? ids.filter((id) => matches(store.rows.get(id), wanted)) : ids));
  const show = () => {
    const wanted = filter.value.trim().toLowerCase();
    const ids = filtered(ordered(store.rows, store.shape), wanted);
    text(total, wanted ? `${whole(ids.length)} of ${whole(store.rows.size)}` : whole(ids.length));
    list.update(ids, !store.complete ? "Asking…" : wanted ? "No node has that in its name, address or state." : "It has no nodes: its requests are answered 503, or they wait.");
  };
  return { head, list, show };

  function make(element) {
    const mark = sign("ok"), title = h("a", { class: "name" }), plain = h("span", { class: "name" }), address = h("span", { class: "mono" }), why = h("span", { class: "note" });
    const bar = ["2xx", "3xx", "4xx", "5xx"].map((kind) => h("span", { class: `share share-${kind}` }));
    const words = hidden("");
    const numeric = (name) => h("div", { role: "cell", class: `cell cell-${name} numeric` });
    const parts = { mark, title, plain, address, why, bar, words, rate: numeric("rate"), share: numeric("share"), p95: numeric("p95"), running: numeric("running"), weight: numeric("weight"), failed: numeric("failed") };
    element.append(
      h("div", { role: "cell", class: "cell cell-node" }, mark, h("span", { class: "names" }, h("span", { class: "title" }, title, plain, address), why)),
      h("div", { role: "cell", class: "cell cell-statuses" }, h("span", { class: "bar-of-shares", "aria-hidden": "true" }, bar), words),
      parts.rate, parts.share, parts.p95, parts.running, parts.weight, parts.failed);
    return parts;
  }

  function showRow(parts, id, element) {
    const row = store.rows.get(id);
    if (!row) return;
    element.className = `row level-${row.level}`;
    parts.mark.show(row.level);
    const container = Boolean(row.name);
    parts.title.hidden = !container;
    parts.plain.hidden = container;
    text(container ? parts.title : parts.plain, row.name || row.address);
    attribute(parts.title, "href", container ? `#/container/${encodeURIComponent(row.id)}` : null);
    text(parts.address, container ? row.address : row.zone);
    const extra = [row.zone && container ? `zone ${row.zone}` : "", row.source && row.source !== "worker" && !container ? `announced by ${row.source}` : ""].filter(Boolean).join(", ");
    text(parts.why, row.why || (row.state !== "ready" ? row.state : extra));
    attribute(parts.why, "title", row.why || null);
    const [, ...answers] = row.statuses, all = answers.reduce((sum, number) => sum + number, 0);
    parts.bar.forEach((part, at) => (part.style.flexGrow = all ? answers[at] / all : 0));
    text(parts.words, all ? `${["2xx", "3xx", "4xx", "5xx"].map((kind, at) => `${whole(answers[at])} ${kind}`).join(", ")}` : "none");
    attribute(parts.words.parentElement, "title", parts.words.textContent);
    text(parts.rate, number(row.rate));
    text(parts.share, row.rate === null ? "–" : percent(row.share));
    attribute(parts.share, "data-level", levelOfShare(row.share));
    text(parts.p95, duration(row.p95));
    text(parts.running, row.max ? `${whole(row.in_flight)}/${whole(row.max)}` : whole(row.in_flight));
    text(parts.weight, row.backup ? `${row.weight}, backup ${row.backup}` : row.weight);
    text(parts.failed, whole(row.failures + row.timeouts));
  }
}
