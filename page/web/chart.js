// Lines of the last ten minutes, as SVG: small ones for rows, and large ones that show what was when.

import { h, s, text } from "./dom.js";
import { clock } from "./format.js";

/** A path through the values that are there; a gap where they are missing. */
function line(values, x, y) {
  let path = "", open = false;
  values.forEach((value, at) => {
    if (value === null) open = false;
    else {
      path += `${open ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      if (!open && (at + 1 === values.length || values[at + 1] === null)) path += "h.1";
      open = true;
    }
  });
  return path;
}

/** The same down to `base`, closed, for filling. */
function area(values, base, x, y) {
  let path = "", start = -1;
  const close = (end) => {
    if (start < 0) return;
    const top = values.slice(start, end).map((value, at) => `L${x(start + at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    const bottom = base.slice(start, end).map((value, at) => `L${x(start + at).toFixed(1)} ${y(value ?? 0).toFixed(1)}`).reverse().join("");
    path += `M${top.slice(1)}${bottom}Z`;
    start = -1;
  };
  values.forEach((value, at) => {
    if (value === null) close(at);
    else if (start < 0) start = at;
  });
  close(values.length);
  return path;
}

/** A small line without axes: requests, and errors in them. */
export function spark(label, width = 132, height = 30) {
  const fill = s("path", { class: "spark-fill" }), stroke = s("path", { class: "spark-line" });
  const errors = s("path", { class: "spark-errors" });
  const element = s("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    s("path", { class: "spark-base", d: `M0 ${height - 0.5}H${width}` }), fill, errors, stroke);
  let drawn = "";
  return {
    element,
    show(values, bad = []) {
      const key = values.join() + ";" + bad.join();
      if (key === drawn) return;
      drawn = key;
      const top = Math.max(...values.map((value) => value ?? 0), 0.2) * 1.08;
      const x = (at) => (at / Math.max(1, values.length - 1)) * width, y = (value) => height - 1 - (value / top) * (height - 2);
      const zero = values.map(() => 0);
      stroke.setAttribute("d", line(values, x, y));
      fill.setAttribute("d", area(values, zero, x, y));
      errors.setAttribute("d", bad.some((value) => value > 0) ? area(bad.map((value) => value ?? null), zero, x, y) : "");
    },
  };
}

const LEFT = 56, RIGHT = 10, TOP = 8, BOTTOM = 4;

/**
 * A chart of several series over the same ten minutes.  `series`: `{name, label, kind}`, where `kind` names its colour
 * and pattern; `stacked`: one on top of the other.  `format` writes a value.
 */
export function chart({ title, series, stacked = false, format, least = 1, height = 150, bare = false }) {
  const svg = s("svg", { class: "chart-plot", height, "aria-hidden": "true" });
  const shown = series.map(({ label, kind }) => {
    const value = h("span", { class: "legend-value" }, "–");
    return { value, item: h("li", { class: `legend legend-${kind}` }, h("span", { class: "swatch", "aria-hidden": "true" }), h("span", {}, label), value) };
  });
  const when = h("span", { class: "chart-when" }, "now");
  const element = h("section", { class: bare ? "chart" : "chart panel" },
    h("header", { class: "chart-head" }, h("h2", {}, title), when, h("ul", { class: "legends" }, shown.map(({ item }) => item))), svg);
  let data = null, width = 0, marked = null;

  const draw = () => {
    if (!data || !width) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const length = data.times.length;
    const columns = series.map(({ name }) => data.values[name] ?? Array(length).fill(null));
    const tops = stacked ? sums(columns) : columns;
    const top = nice(Math.max(least, ...tops.flat().map((value) => value ?? 0)));
    const x = (at) => LEFT + (at / Math.max(1, length - 1)) * (width - LEFT - RIGHT);
    const y = (value) => height - BOTTOM - (value / top) * (height - TOP - BOTTOM);
    const parts = [0, top / 2, top].flatMap((value) => [
      s("path", { class: "grid", d: `M${LEFT} ${Math.round(y(value)) + 0.5}H${width - RIGHT}` }),
      s("text", { class: "axis", x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, format(value)),
    ]);
    columns.forEach((column, at) => {
      const base = stacked && at ? tops[at - 1] : column.map(() => 0);
      const upper = stacked ? tops[at].map((value, place) => (column[place] === null ? null : value)) : column;
      if (stacked) parts.push(s("path", { class: `area area-${series[at].kind}`, d: area(upper, base, x, y) }));
      // On a pile, what is not there has no line of its own.
      const edge = stacked && at ? upper.map((value, place) => (column[place] > 0 ? value : null)) : upper;
      parts.push(s("path", { class: `line line-${series[at].kind}`, d: line(edge, x, y) }));
    });
    if (marked !== null) parts.push(s("path", { class: "cursor", d: `M${x(marked).toFixed(1)} ${TOP}V${height - BOTTOM}` }));
    svg.replaceChildren(...parts);
    const place = marked ?? lastKnown(columns, length);
    text(when, marked === null ? "now" : clock(data.times[place]));
    shown.forEach(({ value }, at) => text(value, columns[at][place] === null || columns[at][place] === undefined ? "–" : format(columns[at][place])));
  };
  new ResizeObserver(([entry]) => {
    width = Math.round(entry.contentRect.width);
    draw();
  }).observe(svg);
  return {
    element,
    show(values, times) {
      data = { values, times };
      draw();
    },
    mark(at) {
      marked = at;
      draw();
    },
  };
}

/** Where the middle of the plot begins and ends: for what stands below charts. */
export const plot = { left: LEFT, right: RIGHT };

function sums(columns) {
  const total = columns[0].map(() => 0);
  return columns.map((column) => column.map((value, at) => (total[at] += value ?? 0)));
}

function lastKnown(columns, length) {
  for (let at = length - 1; at >= 0; at--) if (columns.some((column) => column[at] !== null)) return at;
  return length - 1;
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 4, 5, 8, 10].find((factor) => factor * power >= value * 0.999);
  return step * power;
}
