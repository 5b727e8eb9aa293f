/** From values to places on a picture: linear scales and the ticks of an axis. */

/** From a value to a place, linearly. */
export type Scale = (value: number) => number;

/** The ends of an axis and where its ticks are, all in the values' unit. */
export interface Axis {
  low: number;
  high: number;
  ticks: number[];
}

/** Return the scale that takes one pair of ends to another. */
export function linear(
  [low, high]: readonly [number, number],
  [start, end]: readonly [number, number],
): Scale {
  if (high === low) return () => (start + end) / 2;
  return (value) => start + ((value - low) / (high - low)) * (end - start);
}

/** Return a round step (1, 2 or 5 times a power of ten) of which `count` cover a span. */
export function niceStep(span: number, count: number): number {
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const fraction = rough / power;
  if (fraction <= 1) return power;
  if (fraction <= 2) return 2 * power;
  return fraction <= 5 ? 5 * power : 10 * power;
}

/** Return an axis with round ends that holds all values; flat ones get some room. */
export function niceAxis(low: number, high: number, count = 4): Axis {
  const span = high > low ? high - low : Math.abs(high) || 1;
  const step = niceStep(span, count);
  const first = Math.floor(low / step + 1e-9);
  let last = Math.ceil(high / step - 1e-9);
  if (last === first) last += 1;
  const ticks = Array.from({ length: last - first + 1 }, (_, index) =>
    Number(((first + index) * step).toPrecision(12)),
  );
  return { low: ticks[0] ?? 0, high: ticks[ticks.length - 1] ?? 1, ticks };
}

/** The axis of a share: always from 0 to 100 %. */
export const SHARE_AXIS: Axis = { low: 0, high: 1, ticks: [0, 0.25, 0.5, 0.75, 1] };

/** An axis that starts at 0. */
export function axisFromZero(values: number[]): Axis {
  return niceAxis(0, Math.max(0, ...values));
}

/** The axis of a Dice coefficient: up to 1, down to the round value below the smallest. */
export function diceAxis(values: number[]): Axis {
  const smallest = Math.min(0.9, ...values);
  return niceAxis(Math.max(0, smallest), 1);
}

/** Return every how manyth of `count` labels fits, each `room` wide. */
export function thinning(count: number, width: number, room: number): number {
  return Math.max(1, Math.ceil((count * room) / width));
}
