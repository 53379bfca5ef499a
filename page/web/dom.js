// Elements from code.  Whatever comes from outside (names, labels, reasons) goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `attributes` by name (`class`, `href`, `on...` for listeners), then children: elements or text. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Set the text of `element`, if it is another one. */
export function text(element, value) {
  const wanted = String(value ?? "");
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Set an attribute, if it is another one; null removes it. */
export function attribute(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Text that only screen readers read. */
export const hidden = (value) => h("span", { class: "hidden" }, value);

// Each level has a shape of its own: colours alone tell too little, and some people cannot tell them apart.
const SHAPES = {
  ok: ["M8 1.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13z", "M5 8.2l2.1 2.2L11.2 6"],
  warn: ["M8 1.2L15.4 14H.6z", "M8 6v3.6M8 11.7v.3"],
  bad: ["M5 .8h6l4.2 4.2v6L11 15.200H5L.8 11V5z", "M5.400 5.400l5.200 5.200M10.600 5.400l-5.200 5.200"],
  off: ["M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2z", "M5 8h6"],
  unknown: ["M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2z", "M6.300 6.300c.2-2 3.400-2 3.400 0 0 1.300-1.700 1.300-1.700 2.700M8 11.300v.3"],
};
const WORDS = { ok: "good", warn: "warning", bad: "failing", off: "idle", unknown: "not known" };

/** The sign of a level, with its word for screen readers. */
export function sign(level) {
  const outline = s("path", { class: "outline", d: "" }), mark = s("path", { class: "mark", d: "" });
  const word = hidden("");
  const element = h("span", { class: "sign" }, s("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, outline, mark), word);
  element.show = (now) => {
    if (element.dataset.level === now) return;
    element.dataset.level = now;
    outline.setAttribute("d", SHAPES[now][0]);
    mark.setAttribute("d", SHAPES[now][1]);
    word.textContent = `${WORDS[now]}: `;
  };
  element.show(level);
  return element;
}

/** Whether the reader wants things to move. */
export const motion = matchMedia("(prefers-reduced-motion: no-preference)");
/** Whether the screen is narrow. */
export const narrow = matchMedia("(max-width: 719px)");
