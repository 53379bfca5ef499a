// A table of any number of rows, of which only those are in the document that can be seen.  It scrolls with the page.

import { attribute, h, narrow } from "./dom.js";

/** Rows kept above and below what is seen, and rows that wait to be used again. */
const MARGIN = 6, SPARE = 20;

const COLLATOR = new Intl.Collator("en", { numeric: true });

/** Names in the order of people: `web-2` before `web-10`. */
export const byName = COLLATOR.compare;

/**
 * Remembers what `make(...parts)` returned, and calls it again only when one of `parts` has changed: a page would
 * stutter if it sorted and filtered thousands of rows every second.
 */
export function remembered(make) {
  let before = null, made;
  return (...parts) => {
    if (!before || parts.some((part, at) => part !== before[at])) {
      before = parts;
      made = make(...parts);
    }
    return made;
  };
}

export class VirtualList {
  /**
   * `columns`: `{name, label, numeric}`; `make(row element)` fills a row once and returns what `show(parts, id)` gets to
   * put what `id` stands for in; `height`: of a row in pixels, wide and narrow.
   */
  constructor({ label, name, columns, height, make, show, empty, sorted }) {
    this.height = height;
    this.make = make;
    this.show = show;
    this.ids = [];
    this.index = new Map();
    this.shown = new Map();
    this.spare = [];
    this.body = h("div", { role: "rowgroup", class: "rows" });
    this.headers = columns.map((column) => this.header(column, sorted));
    this.table = h("div", { role: "table", class: `table table-${name}`, "aria-label": label },
      h("div", { role: "rowgroup", class: "table-head" }, h("div", { role: "row", class: "row-head" }, this.headers)), this.body);
    this.empty = h("p", { class: "empty", hidden: true }, empty ?? "");
    this.element = h("div", { class: "list" }, this.table, this.empty);
    this.body.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("focusout", () => this.place());
    this.onScroll = () => {
      this.pending ??= requestAnimationFrame(() => {
        this.pending = null;
        this.place();
      });
    };
    addEventListener("scroll", this.onScroll, { passive: true });
    addEventListener("resize", this.onScroll);
    narrow.addEventListener("change", this.onScroll);
  }

  header({ name, label, numeric, sorts, title }, sorted) {
    const inner = sorts ? h("button", { type: "button", class: "sort", onclick: () => sorted(name) }, label, h("span", { class: "arrow", "aria-hidden": "true" })) : label;
    return h("div", { role: "columnheader", class: `cell cell-${name}${numeric ? " numeric" : ""}`, "data-name": name, title }, inner);
  }

  /** Show which column sorts. */
  sortedBy(name, descending) {
    for (const header of this.headers) {
      attribute(header, "aria-sort", header.dataset.name === name ? (descending ? "descending" : "ascending") : null);
    }
  }

  /** These items' ids, in this order; `empty`: what is said where there is none.  `show` gets what an id stands for. */
  update(ids, empty) {
    if (ids !== this.ids) {
      this.ids = ids;
      this.index = new Map(ids.map((id, at) => [id, at]));
      this.empty.hidden = ids.length > 0;
      this.table.hidden = ids.length === 0;
      attribute(this.table, "aria-rowcount", ids.length + 1);
    }
    if (empty && this.empty.textContent !== empty) this.empty.textContent = empty;
    this.place(true);
  }

  place(changed = false) {
    const height = narrow.matches ? this.height.narrow : this.height.wide;
    const total = this.ids.length * height;
    if (this.total !== total) this.body.style.height = `${(this.total = total)}px`;
    const top = this.body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / height) - MARGIN);
    const last = Math.min(this.ids.length, Math.ceil((innerHeight - top) / height) + MARGIN);
    for (const [id, row] of this.shown) {
      const at = this.index.get(id);
      // The row with the focus keeps it, wherever the page is scrolled to.
      if (at === undefined || ((at < first || at >= last) && !row.element.contains(document.activeElement))) {
        this.shown.delete(id);
        this.spare.push(row);
      }
    }
    for (let at = first; at < last; at++) this.put(this.ids[at], at, height, changed);
    // A row that is to be used again stays where it is until then: taking it out would cost a layout of its own.
    for (const row of this.spare.splice(SPARE)) row.element.remove();
    for (const { element } of this.spare) {
      if (element.hidden) continue;
      element.hidden = true;
      element.removeAttribute("aria-rowindex");
    }
    this.range = [first, last];
  }

  put(id, at, height, changed) {
    let row = this.shown.get(id);
    const fresh = !row;
    if (fresh) {
      row = this.spare.pop() ?? this.newRow();
      this.shown.set(id, row);
      row.id = id;
      if (row.element.hidden) row.element.hidden = false;
    }
    if (fresh || row.at !== at || row.height !== height) {
      row.at = at;
      row.height = height;
      row.element.style.transform = `translateY(${at * height}px)`;
      row.element.setAttribute("aria-rowindex", at + 2);
    }
    if (fresh || changed) this.show(row.parts, id, row.element);
  }

  newRow() {
    const element = h("div", { role: "row", class: "row" });
    const row = { element, parts: this.make(element), id: "", at: -1, height: 0 };
    this.body.append(element);
    return row;
  }

  /** The ids that can be seen now. */
  visible() {
    const [first, last] = this.range ?? [0, 0];
    return this.ids.slice(first, last);
  }

  /** Arrows go from row to row, and Tab from one link to the next in the order of the rows that are seen. */
  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Tab: event.shiftKey ? -1 : 1 }[event.key];
    const element = event.target.closest("[role=row]");
    if (!step || !element || event.altKey || event.ctrlKey || event.metaKey) return;
    const at = Number(element.getAttribute("aria-rowindex")) - 2, next = at + step;
    if (event.key === "Tab") {
      const links = [...element.querySelectorAll("a:not([hidden])")], place = links.indexOf(event.target) + step;
      if (links[place]) return;
      if (next < 0 || next >= this.ids.length) return this.leave(event, step);
    }
    event.preventDefault();
    this.focus(Math.min(this.ids.length - 1, Math.max(0, next)), event.key === "Tab" && step < 0);
  }

  /** Give the focus to a row: to its first link, or its last. */
  focus(at, last) {
    const height = narrow.matches ? this.height.narrow : this.height.wide;
    const y = this.body.getBoundingClientRect().top + at * height;
    // The bar and the table's head are in front.
    if (y < 110) scrollBy(0, y - 110);
    else if (y + height > innerHeight) scrollBy(0, y + height - innerHeight);
    this.place();
    const links = this.shown.get(this.ids[at])?.element.querySelectorAll("a:not([hidden])") ?? [];
    links[last ? links.length - 1 : 0]?.focus({ preventScroll: true });
  }

  /** Move the focus out of the list: the document does not have the rows in their order, so the browser cannot. */
  leave(event, step) {
    const all = [...document.querySelectorAll("a[href], button, input, [tabindex='0']")].filter((element) => element.offsetParent && !this.body.contains(element));
    const before = all.filter((element) => element.compareDocumentPosition(this.body) & Node.DOCUMENT_POSITION_FOLLOWING);
    const next = step < 0 ? before.at(-1) : all[before.length];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  close() {
    removeEventListener("scroll", this.onScroll);
    removeEventListener("resize", this.onScroll);
    narrow.removeEventListener("change", this.onScroll);
  }
}
