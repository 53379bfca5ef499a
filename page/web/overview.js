// The first page: is it serving, what fails, where do requests go, what changed.

import { spark } from "./chart.js";
import { attribute, h, hidden, sign, text } from "./dom.js";
import { duration, levelOfShare, number, percent, whole } from "./format.js";
import { flowPicture } from "./flow.js";
import { changeList } from "./happenings.js";
import { HistoryPoller } from "./history.js";
import { VirtualList, byName, remembered } from "./list.js";
import { store } from "./store.js";

const RANK = { bad: 0, unknown: 1, warn: 2, ok: 3, off: 4 };

export function overview() {
  const verdict = verdictLine(), stats = statTiles(), fails = problemList(), picture = flowPicture(), keys = keyTable();
  const happened = changeList(80, "What changed lately", "Nothing changed since this page began to look.");
  const element = h("div", { class: "overview" },
    verdict.element,
    h("section", { class: "fails panel", "aria-labelledby": "fails" }, h("h2", { id: "fails" }, "What fails"), fails.element),
    stats.element,
    h("section", { class: "picture panel", "aria-labelledby": "picture" }, h("h2", { id: "picture" }, "Where requests go"), picture.element),
    h("section", { class: "happened panel", "aria-labelledby": "happened" }, h("h2", { id: "happened" }, "What changed"), scroller(happened.element, "What changed")),
    h("section", { class: "keys", "aria-labelledby": "keys" }, keys.head, keys.list.element));
  const poller = new HistoryPoller(() => keys.list.visible(), ["rate", "5xx"], (answer, known) => {
    stats.history(answer.total);
    keys.history(known);
  });
  addEventListener("scroll", poller.onScroll = () => poller.moved(), { passive: true });
  return {
    element,
    title: "Overview",
    query: { view: "overview" },
    update() {
      const { values } = store;
      if (!values.verdict) return;
      verdict.show(values.verdict);
      stats.show(values.totals);
      fails.show(values.problems);
      if (values.flow) picture.show(values.flow);
      picture.move();
      happened.show(store.events);
      keys.show();
      poller.moved();
    },
    tick() {
      happened.show(store.events);
      picture.move();
    },
    close() {
      poller.close();
      removeEventListener("scroll", poller.onScroll);
      keys.list.close();
    },
  };
}

/** A box of its own height that scrolls, and can be scrolled with the keyboard. */
export const scroller = (content, label) => h("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": label }, content);

function verdictLine() {
  const mark = sign("unknown"), title = h("span", {}, "Asking…"), detail = h("p", { class: "verdict-text" });
  const element = h("section", { class: "verdict", "aria-label": "Is it serving?" }, mark, h("div", { role: "status" }, h("h1", {}, title), detail));
  return {
    element,
    show(now) {
      attribute(element, "data-level", now.level);
      mark.show(now.level);
      text(title, now.title);
      text(detail, now.text);
    },
  };
}

function statTiles() {
  const tile = (label, unit, kind) => {
    const value = h("span", { class: "stat-value" }, "–"), note = h("span", { class: "stat-note" }), line = spark(label, 160, 26);
    return { value, note, line, element: h("div", { class: `stat panel stat-${kind}` }, h("dt", {}, label), h("dd", {}, value, h("span", { class: "stat-unit" }, unit), note), line.element) };
  };
  const rate = tile("Requests", "/s", "rate"), errors = tile("Errors", "", "errors"), slow = tile("Slowest key", "", "slow"), waiting = tile("Waiting", "", "waiting");
  return {
    element: h("dl", { class: "stats", "aria-label": "All keys together" }, [rate, errors, slow, waiting].map(({ element }) => element)),
    show(totals) {
      text(rate.value, number(totals.rate));
      text(rate.note, `${whole(totals.in_flight)} running`);
      text(errors.value, totals.rate === null ? "–" : percent(totals.share));
      const ownErrors = Object.entries(totals.own_errors).filter(([, value]) => value);
      text(errors.note, ownErrors.length ? ownErrors.map(([kind, value]) => `${kind} ${number(value)}/s`).join(", ") : `${number(totals.errors)}/s with 5xx`);
      attribute(errors.element, "data-level", levelOfShare(totals.share) ?? (ownErrors.length ? "warn" : null));
      text(slow.value, duration(totals.p95));
      text(slow.note, "p95");
      text(waiting.value, whole(totals.waiting));
      text(waiting.note, "for a container");
      attribute(waiting.element, "data-level", totals.waiting ? "warn" : null);
    },
    history(total) {
      if (!total.rate) return;
      rate.line.show(total.rate);
      errors.line.show(total["5xx"], total["5xx"]);
      slow.line.show(total.p95);
      waiting.line.show(total.waiting);
    },
  };
}

const LINKS = {
  key: (name) => `#/key/${encodeURIComponent(name)}`,
  nginx: () => "#/routers",
  router: () => "#/routers",
  controller: () => "#/routers",
  container: (name) => `#/container/${encodeURIComponent(name)}`,
};

