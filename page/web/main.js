// The frame: which view is looked at, whether the numbers are those of now, light or dark.

import { attribute, h, text } from "./dom.js";
import { age } from "./format.js";
import { admins } from "./admins.js";
import { container } from "./container.js";
import { containers } from "./containers.js";
import { events } from "./events.js";
import { key } from "./key.js";
import { overview } from "./overview.js";
import { follow, now, store } from "./store.js";

const main = document.getElementById("main");
let view = null, shownAt = "";

const ROUTES = [
  [/^\/?$/, () => overview()],
  [/^\/key\/(.+)$/, (name) => key(name)],
  [/^\/containers$/, () => containers()],
  [/^\/container\/(.+)$/, (id) => container(id)],
  [/^\/events$/, () => events()],
  [/^\/routers$/, () => admins()],
];
const PART_OF = { key: "overview", container: "containers" };

function route() {
  const [path] = location.hash.slice(1).split("?");
  if (view && path === shownAt) return;
  const first = view === null;
  shownAt = path;
  view?.close?.();
  view = null;
  for (const [pattern, make] of ROUTES) {
    const match = pattern.exec(path);
    if (match) {
      view = make(...match.slice(1).map(decoded));
      break;
    }
  }
  view ??= nowhere();
  main.replaceChildren(view.element);
  const part = PART_OF[view.query.view] ?? view.query.view;
  for (const link of document.querySelectorAll("#nav a")) attribute(link, "aria-current", link.dataset.view === (view.part ?? part) ? "page" : null);
  document.title = `${view.title} · fastroute`;
  if (!first) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  follow(view.query, update);
  update();
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function nowhere() {
  const element = h("div", { class: "empty" }, h("h1", {}, "There is no such view"), h("p", {}, h("a", { href: "#/" }, "To the overview")));
  return { element, title: "Not found", query: { view: "admins" }, part: "", update() {} };
}

function update() {
  view.update();
  showFreshness();
}

/** Seconds after which numbers are old, whatever the reason. */
const MAX_AGE = 20;

function showFreshness() {
  const line = document.getElementById("fresh"), label = document.getElementById("fresh-text");
  const silence = (performance.now() - store.heard) / 1000;
  const admins = store.values.admins ?? [];
  const serving = admins.filter((admin) => admin.kind === "router" || admin.mode === "nginx");
  const newest = Math.max(0, ...serving.map((admin) => admin.answered));
  const oldest = newest ? now() - newest : 0;
  const lost = Number.isFinite(silence) && (silence > 12 || (!store.connected && silence > 3));
  const silent = serving.length > 0 && serving.every((admin) => !admin.answers);
  let state = "live", words = "Live";
  if (!Number.isFinite(silence)) [state, words] = ["wait", "Connecting"];
  else if (lost) [state, words] = ["lost", `No connection for ${age(silence)}`];
  else if (newest && (silent || oldest > MAX_AGE)) [state, words] = ["old", `Numbers are ${age(oldest)} old`];
  else if (!newest) [state, words] = ["old", "No numbers yet"];
  attribute(line, "data-state", state);
  text(label, words);
  main.classList.toggle("old", state === "lost" || state === "old");
}

// Ages grow while the server sends nothing, too.
setInterval(() => {
  view?.tick?.();
  showFreshness();
}, 1000);
addEventListener("hashchange", route);

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

const dark = matchMedia("(prefers-color-scheme: dark)"), toggle = document.getElementById("theme");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
function nameToggle() {
  text(document.getElementById("theme-text"), isDark() ? "Light colours" : "Dark colours");
  attribute(toggle, "title", isDark() ? "Light colours" : "Dark colours");
}
toggle.addEventListener("click", () => {
  const chosen = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = chosen;
  try {
    localStorage.setItem("fastroute-theme", chosen);
  } catch {
    // Storage is off: it holds until the page is closed.
  }
  nameToggle();
});
dark.addEventListener("change", nameToggle);
nameToggle();
route();
