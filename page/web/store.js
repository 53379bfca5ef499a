// What the server tells of the current view.  After every break it tells everything anew, so nothing has to be put
// together by hand; a hidden tab has no connection.

/** Milliseconds of silence after which the connection counts as broken: the server speaks every 5 s. */
const SILENCE_TIMEOUT = 12000;
/** Events that are kept: as many as the server keeps. */
const MAX_EVENTS = 3200;

export const store = {
  /** Single values by name: verdict, totals, problems, admins, flow, key. */
  values: {},
  /** The rows of the view's table by id. */
  rows: new Map(),
  /** Counts up whenever a row comes or goes, or is on another level: then the rows have another order. */
  shape: 0,
  /** The newest last. */
  events: [],
  /** Whether everything was told once. */
  complete: false,
  connected: false,
  /** When the server spoke last, by performance.now(). */
  heard: -Infinity,
  /** Seconds by which the server's clock is ahead of ours. */
  ahead: 0,
};

/** Seconds since the epoch, by the server's clock. */
export const now = () => Date.now() / 1000 + store.ahead;

let source = null, wanted = "", update = () => {}, scheduled = false, watchdog = 0;

/** Follow a view; `changed` is called at most once a frame. */
export function follow(query, changed) {
  update = changed;
  wanted = `/api/stream?${new URLSearchParams(query)}`;
  Object.assign(store, { values: keep(store.values), rows: new Map(), events: [], complete: false });
  store.shape++;
  connect();
}

/** What every view has stays until the new stream tells it. */
function keep(values) {
  const { verdict, totals, problems, admins } = values;
  return verdict ? { verdict, totals, problems, admins } : {};
}

function connect() {
  disconnect();
  if (document.hidden || !wanted) return;
  source = new EventSource(wanted);
  source.onmessage = (message) => take(JSON.parse(message.data));
  source.onerror = () => {
    store.connected = false;
    // A refused request ends an EventSource for good.
    if (source?.readyState === EventSource.CLOSED) setTimeout(() => source?.readyState === EventSource.CLOSED && connect(), 2000);
    schedule();
  };
  watchdog = setTimeout(onSilence, SILENCE_TIMEOUT);
}

function disconnect() {
  source?.close();
  source = null;
  clearTimeout(watchdog);
}

function onSilence() {
  store.connected = false;
  schedule();
  connect();
}

function take(piece) {
  clearTimeout(watchdog);
  watchdog = setTimeout(onSilence, SILENCE_TIMEOUT);
  store.connected = true;
  store.heard = performance.now();
  store.ahead = piece.wall - Date.now() / 1000;
  if (piece.reset) {
    Object.assign(store, { values: {}, rows: new Map(), events: [] });
    store.shape++;
  }
  Object.assign(store.values, piece.values);
  for (const id of piece.table?.gone ?? []) {
    store.rows.delete(id);
    store.shape++;
  }
  for (const [id, row] of Object.entries(piece.table?.set ?? {})) {
    if (store.rows.get(id)?.level !== row.level) store.shape++;
    store.rows.set(id, row);
  }
  for (const event of piece.events ?? []) {
    // An event comes again once the container of its node is known.
    const place = store.events.findLastIndex((other) => other.number <= event.number);
    if (store.events[place]?.number === event.number) store.events[place] = event;
    else if (place === store.events.length - 1) store.events.push(event);
  }
  if (store.events.length > MAX_EVENTS) store.events.splice(0, store.events.length - MAX_EVENTS);
  store.complete = !piece.incomplete;
  schedule();
}

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    update();
  });
}

document.addEventListener("visibilitychange", connect);

/** The last ten minutes of these keys, and of all together. */
export async function history(keys, series) {
  const query = new URLSearchParams([["series", series.join(",")], ...keys.map((key) => ["key", key])]);
  const answer = await fetch(`/api/history?${query}`);
  if (!answer.ok) throw new Error(`the history: ${answer.status}`);
  return answer.json();
}
