// Formats numbers and times for people; rates and durations as in the terminal, see watch/wording.py.

const whole = new Intl.NumberFormat("en-US");
const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const roundDollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", maximumFractionDigits: 0 });

export const count = (number) => whole.format(number);

export const money = (cents) => dollars.format(cents / 100);

export const roundMoney = (cents) => roundDollars.format(cents / 100);

export function perSecond(rate) {
  if (rate === null) return "…";
  return `${rate >= 10 || rate === 0 ? whole.format(Math.round(rate)) : rate.toFixed(1)}/s`;
}

/** A short duration, with tenths for the few seconds that a stage usually takes. */
export function shortDuration(seconds) {
  if (seconds > 0 && seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return seconds < 100 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
  return seconds < 86400 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86400).toFixed(1)} d`;
}

/** A duration in at most two units of days, hours, minutes and seconds. */
export function duration(seconds) {
  const rounded = Math.max(0, Math.round(seconds));
  for (const [unit, name, smaller, smallerName] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (rounded >= unit) {
      const rest = Math.floor((rounded % unit) / smaller);
      return `${Math.floor(rounded / unit)} ${name}${rest ? ` ${rest} ${smallerName}` : ""}`;
    }
  }
  return `${rounded} s`;
}

const two = (number) => String(number).padStart(2, "0");

/** Local time, with seconds if windows do not begin at full minutes. */
export function time(epochSeconds, windowSeconds) {
  const then = new Date(epochSeconds * 1000);
  const parts = [then.getHours(), then.getMinutes()];
  if (windowSeconds % 60) parts.push(then.getSeconds());
  return parts.map(two).join(":");
}

/** The date and a space, or nothing on the same day as `other`. */
export function day(epochSeconds, other = Date.now() / 1000) {
  const then = new Date(epochSeconds * 1000);
  if (then.toDateString() === new Date(other * 1000).toDateString()) return "";
  return `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())} `;
}

export const clock = (epochSeconds, windowSeconds) => day(epochSeconds) + time(epochSeconds, windowSeconds);

/** The name of a window in a sentence: "minute", or its length. */
export const windowName = (seconds) => (seconds === 60 ? "minute" : seconds === 3600 ? "hour" : `${duration(seconds)} window`);

/** A count, with a mark if some records were not counted. */
export const counted = ({ count: number, uncounted }) => whole.format(number) + (uncounted ? "+" : "");
