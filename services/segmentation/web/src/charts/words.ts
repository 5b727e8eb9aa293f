/** Numbers and periods as they are written beside a chart; all days are UTC. */

/** How long a period is; see the API's Interval. */
export type Interval = "day" | "week" | "month";

const DAY_MS = 86_400_000;
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** Return a number with three significant digits, and no more than it needs. */
export function describeNumber(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toString();
  return Number(value.toPrecision(3)).toString();
}

/** Return a share in percent. */
export function describeShare(value: number): string {
  const percent = 100 * value;
  const digits = percent > 0 && percent < 10 ? 1 : 0;
  return `${Number(percent.toFixed(digits))} %`;
}

/** Return a day such as `2026-03-04` as milliseconds since 1970. */
export function parseDay(text: string): number {
  return Date.parse(`${text}T00:00:00Z`);
}

/** Return a period in full: `March 2026` would be `Mar 2026`, a week its first day. */
export function describePeriod(day: string, interval: Interval): string {
  const date = new Date(parseDay(day));
  const month = `${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
  if (interval === "month") return month;
  const whole = `${date.getUTCDate()} ${month}`;
  return interval === "week" ? `Week from ${whole}` : whole;
}

/** Return a period as a tick, with the year where it is another than before. */
export function describeTick(
  day: string,
  interval: Interval,
  before: string | undefined,
): string {
  const date = new Date(parseDay(day));
  const month = MONTHS[date.getUTCMonth()] ?? "";
  const name = interval === "month" ? month : `${date.getUTCDate()} ${month}`;
  if (before?.slice(0, 4) === day.slice(0, 4)) return name;
  return `${name} ’${day.slice(2, 4)}`;
}

/** Return the shortest period that makes a course of no more than some twenty points. */
export function fittingInterval(first: string | null, last: string | null): Interval {
  if (first === null || last === null) return "month";
  const days = (parseDay(last) - parseDay(first)) / DAY_MS;
  if (days <= 21) return "day";
  return days <= 150 ? "week" : "month";
}
