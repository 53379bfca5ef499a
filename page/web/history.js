// The last ten minutes of what is shown, asked for again when there is a new sample.

import { history } from "./store.js";

/** Milliseconds from one sample to the next, and from the last scroll to the question for rows that came into view. */
const SAMPLE_INTERVAL = 5000, SCROLL_DELAY = 150;
/** Keys that are asked for at once, and keys whose series are kept. */
const MAX_ASKED = 60, MAX_KEPT = 2000;

export class HistoryPoller {
  /** `keys()`: those whose series are wanted; `onAnswer(answer, known)` gets each answer, and all known series by key. */
  constructor(keys, series, onAnswer) {
    this.keys = keys;
    this.series = series;
    this.onAnswer = onAnswer;
    this.known = new Map();
    this.closed = false;
    this.timer = setTimeout(() => this.ask(), 0);
  }

  /** Other rows may have come into view: ask for series that are not known yet. */
  moved() {
    if (this.keys().every((key) => this.known.has(key))) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), SCROLL_DELAY);
  }

  async ask() {
    if (!document.hidden) {
      try {
        const answer = await history(this.keys().slice(0, MAX_ASKED), this.series);
        if (this.closed) return;
        if (this.known.size > MAX_KEPT) this.known.clear();
        for (const [key, series] of Object.entries(answer.keys)) this.known.set(key, series);
        this.onAnswer(answer, this.known);
      } catch {
        // The stream says whether the server is there; this is asked again anyway.
      }
    }
    if (this.closed) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), SAMPLE_INTERVAL);
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }
}