function problemList() {
  const list = h("ul", { class: "problems" }), nothing = h("p", { class: "nothing" }, "Nothing fails.");
  let shown = "";
  return {
    element: scroller(h("div", {}, list, nothing), "What fails"),
    show({ rows, more }) {
      const state = JSON.stringify([rows, more]);
      if (state === shown) return;
      shown = state;
      nothing.hidden = rows.length > 0;
      list.replaceChildren(...rows.map((row) => h("li", { class: `problem level-${row.level}` }, sign(row.level),
        h("div", {}, h("a", { href: LINKS[row.kind](row.name) }, row.title), h("span", { class: "problem-kind" }, row.kind), h("p", {}, row.text)))),
        ...(more ? [h("li", { class: "nothing" }, `and ${whole(more)} more`)] : []));
    },
  };
}

const COLUMNS = [
  { name: "key", label: "Key", sorts: true },
  { name: "spark", label: "Last ten minutes" },
  { name: "rate", label: "Requests/s", numeric: true, sorts: true },
  { name: "share", label: "Errors", numeric: true, sorts: true, title: "Share of answers 5xx in the last minute" },
  { name: "p95", label: "p95", numeric: true, sorts: true, title: "95% of the answers of the last 10 s began sooner" },
  { name: "waiting", label: "Waiting", numeric: true, sorts: true },
  { name: "ready", label: "Nodes", numeric: true, sorts: true, title: "Nodes that get requests, of all" },
];

function keyTable() {
  let by = "key", descending = false, turn = 0, sorted = 0;
  const filter = h("input", { type: "search", id: "key-filter", placeholder: "Filter keys", autocomplete: "off", spellcheck: "false", oninput: () => show(true) });
  const total = h("span", { class: "count" });
  const list = new VirtualList({
    label: "Keys", name: "keys", columns: COLUMNS, height: { wide: 46, narrow: 74 }, make: makeKeyRow, show: showKeyRow,
    sorted: (name) => {
      descending = by === name ? !descending : name !== "key";
      by = name;
      list.sortedBy(by, descending);
      show(true);
    },
  });
  list.sortedBy(by, descending);
  const head = h("div", { class: "list-head" }, h("h2", { id: "keys" }, "Keys"), total, h("label", { class: "filter" }, hidden("Filter keys"), filter));

  const direction = () => (descending ? -1 : 1);
  const compare = (one, other) => {
    if (by !== "key") return direction() * ((one[by] ?? -1) - (other[by] ?? -1)) || byName(one.key, other.key);
    // Keys with something wrong come first, whichever way names are sorted.
    return (RANK[one.level] < 3 || RANK[other.level] < 3 ? RANK[one.level] - RANK[other.level] : 0) || direction() * byName(one.key, other.key);
  };
  const ordered = remembered(() => [...store.rows.values()].sort(compare).map((row) => row.key));
  const filtered = remembered((ids, wanted) => (wanted ? ids.filter((id) => id.includes(wanted)) : ids));
  const show = (anew = false) => {
    // Rows that change places every second cannot be read: by numbers they are sorted again every 5 s.
    if (anew || (by !== "key" && performance.now() - sorted > 5000)) {
      turn++;
      sorted = performance.now();
    }
    const wanted = filter.value.trim().toLowerCase();
    const ids = filtered(ordered(store.rows, store.shape, by, descending, turn), wanted);
    text(total, wanted ? `${whole(ids.length)} of ${whole(store.rows.size)}` : whole(ids.length));
    list.update(ids, !store.complete ? "Asking…" : wanted ? "No key has that in its name." : "No keys yet. Put a label fastroute.key on a container, or let a worker announce itself.");
  };
  return {
    head,
    list,
    show,
    history(known) {
      for (const [id, { parts }] of list.shown) {
        const series = known.get(id);
        if (series) parts.spark.show(series.rate, series["5xx"]);
        else if (known.has(id)) parts.spark.show([], []);
      }
      list.known = known;
    },
  };

  function makeKeyRow(element) {
    const mark = sign("ok"), link = h("a", { class: "name" }), note = h("span", { class: "note" }), line = spark("");
    const cell = (name, ...children) => h("div", { role: "cell", class: `cell cell-${name}` }, children);
    const numeric = (name) => h("div", { role: "cell", class: `cell cell-${name} numeric` });
    const parts = { mark, link, note, spark: line, rate: numeric("rate"), share: numeric("share"), p95: numeric("p95"), waiting: numeric("waiting"), ready: numeric("ready") };
    element.append(cell("key", mark, h("span", { class: "names" }, link, note)), cell("spark", line.element), parts.rate, parts.share, parts.p95, parts.waiting, parts.ready);
    return parts;
  }

  function showKeyRow(parts, id, element) {
    const row = store.rows.get(id);
    if (!row) return;
    element.className = `row level-${row.level}`;
    parts.mark.show(row.level);
    text(parts.link, row.key);
    attribute(parts.link, "href", `#/key/${encodeURIComponent(row.key)}`);
    text(parts.note, row.text);
    attribute(parts.note, "title", row.text || null);
    text(parts.rate, number(row.rate));
    text(parts.share, row.nginx ? "–" : percent(row.share));
    attribute(parts.share, "data-level", levelOfShare(row.share));
    text(parts.p95, duration(row.p95));
    text(parts.waiting, row.waiting ? whole(row.waiting) : "0");
    attribute(parts.waiting, "data-level", row.waiting ? "warn" : null);
    text(parts.ready, `${row.ready}/${row.total}`);
    attribute(parts.ready, "data-level", row.ready === 0 ? "bad" : row.ready < row.total ? "warn" : null);
    const series = list?.known?.get(row.key);
    parts.spark.show(series?.rate ?? [], series?.["5xx"] ?? []);
  }
}

