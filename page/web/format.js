// Numbers and times as people read them.

/** 0, 0.05, 3.4, 120, 1.2k */
export function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return `${(value / 1e9).toPrecision(3)}G`;
  if (size >= 1e6) return `${trim((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${trim((value / 1e3).toPrecision(3))}k`;
  if (size >= 100 || Number.isInteger(value)) return String(Math.round(value));
  if (size >= 10) return value.toFixed(1);
  return trim(value.toFixed(size >= 0.095 ? 1 : 2));
}

const trim = (digits) => (digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits);

/** A whole number with a comma between thousands. */
export const whole = (value) => (value ?? 0).toLocaleString("en-US");

/** A share of 1 as percent. */
export function percent(share) {
  if (share === null || share === undefined) return "–";
  if (share === 0) return "0%";
  if (share < 0.001) return "<0.1%";
  return share >= 0.1 ? `${Math.round(share * 100)}%` : `${(share * 100).toFixed(1)}%`;
}

/** How bad a share of answers 5xx is, by the limits of problems.py: "bad", "warn", or null. */
export const levelOfShare = (share) => (share > 0.25 ? "bad" : share > 0.01 ? "warn" : null);

/** Milliseconds. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 10000) return `${Math.round(ms / 1000)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return ms >= 10 ? `${Math.round(ms)} ms` : `${trim(ms.toFixed(1))} ms`;
}

/** Seconds: 12 s, 5 min, 3 h, 2 d. */
export function age(seconds) {
  const rest = Math.max(0, seconds);
  if (rest < 90) return `${Math.floor(rest)} s`;
  if (rest < 5400) return `${Math.round(rest / 60)} min`;
  return rest < 172800 ? `${Math.round(rest / 3600)} h` : `${Math.round(rest / 86400)} d`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
/** The time of the day here, of seconds since the epoch. */
export const clock = (seconds) => CLOCK.format(new Date(seconds * 1000));

/** `3 nodes`. */
export const count = (value, singular, plural) => `${whole(value)} ${value === 1 ? singular : plural}`;
