// The last ten minutes of what is shown, asked for again when there is a new sample.

import { history } from "./store.js";

/** Milliseconds: a sample stands for 5 s; a scroll asks for what came into view once it has come to rest. */
const SAMPLE = 5000, REST = 150;
/** Keys that are asked for at once. */
const MOST = 60;

export class HistoryPoller {
  /** `keys()`: those wanted now; `told(answer)`: gets each answer, keys of before in it. */
  constructor(keys, series, told) {
    this.keys = keys;
    this.series = series;
    this.told = told;
    this.known = new Map();
    this.closed = false;
    this.timer = setTimeout(() => this.ask(), 0);
  }

  /** Others are wanted than before. */
  moved() {
    if (this.keys().every((key) => this.known.has(key))) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), REST);
  }

  async ask() {
    if (!document.hidden) {
      try {
        const answer = await history(this.keys().slice(0, MOST), this.series);
        if (this.closed) return;
        if (this.known.size > 2000) this.known.clear();
        for (const [key, series] of Object.entries(answer.keys)) this.known.set(key, series);
        this.told(answer, this.known);
      } catch {
        // The stream says whether the server is there; this is asked again anyway.
      }
    }
    if (this.closed) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), SAMPLE);
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }
}
